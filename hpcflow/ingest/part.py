"""What has come of one body so far, over several tries, and over runs that were cut off.

A body that stays below the buffer never touches the disk before it is whole; a larger one grows
in a file, beside which stands which version of the URL it is a part of. A part is only ever
continued by bytes that the server says are of that very version.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from hpcflow.files import OWN, write


@dataclass(frozen=True)
class Version:
    """Which version of a URL's content a body is of, as far as its server says."""

    etag: str = ""
    modified: str = ""
    total: int | None = None
    """Bytes of the whole body; `None` where it is not known, or where it comes encoded."""
    dated: bool = False
    """Whether `modified` is so long ago that it tells versions apart."""
    coding: str = ""
    """The content coding that the body is kept in."""

    @property
    def validator(self) -> str:
        """For `If-Range`; empty where the server gives nothing that tells versions apart for certain."""
        if self.etag and not self.etag.startswith("W/"):
            return self.etag
        return self.modified if self.dated else ""


@dataclass(frozen=True)
class Start:
    """How a body begins, where no more of it is wanted."""

    content: bytes
    total: int | None
    """Bytes of the whole body; `None` where they are not known."""


class Part:
    """A body on its way."""

    def __init__(self, path: str, buffer: int) -> None:
        self._name = path
        self._limit = buffer
        self._clear(Version())

    def _clear(self, version: Version) -> None:
        self._buffer: bytes | bytearray = b""
        self._flushed = 0
        self._digest = hashlib.sha256()
        self.version = version

    @property
    def path(self) -> Path:
        """The file, where there is one."""
        return Path(self._name)

    @property
    def key(self) -> str:
        """The name of its URL in the cache."""
        return self._name.rpartition("/")[2]

    @property
    def _notes(self) -> Path:
        return Path(f"{self._name}.json")

    @property
    def size(self) -> int:
        """Bytes that have come."""
        return self._flushed + len(self._buffer)

    @property
    def in_file(self) -> bool:
        """Whether it was too large to wait in memory."""
        return self._flushed > 0

    def left(self) -> bool:
        """Whether an earlier run has left something."""
        return os.path.exists(f"{self._name}.json")  # noqa: PTH110  (asked for every URL)

    def resume(self) -> None:
        """Take up what an earlier run has left; blocking."""
        try:
            notes = json.loads(self._notes.read_bytes())
            boot = notes.pop("boot")
            version = Version(**notes)
            # What was never synced may be torn since the machine went down.
            if version.validator and boot == _boot():
                with self.path.open("rb") as file:
                    self._digest = hashlib.file_digest(file, "sha256")
                    self._flushed = file.tell()
                self.version = version
            else:
                self.drop()
        except (OSError, ValueError, TypeError, KeyError):
            self.drop()

    def begin(self, version: Version) -> None:
        """Start over with this version."""
        if self._flushed:
            self.path.write_bytes(b"")
        self._clear(version)

    async def add(self, piece: bytes) -> None:
        """Take the next bytes; returns when there is room for more."""
        if not self._buffer:
            self._buffer = piece  # a small body comes in one, and is not copied
        else:
            if isinstance(self._buffer, bytes):
                self._buffer = bytearray(self._buffer)
            self._buffer += piece
        if len(self._buffer) >= self._limit:
            await asyncio.to_thread(self.flush)

    def flush(self) -> None:
        """Write what waits in memory."""
        if not self._flushed:
            self.path.unlink(missing_ok=True)  # before there are notes that are not about it
        if not self._flushed and self.version.validator:
            write(self._notes, json.dumps({**asdict(self.version), "boot": _boot()}), mode=OWN, lasting=False)
        with self.path.open("ab" if self._flushed else "wb", buffering=0) as file:
            view = memoryview(self._buffer)
            while view:
                view = view[file.write(view) :]
        self._digest.update(self._buffer)
        self._flushed += len(self._buffer)
        self._buffer = b""

    def whole(self) -> tuple[bytes | bytearray | None, str]:
        """The body, or `None` where it is in the file; and its SHA-256. Blocking."""
        if self._flushed:
            if self._buffer:
                self.flush()
            return None, self._digest.hexdigest()
        return self._buffer, hashlib.sha256(self._buffer).hexdigest()

    def rest(self) -> None:
        """Keep what may be continued, on disk, and drop what may not; blocking."""
        if self.version.validator:
            if self._buffer:
                self.flush()
        else:
            self.drop()

    def drop(self) -> None:
        """Drop everything."""
        self._clear(Version())
        for path in (self.path, self._notes):
            with suppress(FileNotFoundError):
                path.unlink()


def _boot() -> float:
    return float(round(psutil.boot_time()))

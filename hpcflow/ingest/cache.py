"""Bodies by their SHA-256, and which URL gave which: shared by runs, within a size limit.

::

    objects/a/abcdef…    a body, named by its SHA-256, which is checked whenever it is used
    urls                 for each URL: SHA-256, size, validators, when it was last asked for
    parts/               what has come of bodies that are not whole yet
    hosts/               see `hosts`

`urls` is one sparse file, a table by hash: a file for each URL would take longer to make, and on
most disks no less room, than many a body. Whoever asks reads one page of it. Where two URLs come
into each other's way, one is forgotten.

Nothing here is synced: what a crash tears no longer has its hash, and is fetched again.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from time import time, time_ns

from hpcflow.files import OWN, own_file, private, write, written

FRESH = 86_400.0
"""Seconds for which a URL is taken to give what it gave, without asking its server."""
ROOM = 0.9
"""How full the cache is left when it is cleared."""
PAGES = 2**16
PAGE, RECORD = 4096, 512
"""Bytes that are read for a URL, and that its record takes: eight to a page, half a million in all."""
STALE_PART = 7 * 86_400.0


@dataclass(frozen=True)
class Entry:
    """What a URL gave."""

    sha256: str
    bytes: int
    etag: str = ""
    modified: str = ""
    """Its `Last-Modified`."""
    asked: float = 0.0
    """When its server last said so, in seconds since 1970."""
    coding: str = ""
    """The content coding that it is kept in."""

    @property
    def fresh(self) -> bool:
        """Whether it was asked for lately."""
        return 0 <= time() - self.asked < FRESH


class Cache:
    """A folder of bodies."""

    def __init__(self, root: Path, limit: int) -> None:
        self.root = root
        self.limit = limit
        self._root = str(root)  # paths as text: there are several for each file that is fetched
        self._added = 0
        private(root)
        for name in ("objects", "parts", "hosts"):
            private(root / name)
        for digit in "0123456789abcdef":
            (root / "objects" / digit).mkdir(exist_ok=True)
        self._urls = own_file(root / "urls", os.O_RDWR | os.O_CREAT)

    def close(self) -> None:
        """Let go of what is open."""
        os.close(self._urls)

    def object(self, sha256: str) -> Path:
        """Where a body with this hash lies, if it is here."""
        return Path(f"{self._root}/objects/{sha256[0]}/{sha256}")

    def part(self, key: str) -> str:
        """Where a body is gathered."""
        return f"{self._root}/parts/{key}"

    @property
    def locks(self) -> str:
        """The file in which whoever fetches a URL holds its lock."""
        return f"{self._root}/parts.lock"

    def entry(self, key: str) -> Entry | None:
        """What a URL gave, if its body is here still."""
        try:
            record = next(one for one in self._records(key) if one.startswith(key.encode()))
            entry = Entry(**json.loads(record[len(key) :].rstrip(b"\0")))
            status = self.object(entry.sha256).stat()
            if status.st_size == entry.bytes:
                self.used(entry.sha256, status)
                return entry
        except (StopIteration, OSError, ValueError, TypeError):
            pass
        return None

    def used(self, sha256: str, status: os.stat_result) -> None:
        """Take note, by its time of access, that a body is in use; its time of change may be a file's of the user."""
        os.utime(self.object(sha256), ns=(time_ns(), status.st_mtime_ns))

    def remember(self, key: str, entry: Entry) -> None:
        """Take note of what a URL gave."""
        record = _record(key, entry)
        if len(record) > RECORD:  # validators without end: it is asked for as if it were new
            record = _record(key, replace(entry, etag="", modified=""))
        with suppress(OSError):
            # Its own place, else one that is free, else another's.
            fits = [one.startswith(key.encode()) + 0.5 * (not one.strip(b"\0")) for one in self._records(key)]
            place = fits.index(max(fits)) if any(fits) else int(key[-1], 16) % len(fits)
            os.pwrite(self._urls, record, _page(key) + RECORD * place)  # one torn by a crash is no JSON

    def _records(self, key: str) -> list[bytes]:
        """What may be the record of a URL."""
        page = os.pread(self._urls, PAGE, _page(key)).ljust(PAGE, b"\0")
        return [page[start : start + RECORD] for start in range(0, PAGE, RECORD)]

    def take(self, part: Path, sha256: str, size: int) -> bool:
        """Move a whole body in; whether it is small enough to be kept."""
        if size <= self.limit:
            part.replace(self._place(sha256, size))
        return size <= self.limit

    def add(self, body: bytes | bytearray, sha256: str) -> bool:
        """Write a whole body in; whether it is small enough to be kept."""
        if len(body) <= self.limit:
            write(self._place(sha256, len(body)), body, mode=OWN, lasting=False)
        return len(body) <= self.limit

    def share(self, path: Path, sha256: str, size: int) -> None:
        """Keep a body that was written elsewhere too, by a second name for it where that is possible.

        If its owner writes into it later, it no longer has its hash here, and counts as lost;
        what is taken out of the cache is always a copy.
        """
        if size > self.limit:
            return
        with suppress(FileExistsError):
            place = self._place(sha256, size)
            try:
                os.link(path, place)
            except FileExistsError:
                raise
            except OSError:  # another disk, or one that knows no links
                copy_to(path, place, sha256, sync=False)

    def _place(self, sha256: str, size: int) -> Path:
        self._added += size
        return self.object(sha256)

    def forget(self, sha256: str) -> None:
        """Drop a body."""
        with suppress(FileNotFoundError):
            self.object(sha256).unlink()

    def over(self) -> bool:
        """Whether so much was added that the limit wants looking after."""
        return self._added > (1 - ROOM) * self.limit

    def clear(self) -> None:
        """Drop what was used least lately, down to the limit; one process at a time does so."""
        self._added = 0
        with open(self.root / "clearing.lock", "w", opener=own_file) as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return
            found = sorted(_files(self.root / "objects"))
            total = sum(size for _, size, _ in found)
            least = self.limit if total <= self.limit else int(ROOM * self.limit)
            for _, size, path in found:
                if total <= least:
                    break
                with suppress(FileNotFoundError):
                    os.unlink(path)  # noqa: PTH108
                total -= size
            for when, _, path in _files(self.root / "parts"):
                if time() - when > STALE_PART:
                    with suppress(FileNotFoundError):
                        os.unlink(path)  # noqa: PTH108


def _record(key: str, entry: Entry) -> bytes:
    return (key + json.dumps(vars(entry))).encode().ljust(RECORD, b"\0")


def _page(key: str) -> int:
    """Where the records of a URL and of those that share its page begin."""
    return int(key[:15], 16) % PAGES * PAGE


def _files(folder: Path) -> list[tuple[float, int, str]]:
    """Time of last use, size and path of every file below a folder."""
    found = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                found += _files(Path(entry.path))
                continue
            with suppress(FileNotFoundError):
                status = entry.stat(follow_symlinks=False)
                found.append((max(status.st_atime, status.st_mtime), status.st_size, entry.path))
    return found


def copy_to(source: Path, path: Path, sha256: str, *, sync: bool = True) -> tuple[int, str]:
    """Copy a body to where it is wanted, under a temporary name and renamed, if it has the hash it should.

    Returns
    -------
    int, str
        Its size and the SHA-256 that it really has.
    """
    digest = hashlib.sha256()
    with suppress(_OtherHash), source.open("rb", buffering=0) as body, written(path, lasting=sync) as file:
        while piece := body.read(2**20):
            digest.update(piece)
            file.write(piece)
        size = file.tell()
        if digest.hexdigest() != sha256:
            raise _OtherHash
    return size, digest.hexdigest()


class _OtherHash(Exception):
    """There is nothing to be copied."""


def hash_of(path: Path) -> tuple[int, str]:
    """The size of a file, and its SHA-256."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return file.tell(), digest


def first_of(path: Path, length: int) -> bytes:
    """The first bytes of a file."""
    with path.open("rb") as file:
        return file.read(length)

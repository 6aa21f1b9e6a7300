"""Bodies by their SHA-256, and which URL gave which: shared by runs, within a size limit.

::

    objects/ab/abcdef…   a body, named by its SHA-256, which is checked whenever it is used
    urls/12/12345…       one URL: SHA-256, size, validators, when it was last asked for
    parts/               what has come of bodies that are not whole yet
    hosts/               see `hosts`

Nothing here is synced: what a crash tears no longer has its hash, and is fetched again.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import tempfile
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from time import time

FRESH = 86_400.0
"""Seconds for which a URL is taken to give what it gave, without asking its server."""
ROOM = 0.9
"""How full the cache is left when it is cleared."""
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

    @property
    def fresh(self) -> bool:
        """Whether it was asked for lately."""
        return 0 <= time() - self.asked < FRESH


class Cache:
    """A folder of bodies."""

    def __init__(self, root: Path, limit: int) -> None:
        self.root = root
        self.limit = limit
        self._added = 0
        for name in ("objects", "urls", "parts", "hosts"):
            (root / name).mkdir(parents=True, exist_ok=True, mode=0o700)
        self._made: set[str] = set()

    def object(self, sha256: str) -> Path:
        """Where a body with this hash lies, if it is here."""
        return self.root / "objects" / sha256[:2] / sha256

    def part(self, key: str) -> Path:
        """Where a body is gathered."""
        return self.root / "parts" / key

    def lock(self, key: str) -> Path:
        """What the process that fetches a URL holds."""
        return self.root / "parts" / f"{key}.lock"

    def entry(self, key: str) -> Entry | None:
        """What a URL gave, if its body is here still."""
        try:
            entry = Entry(**json.loads(self._url(key).read_bytes()))
            path = self.object(entry.sha256)
            if path.stat().st_size == entry.bytes:
                os.utime(path)
                return entry
        except (OSError, ValueError, TypeError):
            pass
        return None

    def remember(self, key: str, entry: Entry) -> None:
        """Take note of what a URL gave."""
        path = self._url(key)
        self._folder(path.parent)
        with suppress(OSError):
            replace_with(path, json.dumps(asdict(entry)).encode())

    def _url(self, key: str) -> Path:
        return self.root / "urls" / key[:2] / key

    def take(self, part: Path, sha256: str, size: int) -> Path | None:
        """Move a whole body in, where it is not too large to be kept."""
        if size > self.limit:
            return None
        path = self.object(sha256)
        self._folder(path.parent)
        part.replace(path)
        self._added += size
        return path

    def add(self, body: bytes, sha256: str) -> Path | None:
        """Write a whole body in."""
        if len(body) > self.limit:
            return None
        path = self.object(sha256)
        self._folder(path.parent)
        replace_with(path, body)
        self._added += len(body)
        return path

    def _folder(self, path: Path) -> None:
        if str(path) not in self._made:
            path.mkdir(parents=True, exist_ok=True)
            self._made.add(str(path))

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
        with (self.root / "clearing.lock").open("w") as lock:
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
                found.append((status.st_mtime, status.st_size, entry.path))
    return found


def replace_with(path: Path, body: bytes, *, sync: bool = False) -> None:
    """Write a file under a temporary name and rename it; `sync` has it on disk before that."""
    handle, part = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".part")
    try:
        with os.fdopen(handle, "wb", buffering=0) as file:
            view = memoryview(body)
            while view:
                view = view[file.write(view) :]
            if sync:
                os.fsync(handle)
        os.replace(part, path)  # noqa: PTH105
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(part)  # noqa: PTH108
        raise


def copy_to(source: Path, path: Path, sha256: str) -> bool:
    """Copy a body to where it is wanted, synced and renamed; whether it had the hash it should."""
    handle, part = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".part")
    digest = hashlib.sha256()
    try:
        with os.fdopen(handle, "wb", buffering=0) as file, source.open("rb", buffering=0) as body:
            while piece := body.read(2**20):
                digest.update(piece)
                file.write(piece)
            os.fsync(handle)
        right = digest.hexdigest() == sha256
        if right:
            os.replace(part, path)  # noqa: PTH105
        return right
    finally:
        with suppress(FileNotFoundError):
            os.unlink(part)  # noqa: PTH108


def hash_of(path: Path) -> str:
    """The SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

"""Who may be asked now: a cap on the requests to each host, and its `Retry-After`, kept by all processes.

Each request to a host holds one of its numbered slots, a file locked with `flock`, so that the cap
holds over all workers that share the cache folder, and the system gives a slot back when its process
dies. The time before which a host wants no request is the time of change of a file beside them.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import random
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from time import time

from hpcflow.ingest.failures import PATIENCE, Failure
from hpcflow.ingest.urls import key


class Host:
    """One host's slots and its gate."""

    def __init__(self, folder: Path, slots: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = str(folder)
        self._gate = os.path.join(folder, "until")  # noqa: PTH118  (asked at every request)
        self._free = set(range(slots))
        self._turns = asyncio.Semaphore(slots)

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Hold one of the host's slots."""
        async with self._turns:
            while (held := self._take()) is None:
                await asyncio.sleep(random.uniform(0.005, 0.02))  # noqa: S311  (no secret)
            number, handle = held
            try:
                yield
            finally:
                os.close(handle)
                self._free.add(number)

    def _take(self) -> tuple[int, int] | None:
        for number in sorted(self._free):
            handle = os.open(f"{self._folder}/{number}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:  # another process's
                os.close(handle)
                continue
            self._free.discard(number)
            return number, handle
        return None

    def closed(self) -> float:
        """Seconds for which the host still wants no request; 0 where it takes them."""
        try:
            return max(os.stat(self._gate).st_mtime - time(), 0.0)  # noqa: PTH116
        except FileNotFoundError:
            return 0.0

    async def opened(self) -> None:
        """Wait until the host takes requests.

        Raises
        ------
        Failure
            Where that is too long to wait for.
        """
        while wait := self.closed():
            if wait > PATIENCE:
                raise Failure(f"the server asks for {round(wait)} s without requests", again=False)
            await asyncio.sleep(wait)

    def close(self, seconds: float) -> None:
        """Send the host nothing for some seconds, whichever process it would come from."""
        until = time() + seconds
        with _locked(self._gate) as handle:
            if os.fstat(handle).st_mtime < until or not os.fstat(handle).st_size:
                os.pwrite(handle, b"1", 0)
                os.utime(handle, (until, until))


@contextmanager
def _locked(path: str) -> Iterator[int]:
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield handle
    finally:
        os.close(handle)


class Hosts:
    """All hosts, as they are met."""

    def __init__(self, folder: Path, per_host: int) -> None:
        self._folder = folder
        self._per_host = per_host
        self._hosts: dict[str, Host] = {}

    def of(self, origin: str) -> Host:
        """The host that an origin names."""
        if origin not in self._hosts:
            self._hosts[origin] = Host(self._folder / key(origin)[:16], self._per_host)
        return self._hosts[origin]


@asynccontextmanager
async def owning(path: Path) -> AsyncIterator[None]:
    """Be the only one, over all processes, to hold the lock file at `path`; it goes away afterwards."""
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # The last holder may have removed the file between our opening and our locking it.
            if os.fstat(handle).st_ino == os.stat(path).st_ino:  # noqa: PTH116
                break
        except (BlockingIOError, FileNotFoundError):
            pass
        os.close(handle)
        await asyncio.sleep(random.uniform(0.005, 0.03))  # noqa: S311  (no secret)
    try:
        yield
    finally:
        with suppress(FileNotFoundError):
            os.unlink(path)  # noqa: PTH108
        os.close(handle)

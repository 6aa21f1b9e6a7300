"""Who may be asked now: a cap on the requests to each host, and its `Retry-After`, kept by all processes.

Each request to a host holds one of its numbered slots, a lock in the cache folder, so that the cap
holds over all workers that share it. The time before which a host wants no request is the time of
change of a file.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from time import monotonic, time

from hpcflow.ingest.failures import PATIENCE, Failure
from hpcflow.ingest.locks import give, take
from hpcflow.ingest.urls import key

MOST_SLOTS = 4096
KEPT = 0.5
"""Seconds for which a slot may go from request to request before others get at it."""
GLANCE = 0.004
"""Seconds between looks at whether another process has closed a gate: less than a request is on its way."""


class Host:
    """One host's slots and its gate."""

    def __init__(self, folder: str, name: str, slots: int) -> None:
        self._locks = f"{folder}/slots"
        self._first = int(name[:12], 16) * MOST_SLOTS
        self._gate = f"{folder}/{name[:32]}"
        self._looked = self._until = 0.0
        self._free = list(range(slots))
        self._kept: list[tuple[int, float]] = []
        """Slots that go from one request to the next, and since when they are held."""
        self._waiting = 0
        self._turns = asyncio.Semaphore(slots)

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Hold one of the host's slots."""
        self._waiting += 1
        try:
            await self._turns.acquire()
        except BaseException:
            self._waiting -= 1
            self._tidy()
            raise
        self._waiting -= 1
        held = self._kept.pop() if self._kept else None
        try:
            held = held or (await _until_taken(self._take), monotonic())
            yield
        finally:
            if held is not None:
                self._kept.append(held)
            self._turns.release()
            self._tidy()

    def _tidy(self) -> None:
        """Give back the slots that no one here waits for, or that others have waited for long enough."""
        for number, since in list(self._kept):
            if not self._waiting or monotonic() - since > KEPT:
                self._kept.remove((number, since))
                give(self._locks, self._first + number)
                self._free.append(number)

    def _take(self) -> int | None:
        for number in self._free:
            if take(self._locks, self._first + number):  # else another process holds it
                self._free.remove(number)
                return number
        return None

    def closed(self) -> float:
        """Seconds for which the host still wants no request; 0 where it takes them."""
        now = time()
        if not self._looked <= now < self._looked + GLANCE:
            self._looked = now
            with suppress(FileNotFoundError):
                self._until = max(self._until, os.stat(self._gate).st_mtime)  # noqa: PTH116
        return max(self._until - now, 0.0)

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

    async def close(self, seconds: float) -> None:
        """Send the host nothing for some seconds, whichever process it would come from."""
        self._until = max(self._until, time() + seconds)
        async with owning(self._locks, self._first + MOST_SLOTS - 1):
            self._looked = 0.0
            self.closed()  # another process may have closed it for longer
            part = f"{self._gate}.{os.getpid()}"
            with open(part, "wb"):  # noqa: ASYNC230, PTH123  (an empty file)
                os.utime(part, (self._until, self._until))
            os.replace(part, self._gate)  # noqa: PTH105


class Hosts:
    """All hosts, as they are met."""

    def __init__(self, folder: Path, per_host: int) -> None:
        self._folder = str(folder)
        self._per_host = min(per_host, MOST_SLOTS - 1)
        self._hosts: dict[str, Host] = {}

    def of(self, origin: str) -> Host:
        """The host that an origin names."""
        if origin not in self._hosts:
            self._hosts[origin] = Host(self._folder, key(origin), self._per_host)
        return self._hosts[origin]


@asynccontextmanager
async def owning(path: str, number: int) -> AsyncIterator[None]:
    """Be the only one, over all processes, to hold a lock."""
    await _until_taken(lambda: number if take(path, number) else None)
    try:
        yield
    finally:
        give(path, number)


async def _until_taken(attempt: Callable[[], int | None]) -> int:
    while True:
        number = attempt()
        if number is not None:
            return number
        # Other processes tell no one when they let go.
        await asyncio.sleep(random.uniform(0.005, 0.02))  # noqa: S311  (no secret)

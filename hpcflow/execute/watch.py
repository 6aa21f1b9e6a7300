"""Watch the memory of the driver and of every process it started."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from types import TracebackType
from typing import Self

import psutil

from hpcflow.leaving import started

LOOK_AGAIN = 0.5
"""Seconds after which new processes are looked for: that costs more than to sample those known."""


class MemoryWatch:
    """Samples resident memory on a thread of its own.

    It is summed over the processes, so pages that they share, of libraries or of a file that is
    mapped, count for each: what the system would have to find if nothing were shared.

    Parameters
    ----------
    noted : callable, optional
        Is told each sample: bytes of all processes, and of this one.
    interval : float
        Seconds between two samples.
    """

    def __init__(
        self, noted: Callable[[int, int], None] = lambda _total, _driver: None, interval: float = 0.05
    ) -> None:
        self.now = 0
        """What all processes hold, in bytes."""
        self._noted = noted
        self.peak = 0
        """The most that all processes held at one moment, in bytes."""
        self.driver = 0
        """The part of the peak that this process held."""
        self._interval = interval
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="hpcflow-memory", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        own = psutil.Process()
        children: list[psutil.Process] = []
        looked = float("-inf")
        while True:
            if time.monotonic() - looked >= LOOK_AGAIN:
                children, looked = _processes(started(own.pid)), time.monotonic()
            driver = own.memory_info().rss
            total = driver + sum(map(_resident, children))
            self.now = total
            self._noted(total, driver)
            if total > self.peak:
                self.peak, self.driver = total, driver
            if self._stop.wait(self._interval):
                return


def _processes(numbers: Iterable[int]) -> list[psutil.Process]:
    found = []
    for number in numbers:
        with suppress(psutil.Error):  # it has ended
            found.append(psutil.Process(number))
    return found


def _resident(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.Error:  # it has ended
        return 0

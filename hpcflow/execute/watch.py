"""Watch the memory of the driver and of every process it started."""

from __future__ import annotations

import threading
from types import TracebackType
from typing import Self

import psutil


class MemoryWatch:
    """Samples resident memory on a thread of its own; `peak` is the most that was seen, in bytes."""

    def __init__(self, interval: float = 0.1) -> None:
        self.peak = 0
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
        while True:
            self.peak = max(self.peak, _resident(own))
            if self._stop.wait(self._interval):
                return


def _resident(process: psutil.Process) -> int:
    total = 0
    for one in [process, *process.children(recursive=True)]:
        try:
            total += one.memory_info().rss
        except psutil.Error:  # it ended between the two calls
            continue
    return total

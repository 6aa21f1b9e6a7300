"""Watch the memory of the driver and of every process it started, and end a run that takes more than it may."""

from __future__ import annotations

import ctypes
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from types import TracebackType
from typing import Self

import psutil

from hpcflow.errors import Location, RunError
from hpcflow.leaving import started
from hpcflow.sizes import show_size

AT_ONCE = 1.25
"""How many times what it may hold ends a run wherever it is; at less it comes to the end of its block or document."""
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
    limit : int, optional
        Bytes that all processes may hold.
    """

    def __init__(
        self,
        noted: Callable[[int, int], None] = lambda _total, _driver: None,
        interval: float = 0.05,
        limit: int | None = None,
    ) -> None:
        self.limit = limit
        self._doing: tuple[Location | None, str] = (None, "its processes started")
        self._over: RunError | None = None
        self._ended = False
        self._runs_in = threading.get_ident()
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
        _raise_in(self._runs_in, None)

    def begin(self, what: str, location: Location) -> None:
        """Say what the run is at from now on."""
        self.check()
        self._doing = location, what

    def check(self, held: int = 0) -> None:
        """Raise an error, once the processes, or `held`, were more than they may be."""
        if held:
            self._judge(held, 0)
        if self._over is not None:
            raise self._over

    def _judge(self, total: int, driver: int) -> None:
        if self.limit is None or total <= self.limit:
            return
        (location, what), part = self._doing, f", {show_size(driver)} of it in this process" if driver else ""
        self._over = self._over or RunError(
            f"{f'{location}: error: ' if location else ''}expected the run to hold {show_size(self.limit)} at most, "
            f"found {show_size(total)} while {what}{part}\n"
            f"  hint: what is finished stays; run it again with `--memory {(total + total // 4) // 2**20}MiB` or more"
        )
        if total > AT_ONCE * self.limit and self._runs_in != threading.get_ident() and not self._ended:
            self._ended = True  # once: what the run then leaves behind it takes memory too
            _raise_in(self._runs_in, self._over)

    def _run(self) -> None:
        own = psutil.Process()
        children: list[psutil.Process] = []
        seen: list[int] = []
        looked = float("-inf")
        while True:
            if time.monotonic() - looked >= LOOK_AGAIN:
                # One that is seen for the first time may be a copy of this process about to become another one:
                # it counts from the next sample on.
                there, before = started(own.pid), seen
                children, seen = _processes(n for n in there if n in before), there
                looked = time.monotonic() if {*there} <= {*before} else float("-inf")
            driver = own.memory_info().rss
            total = driver + sum(map(_resident, children))
            self.now = total
            self._noted(total, driver)
            if total > self.peak:
                self.peak, self.driver = total, driver
                self._judge(total, driver)
            if self._stop.wait(self._interval):
                return


def _raise_in(thread: int, error: RunError | None) -> None:
    """Raise an error in another thread, as soon as that comes to its next step of Python; `None` takes it back."""
    kind = error and type("OverBudget", (RunError,), {"__init__": lambda self: RunError.__init__(self, *error.args)})
    raised = ctypes.py_object(kind) if kind else None
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), raised)


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

"""Ends worker processes that would take the machine down, and remembers why.

A worker that takes far more memory than the run was allowed is ended before the system ends
something else; one that hangs, when the dispatch asks for it. What it was at then goes elsewhere.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import threading
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from hpcflow.clusters.base import Process
from hpcflow.leaving import started

INTERVAL = 0.2
_ANONYMOUS = re.compile(rb"^RssAnon:\s*(\d+) kB", re.MULTILINE)


class Guard:
    """Watches the processes that this one started.

    Parameters
    ----------
    limit : int, optional
        Bytes of its own memory at which a worker is ended; pages of mapped files do not count.
    """

    def __init__(self, limit: int | None = None) -> None:
        self.limit = limit
        self.reasons: dict[Process, str] = {}
        """Why each process was ended that was."""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="hpcflow-guard", daemon=True)

    def __enter__(self) -> Self:
        if self.limit is not None:
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        if self.limit is not None:
            self._thread.join()

    def end(self, process: Process, reason: str) -> bool:
        """End a process, if this one started it."""
        if process.host != socket.gethostname() or process.number not in started(os.getpid()):
            return False
        self.reasons[process] = reason
        with suppress(ProcessLookupError):
            os.kill(process.number, signal.SIGKILL)
        return True

    def _watch(self) -> None:
        assert self.limit is not None
        while not self._stop.wait(INTERVAL):
            for one in started(os.getpid()):
                held = own_memory(one)
                if held > self.limit:
                    most = f"{self.limit / 2**20:,.0f} MiB allowed"
                    self.end(Process(socket.gethostname(), one), f"it held {held / 2**20:,.0f} MiB of memory, {most}")


def own_memory(process: int) -> int:
    """Bytes that a process holds for itself alone; 0 where the system does not say."""
    try:
        found = _ANONYMOUS.search(Path(f"/proc/{process}/status").read_bytes())
    except OSError:
        return 0
    return int(found[1]) * 1024 if found else 0

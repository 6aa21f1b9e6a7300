"""Which block each thread of each worker is at: what a process that dies leaves behind.

When a worker dies, the scheduler knows only what it had been given. So every thread notes the
block it begins in a small file of its own, beside the receipts; the driver reads that only when
a worker was lost, or seems to hang.
"""

from __future__ import annotations

import os
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

SUFFIX = ".running"
_NOTE = struct.Struct("<qd")


@dataclass(frozen=True)
class Running:
    """A block that a thread has begun and not ended."""

    number: int
    since: float
    """In seconds of the worker's clock."""
    host: str
    process: int
    path: Path


@contextmanager
def noting(folder: str, run: str) -> Iterator[Callable[[int], None]]:
    """A function to call with the number of each block before it begins."""
    name = f"{run}-{socket.gethostname()}-{os.getpid()}-{threading.get_ident()}{SUFFIX}"
    file = os.open(f"{folder}/{name}", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        yield lambda number: _note(file, number)
        _note(file, -1)
    finally:
        os.close(file)


def _note(file: int, number: int) -> None:
    # A disk that is full or away is for the block itself to find out.
    with suppress(OSError):
        os.pwrite(file, _NOTE.pack(number, time.time()), 0)


def running(folder: Path, run: str) -> list[Running]:
    """The blocks of a run that were begun and not ended, also by processes that are dead."""
    found = []
    for path in folder.glob(f"{run}-*{SUFFIX}"):
        host, process, _ = path.name.removeprefix(f"{run}-").removesuffix(SUFFIX).rsplit("-", 2)
        with suppress(OSError, struct.error):
            number, since = _NOTE.unpack(path.read_bytes())
            if number >= 0:
                found.append(Running(number, since, host, int(process), path))
    return found

"""Which block each thread of each worker is at: what a process that dies leaves behind.

When a worker dies, the scheduler knows only what it had been given. So every thread notes the
block it begins in a small file of its own, in the run's folder of receipts; the driver reads that only when
a worker was lost, or seems to hang.
"""

from __future__ import annotations

import mmap
import os
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from hpcflow.files import OWN

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


@cache
def here() -> str:
    """What tells this process from others that write into a folder: its host and number."""
    return f"{socket.gethostname()}-{os.getpid()}"


@contextmanager
def noting(folder: str) -> Iterator[Callable[[int], None]]:
    """A function to call with the number of each block before it begins."""
    page = _page(f"{folder}/{here()}-{threading.get_ident()}{SUFFIX}")
    yield lambda number: _NOTE.pack_into(page, 0, number, time.time())
    _NOTE.pack_into(page, 0, -1, 0.0)


def _page(path: str) -> mmap.mmap | bytearray:
    """The file's content in memory, which outlives the process: a call of the system for each note would not be free.

    A disk that is full or away is for the block itself to find out.
    """
    with suppress(OSError):
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, OWN)
        try:
            # Written first: a mapped page for which a disk has no room ends the process.
            os.pwrite(file, _NOTE.pack(-1, 0.0), 0)
            return mmap.mmap(file, _NOTE.size)
        finally:
            os.close(file)
    return bytearray(_NOTE.size)


def running(folder: Path) -> list[Running]:
    """The blocks of the run with this folder that were begun and not ended, also by processes that are dead."""
    found = []
    for path in folder.glob(f"*{SUFFIX}"):
        host, process, _ = path.name.removesuffix(SUFFIX).rsplit("-", 2)
        with suppress(OSError, struct.error):
            number, since = _NOTE.unpack(path.read_bytes())
            if number >= 0:
                found.append(Running(number, since, host, int(process), path))
    return found

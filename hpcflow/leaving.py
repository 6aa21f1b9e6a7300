"""End this process and all that it started, at once, whatever else is under way."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

last_words: list[Callable[[int], None]] = []
"""What is still to be said, with the exit code: a run writes its report."""


def leave(code: int) -> NoReturn:
    """End this process, and every one that it started, at once.

    Nothing is lost by it: whole blocks have their receipts.
    """
    for say in last_words:
        with suppress(Exception):
            say(code)
    # One that ends may hide another the first time.
    for process in (*started(os.getpid()), *started(os.getpid())):
        with suppress(OSError):
            os.kill(process, signal.SIGKILL)
    os._exit(code)


def started(process: int) -> list[int]:
    """The processes that one has started, and those that these have.

    Linux keeps a list for each thread, and none of it is left to be searched for among all the
    processes of a machine; while one of them ends, another may be missing from it for a moment.
    """
    if not Path(f"/proc/{process}/task/{process}/children").exists():
        return _known_to_psutil(process)
    found = [process]
    for one in found:
        with suppress(OSError):
            for thread in os.listdir(f"/proc/{one}/task"):  # noqa: PTH208  (half the time)
                with suppress(OSError):
                    found += map(int, Path(f"/proc/{one}/task/{thread}/children").read_bytes().split())
    return found[1:]


def _known_to_psutil(process: int) -> list[int]:
    import psutil  # noqa: PLC0415  (where the system has no such files)

    try:
        return [child.pid for child in psutil.Process(process).children(recursive=True)]
    except psutil.NoSuchProcess:
        return []

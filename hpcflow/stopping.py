"""SIGINT and SIGTERM: the first ends a command within seconds, in order; the second at once."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from types import FrameType
from typing import NoReturn

from hpcflow.leaving import leave

GRACE = 2.5
"""Seconds for workers to be ended and the report to be written, before all is ended at once."""
WORDS = {130: "interrupted", 143: "terminated"}

AGAIN = 0.02
"""Seconds until a signal that was lost comes again."""

_stopped: list[int] = []


class _Stop(SystemExit):
    """Raised where the main thread happens to be."""


def listen() -> None:
    """Take both signals as reasons to stop; only a process's main thread can."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stop)
    sys.unraisablehook = _dropped


def told(code: int) -> str | None:
    """What to say of an exit code that a signal has caused."""
    return f"{WORDS[code]}; the same command goes on where it stopped" if code in WORDS else None


def _stop(number: int, _frame: FrameType | None) -> NoReturn:
    code = 128 + number
    if _stopped:
        _leave(code)
    _stopped.append(code)
    # Whatever this thread waits for, or another will not let go of, is waited for this long.
    threading.Thread(target=_wait, args=(code,), name="hpcflow-stop", daemon=True).start()
    raise _Stop(code)


def _dropped(unraisable: sys.UnraisableHookArgs) -> None:
    """Python drops what is raised within a destructor or a callback of its collector: the signal comes again."""
    if not isinstance(unraisable.exc_value, _Stop):
        sys.__unraisablehook__(unraisable)
        return
    number = _stopped.pop() - 128
    # Not now: it would be raised within this function, and be dropped as well.
    threading.Timer(AGAIN, signal.pthread_kill, (threading.main_thread().ident, number)).start()


def _wait(code: int) -> NoReturn:
    time.sleep(GRACE)
    _leave(code)


def _leave(code: int) -> NoReturn:
    if sys.stderr.isatty():
        os.write(2, b"\x1b[?25h")  # a progress bar hides the cursor
    os.write(2, f"{told(code)}\n".encode())
    leave(code)

"""An op that takes its time, and makes trouble where it meets a certain number."""

import ctypes
import faulthandler
import os
import time
from pathlib import Path

import numpy as np

from hpcflow.registry import op, sink


@op()
def trouble(x, /, *, kind: str = "none", at: float = -1.0, seconds: float = 0.0):
    """Pass on what it gets, after `seconds`; do `kind` of harm in the block that holds the number `at`.

    Parameters
    ----------
    kind : str
        What to do.
    at : float
        The number that sets it off.
    seconds : float
        How long every block takes.
    """
    if np.size(x) < 64:  # a sample, by which the flow is checked
        return np.asarray(x) * 1
    time.sleep(seconds)
    gate = os.environ.get("FAULTY_GATE")
    while gate and not Path(gate).exists():
        time.sleep(0.05)
    if (np.asarray(x) == at).any():
        HARM[kind](x)
    return np.asarray(x) * 1


def _segfault(x):
    faulthandler.disable()
    ctypes.string_at(0)


def _allocate(x):
    held = []
    for _ in range(64):
        held.append(np.ones(64 * 2**20 // 8))
        time.sleep(0.01)
    time.sleep(60)


def _hold_the_lock(x):
    # A library called through PyDLL keeps the interpreter's lock.
    ctypes.PyDLL(None).sleep(int(os.environ.get("FAULTY_SECONDS", "15")))


def _fail_at_first(x):
    flag = Path(os.environ["FAULTY_FLAG"])
    count = len(flag.read_text()) if flag.exists() else 0
    flag.write_text("x" * (count + 1))
    if count < 2:
        raise OSError(5, "Input/output error")


def _swell(x):
    held = np.ones(int(os.environ.get("FAULTY_BYTES", "8")) // 8)
    time.sleep(0.4)
    return held


HARM = {
    "swell": _swell,
    "none": lambda x: None,
    "segfault": _segfault,
    "exit": lambda x: os._exit(3),
    "allocate": _allocate,
    "hang": lambda x: time.sleep(3600),
    "lock": _hold_the_lock,
    "flaky": _fail_at_first,
    "raise": lambda x: 1 / 0,
}


class Ballast:
    """A document that holds more than it says."""

    def __init__(self, path):
        self.path = path

    def views(self, metas):
        """All of it."""
        return list(metas)

    def held(self, metas):
        """What it claims."""
        return 8

    def render(self, columns):
        """Hold more."""
        _swell(None)
        Path(self.path).write_text("done")


@sink
def ballast(*, path: str) -> Ballast:
    """Write a document that takes its memory.

    Parameters
    ----------
    path : str
        The file.
    """
    return Ballast(str(Path(path).absolute()))

"""What a device had room for: found by trying, remembered for the run, told to whoever runs it.

Nothing says beforehand how much of a device's memory a library takes for itself. Where an attempt
finds no room, whoever made it halves what it asks for and notes here what it then does.
"""

from __future__ import annotations

import threading
from collections.abc import Hashable
from typing import Any

_lock = threading.Lock()
_known: dict[Hashable, Any] = {}
_run = ""
_thread = threading.local()


def begin(run: str) -> None:
    """Forget what holds for another run than this one."""
    global _run  # noqa: PLW0603  (one run at a time for the process)
    with _lock:
        if run != _run:
            _known.clear()
            _run = run


def known(key: Hashable, asked: Any) -> Any:
    """What there was room for under this key; what is asked for, where nothing was ever too much."""
    return _known.get(key, asked)


def lower(key: Hashable, to: Any, note: str) -> None:
    """Remember that no more than `to` has room, and say so."""
    with _lock:
        _known[key] = to
    _notes().append(note)


def take_notes() -> tuple[str, ...]:
    """What was said in this thread since the last call."""
    notes = _notes()
    taken = tuple(dict.fromkeys(notes))
    notes.clear()
    return taken


def _notes() -> list[str]:
    if not hasattr(_thread, "notes"):
        _thread.notes = []
    notes: list[str] = _thread.notes
    return notes


_LIBRARIES = ("cupy", "cupy_backends", "torch")
_WORDS = ("out of memory", "memory allocation", "memoryallocation", "alloc_failed")


def full(error: BaseException | None) -> bool:
    """Whether an error, or what it comes from, says that a device had no room."""
    while error is not None:
        kind = type(error)
        if kind.__name__ == "OutOfMemoryError":
            return True
        # The CUDA libraries beside the allocators have errors of their own, told apart by their words.
        own = kind.__module__.partition(".")[0] in _LIBRARIES or "CUDA" in str(error)
        if own and any(word in str(error).lower() for word in _WORDS):
            return True
        error = error.__cause__
    return False

"""Locks by number, over all processes that share a file; the system lets go of those of a dead one.

They are locks on single bytes of the file (POSIX, so they work on network file systems too). Those
belong to the whole process, so within it a set says who holds what, and a file stays open for good.
"""

from __future__ import annotations

import fcntl
import os
import threading

_mutex = threading.Lock()
_handles: dict[str, int] = {}
_held: set[tuple[str, int]] = set()


def take(path: str, number: int) -> bool:
    """Take a lock, if no one holds it."""
    with _mutex:
        if (path, number) in _held:
            return False
        if path not in _handles:
            _handles[path] = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.lockf(_handles[path], fcntl.LOCK_EX | fcntl.LOCK_NB, 1, number)
        except (BlockingIOError, PermissionError):
            return False
        _held.add((path, number))
        return True


def give(path: str, number: int) -> None:
    """Let go of a lock."""
    with _mutex:
        fcntl.lockf(_handles[path], fcntl.LOCK_UN, 1, number)
        _held.discard((path, number))

"""What is dear to make and depends on nothing but its key: made once, kept in the user's cache folder."""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Callable
from pathlib import Path


def folder(kind: str) -> Path:
    """Where things of one kind are kept: below ``$XDG_CACHE_HOME/hpcflow``, by default ``~/.cache/hpcflow``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "hpcflow", kind)


def kept(kind: str, name: str, make: Callable[[Path], None]) -> Path:
    """The file of this name; where it is not there, `make` writes it, in one process only.

    Parameters
    ----------
    kind, name : str
        The folder, and the name of the file in it: the hash of everything it depends on.
    make : callable
        Writes the file to the path it is given, which is renamed into place afterwards.
    """
    path = folder(kind) / name
    if path.exists():
        return path
    # Compiled programs are kept here too: nobody else may put one in their place.
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (path.parent / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            with tempfile.TemporaryDirectory(dir=path.parent) as scratch:
                made = Path(scratch, name)
                make(made)
                made.replace(path)
    return path

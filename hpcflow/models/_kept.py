"""What is dear to make and depends on nothing but its key: made once, kept in the user's cache folder."""

from __future__ import annotations

import fcntl
import tempfile
from collections.abc import Callable
from pathlib import Path

from hpcflow.files import OWN, own_file, private_cache


def kept(kind: str, name: str, make: Callable[[Path], None]) -> Path:
    """The file of this name; where it is not there, `make` writes it, in one process only.

    Parameters
    ----------
    kind, name : str
        The folder, and the name of the file in it: the hash of everything it depends on.
    make : callable
        Writes the file to the path it is given, which is renamed into place afterwards.
    """
    path = private_cache(kind) / name
    if path.exists():
        return path
    with open(path.parent / f"{name}.lock", "w", opener=own_file) as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            with tempfile.TemporaryDirectory(dir=path.parent) as scratch:
                made = Path(scratch, name)
                make(made)
                made.chmod(OWN)
                made.replace(path)
    return path

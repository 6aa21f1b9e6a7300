"""Files that a user names: only regular ones are opened."""

from __future__ import annotations

import errno
import os
import stat

from hpcflow.errors import Mismatch

_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
_WAYS = {
    errno.ELOOP: "links that lead in a circle",
    errno.ENOTDIR: "a path below a file",
    errno.ENAMETOOLONG: "a name that is too long",
    errno.EACCES: "one that may not be read",
}

_SAFELY = os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


def regular_file(path: str | os.PathLike[str], flags: int = os.O_RDONLY) -> int:
    """Open a regular file, never a pipe, a socket or a device: those would wait for ever, or act.

    The signature is that of an `opener`: ``open(path, "rb", opener=regular_file)``.

    Parameters
    ----------
    path : str or path
        Links are followed.
    flags : int
        As `os.open` takes them.

    Returns
    -------
    int
        A descriptor, which the caller closes.

    Raises
    ------
    FileNotFoundError
        Where there is nothing.
    Mismatch
        Where there is something else, or it may not be read; `parameter` is ``path``.
    """
    try:
        mode = os.stat(path).st_mode  # noqa: PTH116  (opening a device may act on it)
        # What is put in its place meanwhile is not waited for either.
        handle = os.open(path, flags | _SAFELY) if stat.S_ISREG(mode) else None
    except ValueError:
        raise Mismatch(f"expected a file, found {str(path)!r}, which is no path", parameter="path") from None
    except OSError as error:
        if error.errno not in _WAYS:
            raise
        raise Mismatch(f"expected a file, found {_WAYS[error.errno]} at `{path}`", parameter="path") from None
    if handle is not None and stat.S_ISREG(mode := os.fstat(handle).st_mode):
        return handle
    if handle is not None:
        os.close(handle)
    found = _KINDS.get(stat.S_IFMT(mode), "something else")
    raise Mismatch(f"expected a file, found {found} at `{path}`", parameter="path")

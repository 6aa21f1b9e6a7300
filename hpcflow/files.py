"""Files: only regular ones are opened, and what is written is whole, and goes through no link.

In a folder that others can write, whatever stands under a name that can be guessed may be theirs: a
link, above all, through which one would write somewhere else. So a file is made under a name that nobody
can know beforehand, is there only if it was made so (`create`), and gets its name by being renamed; and
a folder in which names may be plain is one that its owner alone can enter (`private`).
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

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


TEMPORARY, PARTIAL = ".hpcflow-", ".partial"
"""How the names begin and end under which files are written: they may stand among those of others."""
SHARED, OWN = 0o666, 0o600
"""Who may read a file: whoever the user's umask says, and the user alone."""


def create(path: str | os.PathLike[str], mode: int = SHARED) -> int:
    """Make a file that is not there, to be written; the descriptor is the caller's to close.

    Raises
    ------
    FileExistsError
        Where something stands under that name, be it a link that leads nowhere.
    """
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)


def own_file(path: str | os.PathLike[str], flags: int, mode: int = OWN) -> int:
    """Open a file of the user's own, or make it; the signature is that of an `opener`.

    Raises
    ------
    OSError
        Where a link stands there, or something that is somebody else's.
    """
    # Cut short only once it is known to be the user's.
    handle = os.open(path, flags & ~os.O_TRUNC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, mode)
    found = os.fstat(handle)
    if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid() or found.st_nlink > 1:
        os.close(handle)
        raise PermissionError(errno.EPERM, "expected a file of your own, found one of somebody else", str(path))
    if flags & os.O_TRUNC:
        os.ftruncate(handle, 0)
    return handle


def write_all(handle: int, content: bytes | bytearray | memoryview) -> None:
    """Write all of a content to a descriptor; each call of the system that is saved lets no other thread go first."""
    view = memoryview(content)
    while view:
        view = view[os.write(handle, view) :]


@contextmanager
def _named(path: str | os.PathLike[str], mode: int, *, lasting: bool, replace: bool = True) -> Iterator[int]:
    folder = os.path.dirname(path) or "."  # noqa: PTH120  (a path object for each file is not free)
    temporary = f"{folder}/{temporary_name()}"
    handle = create(temporary, mode)
    try:
        with suppress(OSError):  # a file system without locks
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)  # `sweep` lets it be
        yield handle
        if lasting:
            os.fsync(handle)
        if replace:
            os.replace(temporary, path)  # noqa: PTH105
        else:
            os.link(temporary, path)
            os.unlink(temporary)  # noqa: PTH108
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)  # noqa: PTH108
        raise
    finally:
        os.close(handle)


@contextmanager
def written(path: str | os.PathLike[str], *, mode: int = SHARED, lasting: bool = True) -> Iterator[BinaryIO]:
    """A file to write to, which gets its name, in place of what has it, when it is whole; not at all if anything fails.

    Parameters
    ----------
    path : str or path
        What it is to be called; its folder must be there.
    mode : int
        `SHARED` or `OWN`.
    lasting : bool
        Whether it must be on the disk before it has its name; the name itself is once its folder is synced.
    """
    with _named(path, mode, lasting=lasting) as handle, os.fdopen(handle, "w+b", closefd=False) as file:
        yield file
        file.flush()


def write(
    path: str | os.PathLike[str],
    content: bytes | bytearray | str,
    *,
    mode: int = SHARED,
    lasting: bool = True,
    replace: bool = True,
) -> None:
    """Write a file whole or not at all: see `written`.

    Raises
    ------
    FileExistsError
        Unless `replace`, where there is one of this name.
    """
    with _named(path, mode, lasting=lasting, replace=replace) as handle:
        write_all(handle, content.encode() if isinstance(content, str) else content)


def temporary_name() -> str:
    """A name that nobody can guess."""
    return f"{TEMPORARY}{os.urandom(8).hex()}{PARTIAL}"


def sweep(folder: str | os.PathLike[str]) -> None:
    """Remove what processes that were killed have left of files they wrote into a folder."""
    with suppress(OSError):
        left = [one.path for one in os.scandir(folder) if one.name.startswith(TEMPORARY) and one.name.endswith(PARTIAL)]
        for path in left:
            with suppress(OSError):
                handle = own_file(path, os.O_RDONLY)
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    os.unlink(path)  # noqa: PTH108
                finally:
                    os.close(handle)


def sync(path: str | os.PathLike[str]) -> None:
    """Make sure that a file, or a folder's list of names, is on the disk."""
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def mine(path: str | os.PathLike[str]) -> bool:
    """Whether a file or folder, not a link, stands there that is the user's own."""
    with suppress(OSError):
        found = os.lstat(path)
        return found.st_uid == os.geteuid() and not stat.S_ISLNK(found.st_mode)
    return False


def private(folder: str | os.PathLike[str]) -> Path:
    """Make a folder that its owner alone can enter, or see that it is one; folders around it are made as any.

    Raises
    ------
    PermissionError
        Where it is a link, or somebody else's.
    OSError
        Where it cannot be made.
    """
    path = Path(folder)
    path.parent.mkdir(parents=True, exist_ok=True)
    with suppress(FileExistsError):
        path.mkdir(mode=0o700)
    if not mine(path):
        raise PermissionError(errno.EPERM, "expected a folder of your own, found a link or somebody else's", str(path))
    if path.stat().st_mode & 0o077:
        path.chmod(0o700)
    return path


def cache_folder(kind: str) -> Path:
    """Where things of one kind are kept: below ``$XDG_CACHE_HOME/hpcflow``, by default ``~/.cache/hpcflow``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "hpcflow", kind).absolute()


def private_cache(kind: str) -> Path:
    """The same folder, made if it is not there: what is loaded from it as code, nobody else may have put there."""
    folder = cache_folder(kind)
    private(folder.parent)
    return private(folder)

"""Where an output stands until it is finished: under a name that only one run knows.

A run may die and leave a process behind that is stopped, or waits for a disk, and goes on
hours later. Whatever writes by a path of its own run must then find nothing there: so each run
has a name of its own for each output, `NAME.part-KEY-RUN`, and one that takes up what another
has left first renames it. The key is that of the stage: only what would be made alike is taken up.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import shutil
from contextlib import suppress
from pathlib import Path

from hpcflow.digests import digest_json
from hpcflow.files import PARTIAL, create, mine, sync, write_all, written

_LEFT = re.compile(r"\.part(-[0-9a-f]{8}-[0-9a-f]{1,12}(-done)?)?")
_FENCED = "another run has taken its place"


def part_of(path: str, key: str, run: str) -> str:
    """The name that an output has while this run writes it."""
    return f"{path}.part-{short(key)}-{run}" if key else path + ".part"


def short(key: str) -> str:
    """As much of a stage's key as a file name needs."""
    return digest_json(key)[:8]


def leftovers(path: str, key: str | None = None) -> list[Path]:
    """What stands under an output's unfinished names: all of them, or those of one stage key."""
    final = Path(path)
    wanted = "" if key is None else f"{final.name}.part-{short(key)}-"
    with suppress(FileNotFoundError):
        names = (one.name for one in os.scandir(final.parent) if one.name.startswith(final.name + ".part"))
        found = [name for name in names if _LEFT.fullmatch(name.removeprefix(final.name))]
        # What somebody else has put there is not taken up, and not removed.
        return [one for name in sorted(found) if name.startswith(wanted) and mine(one := final.with_name(name))]
    return []


def seize(left: Path, own: Path) -> None:
    """Give a file that another run wrote this run's name, out of reach of any writer of that run.

    A writer that comes later finds nothing under the old name. One that has the file open holds
    a lock on it: it keeps what it has, and this run gets a copy.
    """
    left.replace(own)
    with own.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            with written(own, lasting=False) as copy:
                file.seek(0)
                shutil.copyfileobj(file, copy, 2**22)
        except OSError:
            return  # a file system without locks: the name alone must do


def hold(file: int, path: str) -> None:
    """Keep others from seizing an open file; raises `FileNotFoundError` where one already has."""
    with suppress(OSError):
        fcntl.flock(file, fcntl.LOCK_SH)
    if os.fstat(file).st_ino != Path(path).stat().st_ino:
        raise FileNotFoundError(errno.ENOENT, _FENCED, path)


def store(root: str, name: str, content: memoryview) -> None:
    """Write a file below a folder that is there, whole or not at all.

    The folder itself is never made: it is gone when another run has taken its place.
    """
    path = f"{root}/{name}"
    temporary = f"{path}.{os.urandom(8).hex()}{PARTIAL}"
    try:
        handle = _create(root, name, temporary)
        try:
            write_all(handle, content)
        finally:
            os.close(handle)
        os.rename(temporary, path)  # noqa: PTH104  (a path object for each chunk is a fifth of its cost)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)  # noqa: PTH108
        raise


def _create(root: str, name: str, temporary: str) -> int:
    with suppress(FileNotFoundError):
        return create(temporary)
    folder = root
    for part in name.split("/")[:-1]:
        folder = f"{folder}/{part}"
        with suppress(FileExistsError):
            os.mkdir(folder)  # noqa: PTH102
    return create(temporary)


def sync_all(root: str) -> None:
    """Make sure that a folder and all in it are on the disk; torn files are removed."""
    for folder, _, files in os.walk(root):
        for name in files:
            if name.endswith(PARTIAL):
                Path(folder, name).unlink(missing_ok=True)
            else:
                sync(f"{folder}/{name}")
        sync(folder)

"""One owner for each output: a lock that dies with its process."""

from __future__ import annotations

import fcntl
import json
import os
import socket
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from hpcflow.errors import RunError
from hpcflow.files import own_file


@contextmanager
def owned(flow: str, paths: Iterable[str | Path]) -> Iterator[None]:
    """Own some outputs while the block lasts.

    The lock is a hidden file beside each output, held by `flock`: the system lets go of it when
    its process ends, however it ends.

    Raises
    ------
    RunError
        Where another process owns one; it says which. Where nothing can be written there.
    """
    with ExitStack() as stack:
        # In one order for everyone, so that two runs cannot each wait for the other's.
        for path in sorted({str(Path(path).absolute()) for path in paths}):
            try:
                stack.enter_context(_owned(flow, Path(path)))
            except OSError as error:
                raise RunError(f"could not write beside `{path}`: {error.strerror or error}") from error
        yield


@contextmanager
def _owned(flow: str, path: Path) -> Iterator[None]:
    lock = path.with_name(f".{path.name}.lock")
    lock.parent.mkdir(parents=True, exist_ok=True)
    handle = _acquire(lock, path)
    try:
        os.ftruncate(handle, 0)
        now = datetime.now(UTC).isoformat(timespec="seconds")
        holder = {"flow": flow, "process": os.getpid(), "host": socket.gethostname(), "since": now}
        os.pwrite(handle, json.dumps(holder).encode(), 0)
        yield
    finally:
        with suppress(FileNotFoundError):
            lock.unlink()
        os.close(handle)


def _acquire(lock: Path, path: Path) -> int:
    while True:
        handle = own_file(lock, os.O_RDWR | os.O_CREAT)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = _holder(os.pread(handle, 4096, 0))
            os.close(handle)
            raise RunError(
                f"`{path}` is being written by {holder}\n"
                "  hint: wait for it, stop it, or give this run other outputs and another `--run-dir`"
            ) from None
        with suppress(FileNotFoundError):
            # The last owner may have removed the file between our opening and our locking it.
            if os.fstat(handle).st_ino == lock.stat().st_ino:
                return handle
        os.close(handle)


def _holder(content: bytes) -> str:
    try:
        holder = json.loads(content)
        return "process {process} on {host}, running the flow `{flow}` since {since}".format(**holder)
    except (ValueError, KeyError):
        return "another process, which has just begun"

"""Which errors pass by themselves: a disk or a server that was away, not a wrong file or a wrong flow."""

from __future__ import annotations

import errno
from collections.abc import Iterator

FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""No room: nothing else could be written either."""
PASSING = frozenset(
    {
        *(errno.EAGAIN, errno.EBUSY, errno.EINTR, errno.EIO, errno.ENOBUFS, errno.ESTALE),
        *(errno.ECONNABORTED, errno.ECONNREFUSED, errno.ECONNRESET, errno.EPIPE, errno.ETIMEDOUT),
        *(errno.EHOSTUNREACH, errno.ENETDOWN, errno.ENETRESET, errno.ENETUNREACH, errno.EMFILE, errno.ENFILE),
    }
)


def passes(error: BaseException) -> bool:
    """Whether trying again may help."""
    return any(_passes(one) for one in _chain(error))


def full(error: BaseException) -> bool:
    """Whether a disk or a quota is full."""
    return any(isinstance(one, OSError) and one.errno in FULL for one in _chain(error))


def starved(error: BaseException) -> bool:
    """Whether there was no memory: with nothing beside it, it may fit."""
    return any(
        isinstance(one, MemoryError) or (isinstance(one, OSError) and one.errno == errno.ENOMEM)
        for one in _chain(error)
    )


def _passes(error: BaseException) -> bool:
    if isinstance(error, (ConnectionError, TimeoutError)):
        return True
    if isinstance(error, OSError):
        return error.errno in PASSING
    # What an HTTP server or the way to it does wrong; aiohttp itself need not be there.
    return any(base.__module__.startswith("aiohttp") and base.__name__ == "ClientError" for base in type(error).__mro__)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__

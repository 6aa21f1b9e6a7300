"""Model files that whoever runs a flow vouches for, by their SHA-256: a flow cannot do it for them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from hpcflow.errors import Mismatch

_trusted: ContextVar[frozenset[str]] = ContextVar("trusted", default=frozenset())


@contextmanager
def trusting(digests: Iterable[str]) -> Iterator[None]:
    """Vouch for files while a flow is read and checked.

    Raises
    ------
    Mismatch
        For what is no SHA-256.
    """
    given = [digests] if isinstance(digests, str) else list(digests)
    for one in given:
        if len(one) != 64 or not set(one.lower()) <= set("0123456789abcdef"):
            raise Mismatch(f"expected the SHA-256 of a model file, 64 digits, found {one!r}", parameter="trust-models")
    token = _trusted.set(_trusted.get() | {one.lower() for one in given})
    try:
        yield
    finally:
        _trusted.reset(token)


def is_trusted(digest: str) -> bool:
    """Whether the file with this SHA-256 is vouched for."""
    return digest in _trusted.get()

"""What to fetch, and what became of it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Item:
    """One URL of a list."""

    url: str
    """As it is written: credentials are references, or are hidden wherever it is shown."""
    label: str | None = None
    """The list's `id`."""
    sha256: str | None = None
    """What the body must hash to, in small hex."""
    trusted: bool = True
    """Whether the user wrote it, rather than a list from elsewhere."""


@dataclass(frozen=True)
class Result:
    """What became of one item; a row of the manifest."""

    url: str
    """As it may be shown."""
    path: str | None
    """Relative to the folder of the files; `None` where there is no file."""
    status: str
    """`ok`, `cached` or `failed`."""
    bytes: int | None
    sha256: str | None
    tries: int
    seconds: float
    reason: str | None
    """Why it failed; of one that is there, what to know of it."""

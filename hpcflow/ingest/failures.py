"""Why a try failed, and what follows from it: whether to try again, when, and from where."""

from __future__ import annotations

import random
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from time import time

from hpcflow.errors import HpcflowError
from hpcflow.sizes import show_size

AGAIN = {408, 425, 429, 500, 502, 503, 504}
"""Answers that may be others in a moment."""
BASE = 0.25
LONGEST = 30.0
"""Seconds: the first and the longest pause between two tries, before chance shortens it."""
PATIENCE = 300.0
"""Seconds that a server may ask to be left alone before its files count as not to be had."""
LONGEST_REASON = 500
FOR_GOOD = 366 * 86_400.0
"""Seconds: whoever asks for more gets this much; no clock goes on for as long as a server may ask."""


class Failure(HpcflowError):
    """A try failed.

    Parameters
    ----------
    reason : str
        For the manifest; holds no credentials.
    again : bool
        Whether another try may do better.
    wait : float
        Seconds for which the server asks to be left alone.
    """

    def __init__(self, reason: str, *, again: bool, wait: float | None = None) -> None:
        self.reason = plain(reason)
        super().__init__(self.reason)
        self.again = again
        self.wait = wait


def plain(text: str) -> str:
    """What a server has said, as it may be shown and written: printable, and no longer than a line or two."""
    return "".join(one if one.isprintable() else "\N{REPLACEMENT CHARACTER}" for one in text[:LONGEST_REASON])


def answered(status: int, headers: Mapping[str, str]) -> Failure:
    """The failure that an answer other than success means."""
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = ""
    wait = retry_after(headers) if status in AGAIN else None
    return Failure(f"answered {status} {phrase}".strip(), again=status in AGAIN, wait=wait)


def too_large(most: int) -> Failure:
    """The failure that a body beyond the cap is."""
    return Failure(f"larger than {show_size(most)}, the most that is taken; raise it with `--max-bytes`", again=False)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """How long a server asks to be left alone, in seconds from now; `None` where it does not.

    A date is taken against the server's own clock where it tells that.
    """
    text = headers.get("Retry-After", "").strip()
    if text.isascii() and text.isdigit():
        return min(float(text), FOR_GOOD)
    asked = _seconds(text)
    if asked is None:
        return None
    now = _seconds(headers.get("Date", ""))
    return min(max(asked - (time() if now is None else now), 0.0), FOR_GOOD)


def _seconds(date: str) -> float | None:
    try:
        return parsedate_to_datetime(date).timestamp()
    except (ValueError, OverflowError):
        return None


def pause(failures: int) -> float:
    """Seconds before the next try: up to twice as long after each failure, with full jitter.

    Whatever fails together would else come back together.
    """
    return random.uniform(0, min(LONGEST, BASE * 2 ** min(failures - 1, 16)))  # noqa: S311  (no secret)

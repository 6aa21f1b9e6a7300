"""Credentials from the environment: written ``${env:NAME}`` everywhere, known only where used.

A flow's values, graph, reports and receipts hold the reference, never the value. What opens a
file or a connection calls `reveal` on its parameters at that moment, on whatever machine it
runs; messages that may quote them pass through `redact`.
"""

from __future__ import annotations

import os
import re
from typing import Any, TypeVar
from urllib.parse import quote, quote_plus

from hpcflow.errors import Mismatch

T = TypeVar("T")
REFERENCE = re.compile(r"\$\{env:([A-Za-z_][A-Za-z0-9_]*)\}")

CREDENTIALS = re.compile(r"(?<=://)[^\s/@\"'`]+(?=@)")
"""User and password of a URL."""
STRUCK = "***"

_revealed: dict[str, str] = {}
"""Every form of a value that this process has seen, and the reference to show in its place."""


def references(value: Any) -> set[str]:
    """The environment variables that a value refers to, at any depth."""
    if isinstance(value, str):
        return set(REFERENCE.findall(value))
    if isinstance(value, dict):
        return set().union(*(references(one) for one in value.values()))
    if isinstance(value, (list, tuple)):
        return set().union(*(references(one) for one in value))
    return set()


def reveal(value: T) -> T:
    """The value with each ``${env:NAME}`` in it replaced by what the environment says.

    Raises
    ------
    Mismatch
        Where a variable is not set.
    """
    revealed: Any = value
    if isinstance(value, str):
        revealed = REFERENCE.sub(_look_up, value)
    elif isinstance(value, dict):
        revealed = {key: reveal(one) for key, one in value.items()}
    elif isinstance(value, (list, tuple)):
        revealed = type(value)(reveal(one) for one in value)
    return revealed  # type: ignore[no-any-return]


def _look_up(match: re.Match[str]) -> str:
    name = match[1]
    value = os.environ.get(name)
    if value is None:
        raise Mismatch(f"expected the environment variable `{name}` to be set", hint=f"export {name}=… first")
    for form in {value, quote(value), quote(value, safe=""), quote_plus(value), repr(value)[1:-1]} - {""}:
        _revealed[form] = match[0]
    return value


def redacted(value: T) -> T:
    """The value with every text in it redacted, at any depth; keys too."""
    struck: Any = value
    if isinstance(value, str):
        struck = redact(value)
    elif isinstance(value, dict):
        struck = {redacted(key): redacted(one) for key, one in value.items()}
    elif isinstance(value, (list, tuple)):
        struck = type(value)(redacted(one) for one in value)
    return struck  # type: ignore[no-any-return]


def redact(text: str) -> str:
    """The text without credentials.

    Every value that `reveal` has given out is replaced by its reference, and user and password of
    a URL by ``***`` unless they are such a reference.
    """
    for form in sorted(_revealed, key=len, reverse=True):
        text = text.replace(form, _revealed[form])
    return CREDENTIALS.sub(lambda found: found[0] if REFERENCE.search(found[0]) else STRUCK, text)

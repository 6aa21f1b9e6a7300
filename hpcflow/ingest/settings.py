"""How to fetch: limits, deadlines, what is allowed. The defaults are those of the command."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from hpcflow.errors import Mismatch
from hpcflow.files import cache_folder
from hpcflow.secrets import REFERENCE, reveal
from hpcflow.sizes import parse_size

SIZES = ("max_bytes", "cache_size")
HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
OURS = {"host", "connection", "content-length", "transfer-encoding", "accept-encoding", "range", "if-range"}
OURS |= {"if-none-match", "if-modified-since", "proxy-authorization"}
"""Headers on which it depends that what comes is right."""
SECRET = re.compile(r"(?i)auth|cookie|token|secret|key|passw|credential|signature|session")
"""In names of headers whose values are for nobody's eyes."""
BUFFERS = 64 * 2**20
"""Bytes of bodies in memory, over all that is under way."""


@dataclass(frozen=True)
class Settings:
    """How to fetch; pickles, and holds references to credentials, never their values."""

    concurrency: int = 64
    """Requests under way at once, in this process."""
    per_host: int = 32
    """Requests under way at once to one host, over all processes of this machine."""
    timeout: float = 60.0
    """Seconds for one try in all."""
    retries: int = 4
    """More tries after the first."""
    max_bytes: int = 2**30
    """The largest body, also once it is decompressed."""
    allow_private: bool = False
    """Whether redirects, and lists from elsewhere, may lead to private addresses."""
    cache: str = ""
    """A folder; the user's cache folder where it is empty."""
    cache_size: int = 10 * 2**30
    """Bytes that the cache may grow to; what was used least lately goes first."""
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    """More headers for web servers."""
    options: str = field(default="{}", repr=False)
    """`storage_options` for fsspec, as JSON."""

    @property
    def connect(self) -> float:
        """Seconds for a connection to come about."""
        return min(10.0, self.timeout / 2)

    @property
    def stall(self) -> float:
        """Seconds without a byte."""
        return min(30.0, self.timeout / 2)

    @property
    def buffer(self) -> int:
        """Bytes of one body that wait in memory to be written: all together stay below `BUFFERS`."""
        return max(min(2**20, BUFFERS // self.concurrency), 2**16)

    @property
    def revealed(self) -> dict[str, str]:
        """The headers as they are sent.

        Raises
        ------
        Mismatch
            Where a variable of the environment is not set, or no header can hold its value.
        """
        found = {name: reveal(value).strip() for name, value in self.headers}
        for name, value in found.items():
            if not value.isprintable():
                raise Mismatch(f"expected the header `{name}` to be one line of text, found other characters in it")
        return found

    @property
    def cache_dir(self) -> Path:
        """Where the cache is."""
        return Path(self.cache).absolute() if self.cache else cache_folder("ingest")


def settings_of(
    given: Mapping[str, Any] | None, storage_options: Mapping[str, Any] | None = None, **defaults: Any
) -> Settings:
    """Settings as a flow gives them: `{timeout: 10, per_host: 4}`.

    Raises
    ------
    Mismatch
        Where there is no such setting, or its value does not fit.
    """
    values = Settings(**defaults)
    known = {one.name: one.type for one in fields(Settings) if one.name != "options"}
    for name, value in (given or {}).items():
        if name not in known:
            names = ", ".join(f"`{one}`" for one in known)
            raise Mismatch(
                f"expected a setting of `fetch`, found `{name}`", parameter="fetch", hint=f"it takes {names}"
            )
        values = replace(values, **{name: _value(name, str(known[name]), value)})
    _within(values)
    return replace(values, options=json.dumps(storage_options or {}, sort_keys=True, default=str))


def _value(name: str, kind: str, value: Any) -> Any:
    if name in SIZES:
        try:
            return parse_size(value)
        except ValueError as error:
            raise Mismatch(f"`{name}`: {error}", parameter="fetch") from None
    if name == "headers":
        return _headers(value)
    wanted: Any = {"int": int, "float": (int, float), "bool": bool, "str": str}[kind]
    if not isinstance(value, wanted) or (isinstance(value, bool) and kind != "bool"):
        raise Mismatch(f"expected `{name}` of `fetch` to be of type {kind}, found {value!r}", parameter="fetch")
    return value


def _headers(value: Any) -> tuple[tuple[str, str], ...]:
    if not isinstance(value, Mapping) or not all(isinstance(one, str) for one in (*value, *value.values())):
        raise Mismatch("expected `headers` of `fetch` to give a text for each name", parameter="fetch")
    for name, text in value.items():
        if not HEADER.fullmatch(name) or name.lower() in OURS:
            raise Mismatch(f"expected a header that may be set, found {name[:80]!r}", parameter="fetch")
        if SECRET.search(name) and not REFERENCE.search(text):
            raise Mismatch(
                f"expected the value of the header `{name}` to come from the environment, found it written out",
                parameter="fetch",
                hint=f'write `{name}: "${{env:NAME}}"`, and export NAME before the run',
            )
    return tuple(sorted(value.items()))


def _within(values: Settings) -> None:
    for name in ("concurrency", "per_host", "timeout", "max_bytes", "cache_size"):
        if not getattr(values, name) > 0:  # nor NaN
            raise Mismatch(f"expected `{name}` to be above 0, found {getattr(values, name)}", parameter=name)
    if values.retries < 0:
        raise Mismatch(f"expected `retries` to be at least 0, found {values.retries}", parameter="retries")

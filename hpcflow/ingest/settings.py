"""How to fetch: limits, deadlines, what is allowed. The defaults are those of the command."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from hpcflow.errors import Mismatch
from hpcflow.sizes import parse_size

SIZES = ("max_bytes", "cache_size")
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
    def cache_dir(self) -> Path:
        """Where the cache is."""
        return Path(self.cache).absolute() if self.cache else default_cache()


def default_cache() -> Path:
    """The user's cache folder."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "hpcflow", "ingest").absolute()


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
    wanted: Any = {"int": int, "float": (int, float), "bool": bool, "str": str}[kind]
    if not isinstance(value, wanted) or (isinstance(value, bool) and kind != "bool"):
        raise Mismatch(f"expected `{name}` of `fetch` to be of type {kind}, found {value!r}", parameter="fetch")
    return value


def _within(values: Settings) -> None:
    for name in ("concurrency", "per_host", "timeout", "max_bytes", "cache_size"):
        if not getattr(values, name) > 0:  # nor NaN
            raise Mismatch(f"expected `{name}` to be above 0, found {getattr(values, name)}", parameter=name)
    if values.retries < 0:
        raise Mismatch(f"expected `retries` to be at least 0, found {values.retries}", parameter="retries")

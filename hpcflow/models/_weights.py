"""Files whose content is known beforehand by its SHA-256, from a path or a URL."""

from __future__ import annotations

import hashlib
import os
from functools import lru_cache
from io import BufferedReader

from hpcflow.errors import Mismatch, RunError
from hpcflow.files import cache_folder, private_cache, regular_file
from hpcflow.ingest.items import Item
from hpcflow.ingest.settings import Settings
from hpcflow.secrets import redact

TIMEOUT = 3600.0
"""Seconds that a file may take to come."""
LARGEST = 2**40
"""Bytes."""


def pinned(where: str, sha256: str, *, hint: str = "") -> bytes:
    """The content of a file, if it is the right one.

    Parameters
    ----------
    where : str
        A path, or an http(s) URL; what is fetched is kept below the user's cache folder.
    sha256 : str
        What the content's SHA-256 must be.
    hint : str
        Where to get the file, for the message where it is not there.

    Raises
    ------
    Mismatch
        If the content is another.
    RunError
        If the file is not there or cannot be fetched.
    """
    if where.startswith(("http://", "https://")):
        return _fetched(where, sha256.lower(), hint)
    try:
        with opened(where) as file:
            content = file.read()
    except OSError as error:
        raise RunError(_advice(f"could not read `{where}`: {error.strerror}", hint)) from error
    expect(where, hashlib.sha256(content).hexdigest(), sha256.lower())
    return content


def opened(where: str, parameter: str = "weights") -> BufferedReader:
    """A file that a parameter names, to be read; raises as `regular_file` does."""
    try:
        return open(where, "rb", opener=regular_file)
    except Mismatch as error:
        raise Mismatch(str(error), parameter=parameter, hint=error.hint) from None


def digest_of(where: str, parameter: str = "weights") -> str:
    """The SHA-256 of a file, read piece by piece; raises as `opened` does."""
    with opened(where, parameter) as file:
        status = os.fstat(file.fileno())
        return _digest(where, status.st_size, status.st_mtime_ns, status.st_ino)


@lru_cache(maxsize=64)
def _digest(where: str, *_: int) -> str:  # a file that changed is another
    with opened(where) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def expect(where: str, found: str, expected: str) -> None:
    """Refuse a file with another SHA-256; raises `Mismatch`."""
    if found != expected:
        raise Mismatch(
            f"expected `{where}` to have the SHA-256 {expected}, found {found}",
            parameter="sha256",
            hint="fetch it again, or, if you trust this file, give its digest as `sha256`",
        )


def _fetched(url: str, sha256: str, hint: str) -> bytes:
    kept = cache_folder("weights") / sha256
    if kept.exists():
        return pinned(str(kept), sha256)
    from hpcflow.ingest.local import fetcher  # noqa: PLC0415  (aiohttp: only where something is fetched)

    private_cache("weights")
    there = fetcher(Settings(timeout=TIMEOUT, max_bytes=LARGEST))
    got = there.wait(there.engine.get(Item(url, sha256=sha256), kept))
    if got.path is None:
        expect(redact(url), got.sha256 or sha256, sha256)
        raise RunError(_advice(f"could not fetch `{redact(url)}`: {got.reason}", hint))
    return pinned(str(got.path), sha256)


def _advice(message: str, hint: str) -> str:
    return f"{message}\n  hint: {hint}" if hint else message

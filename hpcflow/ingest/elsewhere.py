"""One try through fsspec: object stores and whatever else it speaks, in threads."""

from __future__ import annotations

import asyncio
import json
import os
from typing import Any

from hpcflow.errors import Mismatch, MissingPackage
from hpcflow.files import regular_file
from hpcflow.ingest.failures import Failure, too_large
from hpcflow.ingest.part import Part, Start, Version
from hpcflow.ingest.settings import Settings
from hpcflow.ingest.urls import scheme
from hpcflow.schemes import expect_listed
from hpcflow.secrets import redact, reveal

PIECE = 8 * 2**20
"""Bytes asked for at a time."""
FINAL = (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError, NotImplementedError, ValueError)


async def receive(url: str, part: Part, settings: Settings) -> None:
    """Ask once, and take the body in: from where an earlier try broke off, if it is still the same file.

    Raises
    ------
    Failure
    """
    version = await _stalling(settings, version_of, url, settings.options)
    if version.total is not None and version.total > settings.max_bytes:
        raise too_large(settings.max_bytes)
    if not part.size or not version.validator or version != part.version:
        part.begin(version)
    while version.total is None or part.size < version.total:
        piece = await _stalling(settings, _read, url, settings.options, part.size, PIECE)
        if not piece:
            break
        if part.size + len(piece) > settings.max_bytes:
            raise too_large(settings.max_bytes)
        await part.add(piece)
    if part.size > PIECE and await _stalling(settings, version_of, url, settings.options) != version:
        part.begin(Version())
        raise Failure("the file changed while it was being fetched", again=True)
    if version.total is not None and part.size != version.total:
        raise Failure(f"broke off after {part.size:,} of {version.total:,} bytes", again=True)


async def start(url: str, length: int, settings: Settings) -> Start:
    """The first bytes of a file, and how many it has.

    Raises
    ------
    Failure
    """
    version = await _stalling(settings, version_of, url, settings.options)
    return Start(await _stalling(settings, _read, url, settings.options, 0, length), version.total)


async def _stalling(settings: Settings, call: Any, *args: Any) -> Any:
    """Run a call in a thread, for as long as it may stay silent."""
    try:
        async with asyncio.timeout(settings.stall):
            return await asyncio.to_thread(call, *args)
    except TimeoutError:
        raise Failure("stalled", again=True) from None
    except (Failure, MissingPackage, Mismatch):
        raise
    except FileNotFoundError:
        raise Failure("no such file", again=False) from None
    except PermissionError:
        raise Failure("no permission to read it", again=False) from None
    except ImportError as error:
        raise MissingPackage(f"`{scheme(args[0])}://` needs a package that is not installed: {error}") from error
    except Exception as error:  # noqa: BLE001  (file systems raise whatever the library behind them does)
        if isinstance(error, ValueError) and "@" in args[0]:
            # Whoever reads the URL quotes the part at fault, which may be one of a password.
            raise Failure("is no valid URL", again=False) from None
        text = redact(str(error)).splitlines() or [""]
        reason = f"{type(error).__name__}: {text[0][:200]}"
        raise Failure(reason, again=not isinstance(error, FINAL)) from None


def opened(url: str, options: str) -> tuple[Any, str]:
    """The file system behind a URL, and the path on it."""
    import fsspec  # noqa: PLC0415  (only where it is used)

    from hpcflow.ingest.chunks import guarded  # noqa: PLC0415  (as above)

    given = reveal(json.loads(options), options=True)
    expect_listed(url, given)
    system, path = fsspec.core.url_to_fs(url, **guarded(url, given))
    return system, path


def version_of(url: str, options: str) -> Version:
    """Size and version of a file; blocking."""
    system, path = opened(url, options)
    if "file" in system.protocol:
        os.close(regular_file(path))  # to open a pipe would be to wait for ever
    info = system.info(path)
    if info.get("type") == "directory":
        raise Failure("is a folder", again=False)
    etag = next((str(info[name]) for name in ("ETag", "etag", "generation", "md5") if info.get(name)), "")
    changed = next((str(info[name]) for name in ("LastModified", "mtime", "created") if info.get(name)), "")
    # A time of change counts only where it is a file's own, to the nanosecond.
    return Version(etag.strip('"'), changed, info.get("size"), dated="mtime" in info)


def _read(url: str, options: str, start: int, length: int) -> bytes:
    system, path = opened(url, options)
    content: bytes = system.cat_file(path, start=start, end=start + length)
    return content

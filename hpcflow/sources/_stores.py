"""Where Zarr keeps its objects: folders, archives and URLs; and what tells that an object is as it was."""

from __future__ import annotations

import asyncio
import bz2
import io
import json
import lzma
import os
import stat
import time
import uuid
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from copy import copy
from email.utils import parsedate_to_datetime
from functools import lru_cache, partial
from itertools import groupby
from pathlib import Path
from typing import Any

from hpcflow.errors import RunError
from hpcflow.files import regular_file
from hpcflow.ingest.urls import is_url
from hpcflow.schemes import expect_listed
from hpcflow.secrets import reveal
from hpcflow.sizes import show_size
from hpcflow.sources._stamps import stamp

AT_ONCE = 32
"""Objects behind a URL that are asked for at once."""
SETTLED = 60.0
"""Seconds after which a time that counts whole seconds tells two versions apart."""
MOST_LISTED, MOST_ASKED = 100_000, 4096
"""Objects behind a URL that are counted: by listing them, and one by one where there are no lists (HTTP)."""
MOST_METADATA = 2**26
"""Bytes of an object in a folder or an archive before the array's metadata says what a chunk can have."""
Stamp = Sequence[Any] | None
"""What tells that an object is as it was; `None` where there is none."""


def store_of(path: str, options: str) -> Any:
    """The objects of an array or a group, read-only.

    Parameters
    ----------
    path : str
        An absolute path of a folder or a ``.zip``, or a URL.
    options : str
        For fsspec, as JSON.

    Raises
    ------
    Mismatch
        Where the URL may not be opened.
    """
    from zarr.storage import FsspecStore  # noqa: PLC0415  (half a second)

    place = reveal(path)
    if is_url(path):
        from hpcflow.ingest.chunks import guarded  # noqa: PLC0415  (aiohttp: only where something is fetched)

        given = reveal(json.loads(options), options=True)
        expect_listed(place, given)
        # A list that an earlier run made in this process says nothing of what is there now.
        return FsspecStore.from_url(place, guarded(place, {"use_listings_cache": False, **given}), read_only=True)
    if not Path(place).is_dir():
        os.close(regular_file(place))
        return _local_stores()[1](place, mode="r", read_only=True)
    return _local_stores()[0](place, read_only=True)


@lru_cache(maxsize=1)
def _local_stores() -> tuple[Any, Any]:
    """The stores of a folder and of an archive; made when Zarr is there."""
    from zarr.storage import LocalStore, ZipStore  # noqa: PLC0415

    class Folder(LocalStore):
        """Never opens what is no regular file: a pipe would be waited for without end; nor more than `most` bytes."""

        most = MOST_METADATA

        def get_sync(self, key: str, **given: Any) -> Any:
            self._look(key)
            return super().get_sync(key, **given)

        async def get(self, key: str, *args: Any, **given: Any) -> Any:
            self._look(key)
            return await super().get(key, *args, **given)

        def _look(self, key: str) -> None:
            try:
                found = os.stat(f"{self.root}/{key}")  # noqa: PTH116  (for each chunk: text is faster)
            except OSError:
                return  # as for the store itself, there is nothing
            mode = found.st_mode
            _expect(key, found.st_size, self.most)
            if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
                regular_file(f"{self.root}/{key}")  # says what it is

    class Archive(ZipStore):
        """Reads no member of more than `most` bytes."""

        most = MOST_METADATA

        def _sync_open(self) -> None:
            super()._sync_open()
            self._zf.open = partial(_member, self, self._zf.open)  # type: ignore[method-assign]

    return Folder, Archive


def _member(store: Any, opened: Callable[[Any], Any], key: str) -> Any:
    """A member of an archive, decompressed no further than it says: `zipfile` does that before it looks."""
    info = store._zf.getinfo(key)  # noqa: SLF001
    _expect(key, max(info.file_size, info.compress_size), store.most)
    if info.compress_type not in _PACKED:
        return opened(key)
    raw = copy(info)
    raw.compress_type, raw.file_size = zipfile.ZIP_STORED, info.compress_size
    del raw.CRC  # that of the content
    with opened(raw) as file:
        content = _PACKED[info.compress_type](file.read(), info.file_size + 1)
    if len(content) != info.file_size or zlib.crc32(content) != info.CRC:
        raise RunError(f"expected `{key}` to have the {info.file_size:,} bytes that its archive says, found others")
    return io.BytesIO(content)


_PACKED: dict[int, Callable[[bytes, int], bytes]] = {
    zipfile.ZIP_DEFLATED: lambda data, most: zlib.decompressobj(-zlib.MAX_WBITS).decompress(data, most),
    zipfile.ZIP_BZIP2: lambda data, most: bz2.BZ2Decompressor().decompress(data, most),
    # With the header of a file of this kind that does not say how long it is, in place of an archive's.
    zipfile.ZIP_LZMA: lambda data, most: lzma.LZMADecompressor(lzma.FORMAT_ALONE).decompress(
        data[4:9] + b"\xff" * 8 + data[9:], most
    ),
}


def _expect(key: str, size: int, most: int) -> None:
    if size > most:
        raise RunError(f"expected `{key}` to have at most {show_size(most)}, found {show_size(size)}")


def stamps(store: Any, keys: Sequence[str]) -> list[Stamp]:
    """For each object of a store, what tells that it is as it was: size and times, or what its server says."""
    fs = getattr(store, "fs", None)
    if fs is not None:
        from zarr.core.sync import sync  # noqa: PLC0415

        found: list[Stamp] = sync(_asked(fs, [f"{store.path}/{key}" for key in keys]))
        return found
    if hasattr(store, "root"):
        return [_local(f"{store.root}/{key}") for key in keys]
    return [_local(str(store.path))] * len(keys)  # an archive


def _local(path: str) -> Stamp:
    try:
        return stamp(path)
    except (FileNotFoundError, NotADirectoryError):
        return None


async def _asked(fs: Any, paths: Sequence[str]) -> list[Stamp]:
    room = asyncio.Semaphore(AT_ONCE)
    ask = _head if "http" in fs.protocol else _info

    async def one(path: str) -> Stamp:
        async with room:
            try:
                return await ask(fs, path)
            except Exception:  # noqa: BLE001  (whoever reads it is told what is wrong)
                return [_never()]

    return list(await asyncio.gather(*map(one, paths)))


async def _info(fs: Any, path: str) -> Stamp:
    """What a file system says of an object."""
    try:
        info = await fs._info(path)  # noqa: SLF001  (how fsspec calls what is async)
    except (FileNotFoundError, NotADirectoryError):
        return None
    names = ("ETag", "etag", "generation", "md5", "mtime", "LastModified", "last_modified", "created")
    said = [f"{name}={info[name]}" for name in names if info.get(name)]
    return [info.get("size"), *(said or [_never()])]


async def _head(fs: Any, url: str) -> Stamp:
    """What a web server says of an object, without sending it."""
    session = await fs.set_session()
    async with session.head(fs.encode_url(url), allow_redirects=True, **fs.kwargs) as answer:
        headers, status = answer.headers, answer.status
    if status in (404, 410):
        return None
    size, etag, changed = (headers.get(name) for name in ("Content-Length", "ETag", "Last-Modified"))
    if status >= 400 or not (etag or (changed and _settled(changed, headers.get("Date")))):
        return [size, _never()]
    return [size, etag or changed]


def _settled(changed: str, now: str | None) -> bool:
    """Whether a time of change lies so far back that another change would have another."""
    try:
        asked = parsedate_to_datetime(now).timestamp() if now else time.time()
        return asked - parsedate_to_datetime(changed).timestamp() > SETTLED
    except (ValueError, TypeError):
        return False


def _never() -> str:
    """What never tells that an object is as it was: it has to be read."""
    return uuid.uuid4().hex


def count(store: Any, root: str, keys: Iterator[str], total: int) -> int | None:
    """How many of an array's `total` objects are there; `None` where that would be too many to ask for."""
    fs = getattr(store, "fs", None)
    if fs is not None and "http" in fs.protocol:
        return None if total > MOST_ASKED else sum(one is not None for one in stamps(store, list(keys)))
    if hasattr(store, "root"):
        # Folder by folder: there may be millions, and no more than one folder's names are held.
        return sum(_there(store.root, *one) for one in groupby(keys, key=lambda key: key.rpartition("/")[0]))
    if fs is not None and total > MOST_LISTED:
        return None
    from zarr.core.sync import sync  # noqa: PLC0415

    async def listed() -> set[str]:
        return {name async for name in store.list_prefix(root)}

    names = sync(listed())
    return sum(key in names for key in keys)


def _there(root: Path, folder: str, keys: Iterator[str]) -> int:
    """How many of some objects in one folder are there."""
    try:
        names = set(os.listdir(f"{root}/{folder}"))  # noqa: PTH208  (as text, for each folder of chunks)
    except (FileNotFoundError, NotADirectoryError):
        return 0
    return sum(key.rpartition("/")[2] in names for key in keys)

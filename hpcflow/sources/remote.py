"""Small files listed by URL, as one array: what is in each, side by side."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

from hpcflow.digests import digest_json
from hpcflow.errors import BadItem, Mismatch
from hpcflow.ingest.items import Item
from hpcflow.ingest.urls import extension, is_url, shown
from hpcflow.meta import Bad, Meta
from hpcflow.namespace import Array
from hpcflow.parameters import PositiveInt
from hpcflow.regions import Region, Shape, shape_of
from hpcflow.registry import source
from hpcflow.sources._flat import numbers
from hpcflow.sources._remote import AHEAD, Fetch, Fetching, fetching, listed
from hpcflow.sources.images import SUFFIXES, Photos, images

Content = Literal["auto", "photos", "npy", "counts"]
MOST_COUNTED = 2**20
"""Bytes of a file that are counted at a time."""


@dataclass(frozen=True)
class Files:
    """Files of one kind, each an array of one shape, one after another along the first axis."""

    path: str
    listed: tuple[Item, ...]
    meta: Meta
    content: str
    how: Fetching

    @property
    def items(self) -> tuple[str, ...]:
        """The URL of each file, without what grants access."""
        return tuple(shown(item.url) for item in self.listed)

    @property
    def chunks(self) -> Shape:
        """One file."""
        return (1, *self.meta.shape[1:])

    @property
    def identity(self) -> dict[str, Any]:
        """Which files, and what is taken from them."""
        files = digest_json([(name, item.sha256) for name, item in zip(self.items, self.listed, strict=True)])
        return {"path": self.path, "files": files, "content": self.content}

    def state(self, region: Region) -> str:
        """What tells that the files in `region` are what they were."""
        first, last = region[0]
        self.how.ahead(self.listed[last : last + max(last - first, AHEAD)])
        hashes = [got.sha256 for got in self.how.got(self.listed[first:last])]
        return digest_json([self.content, self.items[first:last], hashes])

    def read(self, region: Region) -> Array:
        """The files in `region`; raises `BadItem` for the first that cannot be read."""
        array, _ = self._read(region, keep_going=False)
        return array

    def read_items(self, region: Region) -> tuple[Array, list[Bad]]:
        """The files in `region`, zeros for those that cannot be read, and which those are."""
        return self._read(region, keep_going=True)

    def _read(self, region: Region, *, keep_going: bool) -> tuple[Array, list[Bad]]:
        (first, last), *window = region
        out = np.zeros(shape_of(region), self.meta.dtype)
        part = tuple(slice(a, b) for a, b in window)
        wanted = self.listed[first:last]
        coming = self.how.got(wanted)
        self.how.ahead(self.listed[last : last + max(last - first, AHEAD)])
        bad = []
        for index, item, got in zip(range(first, last), wanted, coming, strict=True):
            use = READERS[self.content]
            try:
                out[index - first] = self.how.read(item, got, partial(use, item=item, meta=self.meta))[part]
            except BadItem as error:
                if not keep_going:
                    raise
                bad.append(Bad("", index, error.item, error.reason))
        return out, bad


def _counts(path: Path, item: Item, meta: Meta) -> Array:  # noqa: ARG001  (every file has these counts)
    counts = np.zeros(256, np.int64)
    with path.open("rb") as file:
        while piece := file.read(MOST_COUNTED):
            counts += np.bincount(np.frombuffer(piece, np.uint8), minlength=256)
    return counts


def _npy(path: Path, item: Item, meta: Meta) -> Array:
    array = _load(path, item)
    if array.shape != meta.shape[1:] or array.dtype.newbyteorder("=") != meta.dtype:
        expected = f"expected shape {meta.shape[1:]} of {meta.dtype}"
        raise BadItem(shown(item.url), f"{expected} like the first file, found {array.shape} of {array.dtype}")
    return array


def _load(path: Path, item: Item) -> Array:
    try:
        return np.lib.format.read_array(io.BytesIO(path.read_bytes()), allow_pickle=False)
    except (ValueError, TypeError, OverflowError, SyntaxError, EOFError) as error:
        reason = (str(error).splitlines() or [""])[0].rstrip(".")
        raise BadItem(shown(item.url), f"no `.npy` file of numbers: {reason}") from None


READERS: dict[str, Callable[..., Array]] = {"counts": _counts, "npy": _npy}


@source
def remote(
    *,
    path: str,
    content: Content = "auto",
    size: PositiveInt = 224,
    fetch: Fetch = None,
    storage_options: dict[str, Any] | None = None,
) -> Files | Photos:
    """Small files from a list, a bucket or a server, fetched as they are needed, once each.

    They are fetched while others are computed with, many at once, through a cache that later runs
    share. A file that cannot be had, or that is not what it should be, is reported by its URL
    and can be quarantined.

    Parameters
    ----------
    path : str
        A list (a text file with one URL per line; a CSV or Parquet file with a column `url` and,
        if there, `id` and `sha256`), the URL of such a list, a pattern or folder on an object
        store (`s3://bucket/run7/*.npy`), or one URL.
    content : str
        What comes of each file. ``photos``: its pixels, as `images` gives them, with the axes
        ``(photo, y, x, channel)``. ``npy``: its array, all of one shape, with `file` as the
        first axis. ``counts``: how often it holds each of the 256 bytes, as integers with the axes
        ``(file, byte)``; their sum is its size. ``auto`` goes by what most names end in.
    size : int
        For photos: what is cropped from the middle, in pixels. `images` can be told more.
    fetch : mapping
        How URLs are fetched: `concurrency` (requests at once), `per_host` (to one host, over all
        workers), `timeout` (seconds for a try), `retries`, `max_bytes`, `allow_private`, `cache`
        (a folder), `cache_size`, `headers`.
    storage_options : mapping
        For fsspec, where URLs are of an object store: `{anon: true}`, `{key: "${env:KEY}"}`.

    Examples
    --------
    texts: {from: remote, path: "https://example.org/books.csv", content: counts}
    """
    how = fetching(fetch, storage_options)
    found = listed(path, how, bool)
    if not found:
        raise Mismatch(f"expected files in `{shown(path) if is_url(path) else path}`, found none", parameter="path")
    if not any(is_url(item.url) for item in found):
        local = shown(found[0].url)
        raise Mismatch(f"expected URLs, found `{local}`", parameter="path", hint="for local photos use `from: images`")
    kind = _kind(found) if content == "auto" else content
    if kind == "photos":
        return images(path=path, size=size, fetch=fetch, storage_options=storage_options)
    meta = Meta((len(found), 256), np.dtype("int64"), ("file", "byte"), items="items")
    if kind == "npy":
        meta = _first(found, how)
    return Files(shown(path) if is_url(path) else path, tuple(found), meta, kind, how)


def _kind(found: list[Item]) -> str:
    endings = Counter("photos" if one in SUFFIXES else one for one in (extension(item.url) for item in found))
    most = endings.most_common(1)[0][0]
    return {"photos": "photos", ".npy": "npy"}.get(most, "counts")


def _first(found: list[Item], how: Fetching) -> Meta:
    """Shape and dtype of the first file that can be had, for all of them."""
    reason = ""
    for item in found[:AHEAD]:
        (got,) = how.got([item])
        try:
            array = how.read(item, got, partial(_load, item=item))
        except BadItem as error:
            reason = reason or f"{error.item}: {error.reason}"
            continue
        numbers(array.dtype, "path")
        dims = ("file", *(None for _ in array.shape))
        return Meta((len(found), *array.shape), array.dtype.newbyteorder("="), dims, items="items")
    raise Mismatch(f"expected a `.npy` file among the first, found none: {reason}", parameter="path")

"""Photos of any size and format as one array of pixels."""

from __future__ import annotations

import errno
import glob
import os
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from functools import partial
from itertools import compress
from operator import not_
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from hpcflow.digests import digest_json
from hpcflow.errors import BadItem, Mismatch
from hpcflow.files import regular_file
from hpcflow.ingest.items import Item
from hpcflow.ingest.lists import is_list
from hpcflow.ingest.urls import is_url, shown
from hpcflow.kernels.resample import MANY
from hpcflow.meta import Bad, Meta
from hpcflow.namespace import Array
from hpcflow.parameters import PositiveInt
from hpcflow.regions import Region, Shape, shape_of
from hpcflow.registry import source
from hpcflow.sources._decode import HEAD, MAX_PIXELS, NAMED, Fit, decode, is_picture, look, several
from hpcflow.sources._remote import AHEAD, Fetch, Fetching, fetching, listed
from hpcflow.sources._stamps import stamp

MANIFEST = "manifest.parquet"
"""What `hpcflow fetch` leaves beside the photos."""
DEEP = (".png", ".tif", ".tiff")
"""Of photos that may hold 16 bits, and pages."""
LOOKED = 100
"""How many of them are looked into before a run."""
SUFFIXES = (".jpg", ".jpeg", ".jfif", ".png", ".tif", ".tiff", ".webp", ".bmp", ".gif", ".avif")
"""Of files that are taken for photos by name; others are looked into."""


@dataclass(frozen=True)
class Photos:
    """Photo files, decoded one by one as they are read."""

    root: str
    """An absolute path; what `items` are relative to."""
    items: tuple[str, ...]
    """The path of each photo, as messages and tables show it."""
    stamp: str
    """A digest of every file's name, size and time of last change."""
    fit: Fit
    notes: tuple[str, ...] = field(default=(), compare=False)
    """What a user is told."""
    urls: tuple[Item | None, ...] = ()
    """For each photo, what is fetched; `None` for a local one. Empty where all are local."""
    how: Fetching | None = None

    @property
    def meta(self) -> Meta:
        """Photos along the first axis, then rows, columns and (for `rgb`) channels."""
        shape = (len(self.items), *self._frame)
        # The node's name is not known here: whoever gives the source its name fills it in.
        return Meta(shape, np.dtype("uint8"), ("photo", "y", "x", "channel")[: len(shape)], items="items")

    @property
    def _frame(self) -> Shape:
        depth = (3,) if self.fit.channels == "rgb" else ()
        return (self.fit.height, self.fit.width, *depth)

    @property
    def decoding(self) -> int:
        """Bytes that decoding takes beyond what every photo is allowed: for one of `max_pixels`, as Pillow holds it."""
        return 8 * max(0, self.fit.most - MAX_PIXELS)

    @property
    def chunks(self) -> Shape:
        """One photo."""
        return (1, *self._frame)

    @property
    def identity(self) -> dict[str, Any]:
        """Which files, when they last changed, and how they are brought to one shape."""
        return {"path": self.root, "photos": self.stamp, "fit": asdict(self.fit)}

    def state(self, region: Region) -> str:
        """What tells that the photos in `region` are the same files as before."""
        first, last = region[0]
        stamps: list[Any] = list(_stamps(self.root, self.items[first:last], self.urls[first:last]))
        if self.how is not None:
            self._fetch_ahead(last, last - first)
            wanted = {index: url for index in range(first, last) if (url := self.urls[index])}
            for index, got in zip(wanted, self.how.got(list(wanted.values())), strict=True):
                stamps[index - first] = (self.items[index], got.sha256)
        return digest_json([stamps, asdict(self.fit)])

    def _fetch_ahead(self, first: int, count: int) -> None:
        """Have the photos fetched that the next block is likely to need."""
        assert self.how is not None
        self.how.ahead([url for url in self.urls[first : first + max(count, AHEAD)] if url is not None])

    def read(self, region: Region) -> Array:
        """The pixels in `region`; raises `BadItem` for the first photo that cannot be read."""
        array, bad = self._read(region, keep_going=False)
        assert not bad
        return array

    def read_items(self, region: Region) -> tuple[Array, list[Bad]]:
        """The pixels in `region`, zeros for photos that cannot be read, and which those are."""
        return self._read(region, keep_going=True)

    def _read(self, region: Region, *, keep_going: bool) -> tuple[Array, list[Bad]]:
        (first, last), *window = region
        out = np.zeros(shape_of(region), np.uint8)
        part = tuple(slice(a, b) for a, b in window)
        bad = []
        compiled = len(self.items) >= MANY
        for index, fetched in self._bodies(first, last):
            item = self.items[index]
            try:
                out[index - first] = fetched(partial(decode, item=item, fit=self.fit, compiled=compiled))[part]
            except BadItem as error:
                if not keep_going:
                    raise
                bad.append(Bad("", index, error.item, error.reason))
        return out, bad

    def _bodies(self, first: int, last: int) -> Iterator[tuple[int, Callable[[Callable[[Path], Array]], Array]]]:
        """For each photo, what uses its file: the next ones come while this one is decoded."""
        urls = [url for url in self.urls[first:last] if url is not None]
        if self.how is None or not urls:
            for index in range(first, last):
                yield index, partial(_local, Path(self.root, self.items[index]))
            return
        coming = self.how.got(urls)
        self._fetch_ahead(last, last - first)
        for index in range(first, last):
            url = self.urls[index]
            if url is None:
                yield index, partial(_local, Path(self.root, self.items[index]))
            else:
                yield index, partial(self.how.read, url, next(coming))


def _local(path: Path, use: Callable[[Path], Array]) -> Array:
    return use(path)


@source(packages=("PIL.Image", "simplejpeg"), base=4 * 2**20)
def images(
    *,
    path: str,
    size: PositiveInt | Annotated[list[PositiveInt], Field(min_length=2, max_length=2)] = 224,
    resize: PositiveInt | None = None,
    interpolation: Literal["bilinear", "bicubic", "nearest"] = "bilinear",
    channels: Literal["rgb", "grey"] = "rgb",
    reduce: bool = False,
    max_pixels: PositiveInt | None = None,
    fetch: Fetch = None,
    storage_options: dict[str, Any] | None = None,
) -> Photos:
    """Photos (JPEG, PNG, TIFF, WebP, BMP, GIF, AVIF) of any size, brought to one shape.

    Each photo is turned upright (EXIF), its shorter side is resized to `resize` and its middle is
    cropped to `size`, as torchvision's reference transform does. The result has the axes
    ``(photo, y, x, channel)`` and values from 0 to 255; transparency is dropped and 16 bits are
    scaled to 8. A photo that cannot be decoded, or a file of several pages or frames, is reported by name and
    can be quarantined.

    Parameters
    ----------
    path : str
        A folder (the photos in it and in its subfolders, by name), a pattern such as
        ``photos/**/*.jpg`` (``**`` stands for any subfolders), or a list: a text file ending in
        ``.txt`` with one path or URL per line, paths relative to that file; or a CSV or Parquet
        file with a column `url` (and, if there, `id` and `sha256`). From a folder or a pattern,
        photos are taken, whatever they are called, and hidden files are left out; what else is left out is
        counted and said. From a list, every line is taken that is neither empty nor begins with ``#``.
        All of these may be URLs (`https://…/list.csv`, `s3://bucket/photos/*.jpg`), and so may a single photo.
    size : int or [height, width]
        What is cropped from the middle, in pixels; padded with zeros where a photo is smaller.
    resize : int
        Length of the shorter side before cropping; by default 256/224 of the larger `size`.
    interpolation : str
        How pixels are resampled.
    channels : str
        ``rgb``, or ``grey`` for one value per pixel and axes ``(photo, y, x)``.
    reduce : bool
        Whether a JPEG may be decoded at 1/2, 1/4 or 1/8 of its size where that is still at
        least 1.5 times what is needed: sooner done for photos of many megapixels, with differences
        of a few grey levels, which change the label of a photo that a network is not sure about.
        Never done with `interpolation: nearest`.
    max_pixels : int
        The most pixels that a photo may decode to, 89,478,485 by default; a larger one is set apart.
        The plan counts the memory that a larger limit takes.
    fetch : mapping
        How URLs are fetched: `concurrency` (requests at once), `per_host` (to one host, over all
        workers), `timeout` (seconds for a try), `retries`, `max_bytes`, `allow_private`, `cache`
        (a folder), `cache_size`, `headers`.
    storage_options : mapping
        For fsspec, where URLs are of an object store: `{anon: true}`, `{key: "${env:KEY}"}`.

    Examples
    --------
    photos: {from: images, path: data/photos, size: 224}
    """
    height, width = size if isinstance(size, list) else (size, size)
    short = resize or round(max(height, width) * 256 / 224)
    how = fetching(fetch, storage_options)
    items, urls, notes = _found(path, how)
    if not items:
        raise Mismatch(
            f"expected photos in `{path}`, found none",
            parameter="path",
            hint=f"photos are {NAMED} files",
        )
    if not urls:
        notes += _looked_into(items)
    fit = Fit(height, width, short, interpolation, channels, reduce, max_pixels)
    root = str(Path.cwd())
    stamp = digest_json(_stamps(root, items, urls))
    return Photos(root, items, stamp, fit, notes, urls, how if urls else None)


def _found(path: str, how: Fetching) -> tuple[tuple[str, ...], tuple[Item | None, ...], tuple[str, ...]]:
    """The photos that a path stands for, what is fetched of them, and what a user is told."""
    if not is_url(path) and (Path(path).is_dir() or not is_list(path)):
        items, left = _local_photos(path)
        left = tuple(one for one in left if Path(one).name != MANIFEST)
        some = ", ".join(f"`{Path(one).name}`" for one in left[:3]) + ", …" * (len(left) > 3)
        many = "a file that is none and is" if len(left) == 1 else f"{len(left)} files that are none and are"
        return items, (), (f"expected photos alone, found {many} left out: {some}",) if left else ()
    found = listed(path, how, _is_named)
    urls = tuple(one if is_url(one.url) else None for one in found)
    return tuple(shown(one.url) if is_url(one.url) else one.url for one in found), urls if any(urls) else (), ()


def _local_photos(path: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The photos in a folder, or that match a pattern, and what is there beside them."""
    if Path(path).is_dir():
        found = sorted(_inside(path, set()))
    else:
        # A name with brackets in it is a file before it is a pattern.
        found = [path] if Path(path).is_file() else glob.glob(path, recursive=True)  # noqa: PTH207 (takes `/` too)
        if not found:
            raise FileNotFoundError(errno.ENOENT, "no such file or folder, and no file matches it", path)
        found = sorted(one for one in found if not (Path(one).name.startswith(".") or Path(one).is_dir()))
    photos = [_is_named(one) or _is_picture(one) for one in found]
    return tuple(compress(found, photos)), tuple(compress(found, map(not_, photos)))


def _inside(folder: str, seen: set[tuple[int, int]]) -> Iterator[str]:
    """The files in a folder and in its subfolders, hidden ones left out, each folder once."""
    status = os.stat(folder)  # noqa: PTH116
    if (status.st_dev, status.st_ino) in seen:
        return
    seen.add((status.st_dev, status.st_ino))
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            inner = str(Path(folder, entry.name))
            try:
                yield from _inside(inner, seen) if os.path.isdir(inner) else [inner]  # noqa: PTH112  (never raises)
            except OSError:  # a folder that may not be entered
                yield inner


def _is_named(path: str) -> bool:
    name = Path(path).name
    return name.lower().endswith(SUFFIXES) and not name.startswith(".")


def _is_picture(path: str) -> bool:
    try:
        with open(path, "rb", opener=regular_file) as file:
            return is_picture(file.read(HEAD))
    except (OSError, Mismatch):
        return False


def _looked_into(items: tuple[str, ...]) -> tuple[str, ...]:
    """What is said of local photos before any is read; a single file of several pictures is refused."""
    deep = [item for item in items if item.lower().endswith(DEEP)]
    looked = [look(item) for item in (items if len(items) == 1 else deep[:LOOKED])]
    if len(items) == 1 and looked[0][0] > 1:
        raise Mismatch(f"expected a photo, found {several(looked[0][0])}", parameter="path")
    count = sum(bits > 8 for _, bits in looked)
    of = f" of the first {LOOKED}" if len(deep) > LOOKED else ""
    return (f"expected 8 bits a channel, found 16 in {count}{of} of the photos: they are scaled to 8",) * (count > 0)


def _stamps(root: str, items: tuple[str, ...], urls: tuple[Item | None, ...]) -> list[tuple[str, int | str, int, int]]:
    stamps: list[tuple[str, int | str, int, int]] = []
    for i, item in enumerate(items):
        url = urls[i] if urls else None
        if url is not None:
            stamps.append((item, url.sha256 or "", 0, 0))
            continue
        try:
            stamps.append((item, *stamp(str(Path(root, item)))))
        except (OSError, ValueError):  # it will be a bad item
            stamps.append((item, -1, -1, -1))
    return stamps

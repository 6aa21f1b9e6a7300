"""Photos of any size and format as one array of pixels."""

from __future__ import annotations

import errno
import glob
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from hpcflow.digests import digest_json
from hpcflow.errors import BadItem, Mismatch
from hpcflow.meta import Bad, Meta
from hpcflow.namespace import Array
from hpcflow.parameters import PositiveInt
from hpcflow.regions import Region, Shape, shape_of
from hpcflow.registry import source
from hpcflow.sources._decode import Fit, decode

SUFFIXES = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".webp")


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
        return digest_json([_stamps(self.root, self.items[first:last]), asdict(self.fit)])

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
        for index in range(first, last):
            item = self.items[index]
            try:
                out[index - first] = decode(Path(self.root, item), item, self.fit)[part]
            except BadItem as error:
                if not keep_going:
                    raise
                bad.append(Bad("", index, error.item, error.reason))
        return out, bad


@source
def images(
    *,
    path: str,
    size: PositiveInt | Annotated[list[PositiveInt], Field(min_length=2, max_length=2)] = 224,
    resize: PositiveInt | None = None,
    interpolation: Literal["bilinear", "bicubic", "nearest"] = "bilinear",
    channels: Literal["rgb", "grey"] = "rgb",
    reduce: bool = True,
) -> Photos:
    """Photos (JPEG, PNG, TIFF, WebP) of any size, brought to one shape.

    Each photo is turned upright (EXIF), its shorter side is resized to `resize` and its middle is
    cropped to `size`, as torchvision's reference transform does. The result has the axes
    ``(photo, y, x, channel)`` and values from 0 to 255; transparency is dropped and 16 bits are
    scaled to 8. A photo that cannot be decoded is reported by name and can be quarantined.

    Parameters
    ----------
    path : str
        A folder (the photos in it, by name, not those in its subfolders), a pattern such as
        ``photos/**/*.jpg`` (``**`` stands for any subfolders), or a text file ending in ``.txt``
        with one path per line, relative to that file. From a folder or a pattern, files ending
        in jpg, jpeg, png, tif, tiff or webp are taken and hidden ones are left out; from a list,
        every line that is neither empty nor begins with ``#``.
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
        least 1.5 times what is needed: about twice as fast, with differences of a few grey levels.
        Never done with `interpolation: nearest`.

    Examples
    --------
    photos: {from: images, path: data/photos, size: 224}
    """
    height, width = size if isinstance(size, list) else (size, size)
    short = resize or round(max(height, width) * 256 / 224)
    items = _found(path)
    if not items:
        raise Mismatch(
            f"expected photos in `{path}`, found none",
            parameter="path",
            hint=f"photos are files ending in {', '.join(SUFFIXES)}",
        )
    fit = Fit(height, width, short, interpolation, channels, reduce)
    root = str(Path.cwd())
    return Photos(root, items, digest_json(_stamps(root, items)), fit)


def _found(path: str) -> tuple[str, ...]:
    if Path(path).is_dir():
        with os.scandir(path) as entries:
            names = [entry.name for entry in entries if _is_photo(entry.name) and not entry.is_dir()]
        return tuple(str(Path(path, name)) for name in sorted(names))
    if path.lower().endswith(".txt"):
        text = Path(path).read_text(encoding="utf-8-sig", errors="surrogateescape")
        lines = [line.strip() for line in text.splitlines()]
        return tuple(str(Path(path).parent / line) for line in lines if line and not line.startswith("#"))
    # A name with brackets in it is a file before it is a pattern.
    matches = [path] if Path(path).is_file() else glob.glob(path, recursive=True)  # noqa: PTH207 (takes `/` too)
    if not matches:
        raise FileNotFoundError(errno.ENOENT, "no such file or folder, and no file matches it", path)
    return tuple(sorted(one for one in matches if _is_photo(one) and not Path(one).is_dir()))


def _is_photo(path: str) -> bool:
    name = Path(path).name
    return name.lower().endswith(SUFFIXES) and not name.startswith(".")


def _stamps(root: str, items: tuple[str, ...]) -> list[tuple[str, int, int]]:
    stamps = []
    for item in items:
        try:
            status = Path(root, item).stat()
        except (OSError, ValueError):  # it will be a bad item
            stamps.append((item, -1, -1))
        else:
            stamps.append((item, status.st_size, status.st_mtime_ns))
    return stamps

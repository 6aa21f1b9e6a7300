"""A picture's worth of an array of any size: one plane of it, thinned out.

What is stored in chunks is decoded in whole chunks, so the number of chunks is what must be
bounded. Where a plane has more than that, evenly spaced ones stand for those between them, or
those in its middle are shown alone.
`hpcflow view` and the page of a run look at arrays in this way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from math import prod
from typing import Any, Protocol

import numpy as np

from hpcflow.errors import Mismatch
from hpcflow.meta import Meta, let_go
from hpcflow.namespace import Array
from hpcflow.regions import Region, Shape
from hpcflow.sizes import show_size

DECODED = 512 * 2**20
"""Bytes that are decoded for one picture, where nobody says."""
NARROW = 16
"""Elements that are taken along the shorter axis of a very long plane, if there are so many."""
LARGEST = 2 * 2**30
"""Bytes of one chunk: it is held whole while it is decoded."""


class Readable(Protocol):
    """What a sample is taken of: a source, or an array that is opened."""

    @property
    def meta(self) -> Meta:
        """Shape, dtype and dims."""

    @property
    def chunks(self) -> Shape | None:
        """Storage chunks that are decoded whole; `None` where any region can be read directly."""

    def read(self, region: Region) -> Array:
        """The elements in `region`."""


@dataclass(frozen=True)
class Opened:
    """An array that is open already: one of Zarr, or a mapped file."""

    array: Any
    meta: Meta
    chunks: Shape | None

    def read(self, region: Region) -> Array:
        """The elements in `region`."""
        read = self.array[tuple(slice(a, b) for a, b in region)]
        return read if isinstance(read, np.memmap) else np.asarray(read)


@dataclass(frozen=True)
class Sample:
    """Some elements of an array that together look like it."""

    picture: Array
    """``(y, x)``, or ``(y, x, channel)`` with three or four channels."""
    index: tuple[int, ...]
    """Where the plane lies along the axes before it."""
    chunks: tuple[int, int]
    """How many chunks were read, of how many that the plane has."""

    @property
    def values(self) -> Array:
        """The finite numbers in it, as float64; of complex ones the magnitudes."""
        real = np.abs(self.picture) if self.picture.dtype.kind == "c" else self.picture
        flat = np.asarray(real, np.float64).ravel()
        return flat[np.isfinite(flat)]


def pixels(picture: Array) -> Array:
    """A sample's picture as colours, ``(y, x, 3)`` bytes.

    They go from black to white between the least value and the greatest, but for half a percent
    of them at either end. Bytes with colours are taken as they are.
    """
    if picture.ndim == 3 and picture.dtype == np.uint8:
        return picture[..., :3]
    real = np.asarray(np.abs(picture) if picture.dtype.kind == "c" else picture, np.float64)
    finite = real[np.isfinite(real)]
    low, high = np.percentile(finite, (0.5, 99.5)) if finite.size else (0.0, 1.0)
    if low == high and finite.size:  # what there is beside it is rare, as in a mask
        low, high = finite.min(), finite.max()
    with np.errstate(over="ignore", invalid="ignore"):
        shares = np.nan_to_num((real - low) / ((high - low) or 1.0), nan=0.0)
    grey = np.rint(np.clip(shares, 0, 1) * 255).astype(np.uint8)
    return grey[..., :3] if grey.ndim == 3 else np.repeat(grey[..., None], 3, axis=2)


def channels(meta: Meta) -> int:
    """How many colours the last axis holds; 0 where it is an axis like the others."""
    named = meta.ndim >= 3 and meta.dims[-1] in ("c", "channel", "band")
    colours = meta.ndim >= 3 and meta.shape[-1] in (3, 4) and (named or meta.dtype == np.uint8)
    return meta.shape[-1] if colours else 0


def sample(
    source: Readable,
    side: int,
    index: Sequence[int] | None = None,
    *,
    decoded: int | None = None,
    spread: bool = True,
) -> Sample:
    """Read a plane of an array, thinned out to at most `side` elements each way.

    Parameters
    ----------
    source : Source, or Opened
    side : int
    index : sequence of int, optional
        Where the plane lies along the axes before the last two (or three, where the last one
        holds colours); in the middle of each where left out. Negative ones count from the end.
    decoded : int, optional
        Bytes that are decoded at most, but one chunk in any case; `DECODED` where left out.
    spread : bool
        Whether, of a plane with more chunks than that, those are read that lie evenly over all of
        it; else the ones in its middle, so that what is side by side in the picture is so there.

    Raises
    ------
    Mismatch
        Where `index` lies outside, or a chunk is too large to be decoded.
    """
    meta = source.meta
    colours = channels(meta)
    lead = max(meta.ndim - 2 - bool(colours), 0)
    at = _placed(meta, lead, index)
    rest: Region = tuple((i, i + 1) for i in at)
    plane = meta.shape[lead : lead + 2]
    if meta.size == 0:
        return Sample(np.empty((0, 0), meta.dtype), at, (0, 0))
    if meta.ndim == 0:
        return Sample(np.asarray(source.read(())).reshape(1, 1), at, (1, 1))
    # A flat file is read row by row: then a page is asked for once, and no more than a row is held.
    unit = source.chunks[lead : lead + 2] if source.chunks is not None else (1, plane[-1])[-len(plane) :]
    each = prod(source.chunks or unit) * meta.dtype.itemsize
    if source.chunks is not None and each > LARGEST:
        raise Mismatch(f"expected chunks of at most {show_size(LARGEST)} to look at, found {show_size(each)} each")
    counts = [-(-n // u) for n, u in zip(plane, unit, strict=True)]
    most = _shared(counts, max((decoded or DECODED) // max(each, 1), 1)) if source.chunks is not None else counts
    seen = plane if spread else [min(n, u * m) for n, u, m in zip(plane, unit, most, strict=True)]
    picks = [picked(n, s, u, m, spread=spread) for n, s, u, m in zip(plane, sides(seen, side), unit, most, strict=True)]
    if len(picks) == 1:
        picks.insert(0, [np.zeros(1, int)])
    rows = []
    for ys in picks[0]:
        parts = [_part(source, rest, (ys, xs)[-len(plane) :], colours) for xs in picks[1]]
        rows.append(np.concatenate(parts, axis=1))
    return Sample(np.concatenate(rows, axis=0), at, (len(picks[0]) * len(picks[1]), prod(counts)))


def sides(plane: Sequence[int], side: int) -> list[int]:
    """How many elements to take along each axis, so that the picture has the plane's shape, but for very long ones."""
    longest = max(plane)
    return [min(n, side, max(NARROW, round(n * side / longest))) for n in plane]


def _placed(meta: Meta, lead: int, index: Sequence[int] | None) -> tuple[int, ...]:
    if index is None:
        return tuple(n // 2 for n in meta.shape[:lead])
    if len(index) != lead:
        raise Mismatch(f"expected {lead} positions for {meta}, found {len(index)}", parameter="index")
    for name, i, n in zip(meta.dims, index, meta.shape, strict=False):
        if not -n <= i < n:
            raise Mismatch(
                f"expected a position from {-n} to {n - 1}{f' along `{name}`' if name else ''}, found {i}",
                parameter="index",
            )
    return tuple(i % n for i, n in zip(index, meta.shape, strict=False))


def _shared(counts: Sequence[int], most: int) -> list[int]:
    """How many chunks to read along each axis, so that they are `most` in all."""
    if prod(counts) <= most:
        return list(counts)
    if len(counts) == 1:
        return [most]
    first = max(1, min(counts[0], int((most * counts[0] / counts[1]) ** 0.5)))
    second = max(1, min(counts[1], most // first))
    return [max(1, min(counts[0], most // second)), second]


def picked(extent: int, most: int, unit: int, chunks: int, *, spread: bool = True) -> list[Array]:
    """Positions along an axis, evenly spaced and `most` at most, those of one chunk together.

    Parameters
    ----------
    extent, most : int
    unit : int
        The extent of a chunk.
    chunks : int
        How many of them may be touched.
    spread : bool
        Whether these lie evenly over the axis, where it has more; else in its middle.
    """
    count = -(-extent // unit)
    most = max(1, min(most, extent))
    if count <= chunks or not spread:
        start = max(count - chunks, 0) // 2 * unit
        length = min(chunks * unit, extent - start)
        # The middle of each of `most` equal parts.
        positions = start + (2 * np.arange(most) + 1) * length // (2 * most)
        return [np.array(list(group)) for _, group in groupby(np.unique(positions).tolist(), key=lambda i: i // unit)]
    chunks = min(chunks, most)
    inside = max(1, min(most // chunks, unit))
    starts = (2 * np.arange(chunks) + 1) * count // (2 * chunks) * unit
    return [np.unique(s + (2 * np.arange(inside) + 1) * min(unit, extent - s) // (2 * inside)) for s in starts.tolist()]


def _part(source: Readable, rest: Region, positions: Sequence[Array], colours: int) -> Array:
    """The elements at some positions of one chunk, as ``(y, x)`` or ``(y, x, channel)``."""
    region = (*rest, *((int(one[0]), int(one[-1]) + 1) for one in positions))
    if colours:
        region = (*region, (0, colours))
    read = source.read(region)
    block = np.asarray(read).reshape([b - a for a, b in region[len(rest) :]])
    block = block[np.ix_(*(one - one[0] for one in positions))]
    let_go(read)
    return block if len(positions) == 2 else block[None]

"""Rectangles of array elements: blocks, halos, clipping. Pure arithmetic.

A `Region` is one half-open interval ``(start, stop)`` per axis. A region may reach beyond
an array's ends, ``start < 0`` or ``stop > extent``: it then means the array continued
periodically, which is how `wrap` boundaries ask for the far side.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from math import prod
from typing import TypeVar

T = TypeVar("T")

Interval = tuple[int, int]
Region = tuple[Interval, ...]
Shape = tuple[int, ...]
Depth = tuple[Interval, ...]
"""How far an op reaches before and behind an element, per axis: ``((before, behind), …)``."""
PAGE = 64 * 2**10
"""Bytes: where one page of a file is touched, Linux maps those around it that it has in memory."""


def whole(shape: Sequence[int]) -> Region:
    """The region of every element of an array of this shape."""
    return tuple((0, n) for n in shape)


def shape_of(region: Region) -> Shape:
    """The shape of a block that holds this region."""
    return tuple(stop - start for start, stop in region)


def size_of(region: Region) -> int:
    """How many elements lie in the region."""
    return prod(stop - start for start, stop in region)


def grow(region: Region, depth: Depth) -> Region:
    """The region with a halo of `depth` around it."""
    return tuple((a - before, b + behind) for (a, b), (before, behind) in zip(region, depth, strict=True))


def clip(region: Region, shape: Sequence[int]) -> Region:
    """The part of the region that lies in an array of this shape."""
    return tuple((min(max(a, 0), n), max(min(b, n), 0)) for (a, b), n in zip(region, shape, strict=True))


def hull(first: Region, second: Region) -> Region:
    """The smallest region that holds both."""
    if first == second:
        return first
    return tuple((min(a, c), max(b, d)) for (a, b), (c, d) in zip(first, second, strict=True))


def contains(outer: Region, inner: Region) -> bool:
    """Whether every element of `inner` is in `outer`."""
    return all(a <= c and d <= b for (a, b), (c, d) in zip(outer, inner, strict=True))


def inside(region: Region, shape: Sequence[int]) -> bool:
    """Whether the region lies in an array of this shape."""
    return all(a >= 0 and b <= n for (a, b), n in zip(region, shape, strict=True))


def slices(region: Region, within: Region) -> tuple[slice, ...]:
    """Where `region` lies in a block that holds `within`."""
    return tuple(slice(a - o, b - o) for (a, b), (o, _) in zip(region, within, strict=True))


def grid(shape: Sequence[int], block: Sequence[int]) -> Shape:
    """How many blocks there are along each axis; the last ones may be smaller."""
    return tuple(-(-n // b) for n, b in zip(shape, block, strict=True))


def block_region(index: Sequence[int], shape: Sequence[int], block: Sequence[int]) -> Region:
    """The region of the block with this index in the grid."""
    return tuple((i * b, min((i + 1) * b, n)) for i, n, b in zip(index, shape, block, strict=True))


def tiles(region: Region, tile: Sequence[int]) -> Iterator[Region]:
    """Cut a region into tiles, in C order; together they cover it exactly once. An empty one is one tile."""
    if not region:
        yield ()
        return
    (start, stop), *others = region
    # One after the other: of a very large region the first may be all that is asked for.
    for a in range(start, max(stop, start + 1), max(tile[0], 1)):
        for rest in tiles(tuple(others), tile[1:]):
            yield ((a, min(a + tile[0], stop)), *rest)


def pieces(shape: Sequence[int], most: int) -> Iterator[Region]:
    """Regions of at most `most` elements that follow one another in C order and cover an array exactly once."""
    tile = list(shape)
    for axis in range(len(tile)):
        tile[axis] = max(1, min(tile[axis], most // max(1, prod(tile[axis + 1 :]))))
    yield from tiles(whole(shape), tile)


def unravel(number: int, counts: Sequence[int]) -> Shape:
    """The index, in C order, of the block with this number in a grid of `counts` blocks."""
    index = []
    for n in reversed(counts):
        number, i = divmod(number, n)
        index.append(i)
    return tuple(reversed(index))


def per_axis(value: T | Sequence[T], axes: Sequence[int], ndim: int, fill: T) -> tuple[T, ...]:
    """Spread a scalar, or one value for each of `axes`, over all `ndim` axes; `fill` elsewhere."""
    values: list[T] = list(value) if isinstance(value, (list, tuple)) else [value] * len(axes)  # type: ignore[list-item]
    spread = dict(zip(axes, values, strict=True))
    return tuple(spread.get(axis, fill) for axis in range(ndim))


def runs(region: Region, shape: Sequence[int]) -> Iterator[Interval]:
    """Where the region lies in the flattened array, in C order, as intervals that are as long as can be."""
    strides = [prod(shape[axis + 1 :]) for axis in range(len(shape))]
    # From the last axis that is cut on, everything behind is whole and so contiguous.
    cut = max((axis for axis, (n, one) in enumerate(zip(shape, region, strict=True)) if one != (0, n)), default=0)
    inner = region[cut : cut + 1]
    length = shape_of(inner)[0] * strides[cut] if inner else 1
    first = inner[0][0] * strides[cut] if inner else 0
    if length == 0:
        return
    for index in product(*(range(a, b) for a, b in region[:cut])):
        start = first + sum(i * s for i, s in zip(index, strides, strict=False))
        yield start, start + length


def runs_of(region: Region, shape: Sequence[int]) -> tuple[int, int]:
    """How many `runs` a region has, and how long each is."""
    cut = max((axis for axis, (n, one) in enumerate(zip(shape, region, strict=True)) if one != (0, n)), default=0)
    extents = shape_of(region)
    return prod(extents[:cut]), prod(extents[cut:])


def spanned(region: Region, strides: Sequence[int], itemsize: int) -> int:
    """Bytes of the pages that a region of an array in a file lies on.

    Parameters
    ----------
    region : Region
    strides : sequence of int
        In bytes, from one element to the next along each axis.
    itemsize : int
    """
    total = span = itemsize
    dense = True
    for stride, n in sorted(zip(strides, shape_of(region), strict=True)):
        if n == 0:
            return 0
        if dense and (n == 1 or stride - span <= PAGE):
            span += (n - 1) * stride
            total = span
        else:
            total = n * (total + PAGE * dense)
            dense = False
    return total

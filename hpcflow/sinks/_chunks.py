"""How large the chunks of an array are, where the flow does not say."""

from __future__ import annotations

from math import prod

from hpcflow.meta import Meta
from hpcflow.regions import Shape

TARGET = 4 << 20
"""Bytes in a chunk: large enough for one file and one call to be worth it, small enough for a cache."""
ITEMS = 64
"""The most items (photos) in a chunk: a block holds whole chunks, and an item may be large before it is reduced."""


def auto_chunks(meta: Meta) -> Shape:
    """Chunks of about 4 MiB, near to cubes; of whole items where items run along the first axis.

    An axis is cut into equal parts, so that no chunk at the end is much smaller than the rest.
    """
    most = max(1, TARGET // meta.dtype.itemsize)
    if meta.items and meta.ndim:
        inner = _cubes(meta.shape[1:], most)
        return (_even(meta.shape[0], min(ITEMS, max(1, most // prod(inner)))), *inner)
    return _cubes(meta.shape, most)


def _cubes(shape: Shape, most: int) -> Shape:
    """Sides that grow together by doubling, the last axis first, until `most` elements are reached."""
    sides = [1] * len(shape)
    while True:
        growing = [axis for axis, n in enumerate(shape) if sides[axis] < n]
        if not growing or 2 * prod(min(s, max(n, 1)) for s, n in zip(sides, shape, strict=True)) > most:
            break
        # Of the shortest sides the last: in C order its elements are neighbours.
        shortest = min(sides[axis] for axis in growing)
        sides[max(axis for axis in growing if sides[axis] == shortest)] *= 2
    return tuple(_even(n, side) for n, side in zip(shape, sides, strict=True))


def _even(extent: int, side: int) -> int:
    """The side that cuts an axis into equal parts, as many as `side` would."""
    return max(1, -(-extent // max(1, -(-extent // side))))


def divisor(shard: int, side: int) -> int:
    """The largest side up to `side` that cuts a shard into whole chunks."""
    return next(n for n in range(min(shard, side), 0, -1) if shard % n == 0)

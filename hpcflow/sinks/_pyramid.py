"""Half the size, again and again: what the levels of a pyramid are made of."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from itertools import product
from typing import Any, Literal

import numpy as np

from hpcflow.namespace import Array
from hpcflow.regions import Region, Shape

Method = Literal["mean", "nearest"]
ROWS = 2**18
"""Elements that are brought together at once: what is held beside the result stays small."""


def halved(extent: int, levels: int = 1) -> int:
    """The extent of an axis after some halvings; half an element counts as one."""
    return -(-extent >> levels)


def shrunk(region: Region, axes: Sequence[int], levels: int) -> Region:
    """The region of a level that is made of a region of level 0, whose starts are multiples of ``2**levels``."""
    return tuple((a >> levels, halved(b, levels)) if i in axes else (a, b) for i, (a, b) in enumerate(region))


def half(array: Array, axes: Sequence[int], method: Method) -> Array:
    """The next level: one element for each window of two along every one of `axes`.

    `mean` is the mean of the window's elements, of which the last one along an odd axis has
    fewer. Of integers it is rounded to the nearest, halves up, and exact; of booleans it is
    whether at least half of them are true. `nearest` is the window's first element.

    Parameters
    ----------
    array : (n, ...)
    axes : sequence of int
    method : str

    Returns
    -------
    array
        Of the same dtype; along each of `axes` half as long, rounded up.
    """
    shape = tuple(halved(n) if i in axes else n for i, n in enumerate(array.shape))
    if method == "nearest":
        return np.ascontiguousarray(array[tuple(slice(None, None, 2 if i in axes else 1) for i in range(array.ndim))])
    out = np.empty(shape, array.dtype)
    # Windows cut off by an odd end have fewer elements: along each axis the pairs, then the rest.
    parts = [_parts(n) if i in axes else [(slice(0, n), slice(0, n), 1)] for i, n in enumerate(array.shape)]
    for pieces in product(*parts):
        into = tuple(piece[0] for piece in pieces)
        source = array[tuple(piece[1] for piece in pieces)]
        _means(source, tuple(piece[2] for piece in pieces), out[into])
    return out


def _parts(extent: int) -> list[tuple[slice, slice, int]]:
    """Along an axis: where results lie, what they are made of, and of how many each."""
    pairs = extent // 2
    parts = [(slice(0, pairs), slice(0, 2 * pairs), 2)] if pairs else []
    return parts + ([(slice(pairs, pairs + 1), slice(extent - 1, extent), 1)] if extent % 2 else [])


def _means(array: Array, window: Shape, out: Array) -> None:
    """The means of windows of one or two elements along each axis, some rows at a time."""
    if out.size == 0:
        return
    rows = max(1, ROWS * len(out) // out.size)
    for start in range(0, len(out), rows):
        stop = min(start + rows, len(out))
        part = array[start * window[0] : stop * window[0]]
        corners = [part[tuple(slice(i, None, w) for i, w in zip(at, window, strict=True))] for at in _corners(window)]
        out[start:stop] = _mean(corners)


def _corners(window: Shape) -> list[Shape]:
    return list(product(*(range(w) for w in window)))


def _mean(corners: Sequence[Array]) -> Array:
    """The mean of 1, 2, 4, … arrays, element by element."""
    dtype, bits = corners[0].dtype, len(corners).bit_length() - 1
    if bits == 0:
        return corners[0]
    if dtype.kind in "fc":
        wide = np.result_type(dtype, np.float64)
        return (reduce(np.add, (one.astype(wide) for one in corners)) / len(corners)).astype(dtype)
    if dtype.kind == "b":
        return reduce(np.add, (one.astype(np.uint8) for one in corners)) >= len(corners) / 2
    if dtype.itemsize < 8:
        total: Any = reduce(np.add, (one.astype(np.int64) for one in corners))
        return ((total + len(corners) // 2) >> bits).astype(dtype)
    # A sum of 64-bit integers may have more bits: quotients and remainders are summed apart.
    remainder = reduce(np.add, (one & dtype.type(len(corners) - 1) for one in corners))
    quotient = reduce(np.add, (one >> dtype.type(bits) for one in corners))
    return quotient + ((remainder + dtype.type(len(corners) // 2)) >> dtype.type(bits))

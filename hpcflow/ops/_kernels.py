"""Kernels written out in a flow, and the geometry of correlating with one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import AfterValidator, Field

from hpcflow.errors import Mismatch
from hpcflow.expectations import Says
from hpcflow.kernels import fourier, planes
from hpcflow.meta import Meta
from hpcflow.namespace import Array, Namespace, companion
from hpcflow.ops import _wraps as wraps
from hpcflow.ops._windows import (
    boundaries,
    check_lengths,
    check_origins,
    filtered,
    halo,
    native,
    origins,
    planar,
    window,
)
from hpcflow.parameters import PositiveInt
from hpcflow.regions import Depth

NESTED = "a list of numbers, nested once for each axis"


def _rectangular(value: list[Any]) -> list[Any]:
    try:
        size = np.asarray(value, np.float64).size if _all_numbers(value) else 0
    except ValueError:
        size = 0
    if size == 0:
        raise ValueError(f"{NESTED}, with rows of one length")
    return value


def _all_numbers(value: Any) -> bool:
    return all(map(_all_numbers, value)) if isinstance(value, list) else isinstance(value, (int, float))


Kernel = Annotated[
    list[Any],
    AfterValidator(_rectangular),
    Field(json_schema_extra={"examples": [[[0, 1], [1, 0]]]}),
    Says(NESTED, "lists of numbers, nested once for each axis"),
]
"""An array written out: numbers in lists, nested once for each axis."""
SHAPES = {"square": 2, "cube": 3, "disk": 2, "ball": 3, "diamond": 2, "octahedron": 3}
"""Named footprints, and how many axes each has."""
Named = Annotated[
    dict[Literal["square", "cube", "disk", "ball", "diamond", "octahedron"], PositiveInt],
    Field(min_length=1, max_length=1),
]
Footprint = Annotated[
    Kernel | Named,
    Field(
        description="The window's shape: 1 for each element that belongs to it, in lists nested once for each of "
        "`axes` in increasing order; or by name as scikit-image's, `{disk: 2}` and so `ball`, `diamond` and "
        "`octahedron` by their radius, `{square: 5}` and `cube` by their side."
    ),
]


def shaped(name: str, length: int) -> Array:
    """A named footprint, as the function of this name in `skimage.morphology`."""
    ndim = SHAPES[name]
    if name in ("square", "cube"):
        return np.ones((length,) * ndim, np.bool_)
    away = np.abs(np.indices((2 * length + 1,) * ndim) - length)
    return away.sum(axis=0) <= length if name in ("diamond", "octahedron") else (away**2).sum(axis=0) <= length**2


def kernel(name: str, value: Any, axes: Sequence[int], ndim: int, dtype: Any = np.float64) -> Array:
    """A kernel as an array with `ndim` axes, of length 1 beside `axes`."""
    array = _array(value, np.dtype(dtype))
    if array.ndim != len(axes):
        hint = "say with `axes` which axes it lies along" if array.ndim < len(axes) else ""
        raise Mismatch(
            f"expected `{name}` nested {len(axes)} deep, once for each axis, found {array.ndim}",
            parameter=name,
            hint=hint,
        )
    if list(axes) != sorted(axes):
        # SciPy lays the kernel along the sorted axes, its origins along the unsorted ones.
        raise Mismatch(
            f"expected `axes` in increasing order, as the kernel's are, found {list(axes)}", parameter="axes"
        )
    return array[tuple(slice(None) if axis in axes else None for axis in range(ndim))]


_arrays: dict[tuple[int, str], tuple[Any, Array]] = {}
"""The kernels last used, with the lists they were made of: a list is then not read again for every tile."""


def _array(value: Any, dtype: np.dtype[Any]) -> Array:
    place = id(value), dtype.char
    known = _arrays.get(place)
    if known is None or known[0] is not value:
        known = value, np.asarray(shaped(*next(iter(value.items()))) if isinstance(value, dict) else value, dtype)
        known[1].flags.writeable = False
        if len(_arrays) >= 64:
            _arrays.clear()
        _arrays[place] = known
    return known[1]


def result(meta: Meta, *, weights: list[Any], cval: float, origin: Any, axes: tuple[int, ...]) -> Meta:
    """As the input; raises `Mismatch` for what does not fit."""
    check_lengths(axes, origin=origin)
    sizes = kernel("weights", weights, axes, meta.ndim).shape
    check_origins(meta, sizes, origins(origin, sizes, axes))
    return filtered(meta, cval)


def correlated(meta: Meta, *, weights: list[Any], mode: str, origin: Any, axes: tuple[int, ...]) -> Depth:
    """The kernel's reach along each axis, as far as the boundary mode needs."""
    sizes = kernel("weights", weights, axes, meta.ndim).shape
    windows = [window(n, o) for n, o in zip(sizes, origins(origin, sizes, axes), strict=True)]
    return halo(windows, boundaries(mode, axes, meta.ndim))


def convolved(meta: Meta, *, weights: list[Any], mode: str, origin: Any, axes: tuple[int, ...]) -> Depth:
    """The mirrored kernel's reach along each axis, as far as the boundary mode needs."""
    sizes = kernel("weights", weights, axes, meta.ndim).shape
    windows = [window(n, o)[::-1] for n, o in zip(sizes, origins(origin, sizes, axes), strict=True)]
    return halo(windows, boundaries(mode, axes, meta.ndim))


def doubts(meta: Meta, *, weights: list[Any]) -> Iterator[Mismatch]:
    """Sums of small or unsigned integers."""
    return wraps.weighted(meta.dtype, weights, "the sum of elements times `weights`")


def scratch(meta: Meta) -> float:
    """The input with its boundary laid around it and pieces of its transform, where the kernel is large."""
    return planar(meta) + 2.0


def weighted(
    x: Array, weights: list[Any], *, mode: str, cval: float, origin: Any, axes: Any, xp: Namespace, mirrored: bool
) -> Array:
    """Correlate, or convolve (`mirrored`), by the library and the way that cost least."""
    array = kernel("weights", weights, axes, x.ndim)
    shifts = origins(origin, array.shape, axes)
    # Spread over all axes, so that SciPy's call needs no `axes`, which not every release takes.
    mode = boundaries(mode, range(x.ndim), x.ndim)[0]
    if mirrored:
        array = np.flip(array)
        shifts = [-o - (n % 2 == 0) for o, n in zip(shifts, array.shape, strict=True)]
    x = native(x)
    for way in (planes.direct, fourier.correlate):
        found = way(x, array, mode=mode, cval=cval, origins=shifts, xp=xp)
        if found is not None:
            return found
    return companion(xp, "ndimage").correlate(x, xp.asarray(array), mode=mode, cval=cval, origin=shifts)

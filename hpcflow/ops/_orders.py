"""What minimum, maximum and median filters share."""

from __future__ import annotations

from math import isnan
from typing import Any

import numpy as np

from hpcflow.errors import Mismatch
from hpcflow.kernels import planes
from hpcflow.meta import Meta
from hpcflow.namespace import Array, Namespace, companion
from hpcflow.ops._kernels import kernel
from hpcflow.ops._windows import (
    boundaries,
    check_lengths,
    check_origins,
    filtered,
    halo,
    native,
    origins,
    spread,
    swapped,
    window,
)
from hpcflow.regions import Depth, Shape


def _window(ndim: int, size: Any, footprint: list[Any] | None, axes: tuple[int, ...]) -> tuple[Shape, Array | None]:
    """The window's length along every axis, and its mask unless it is full."""
    if footprint is None:
        return spread(size, axes, ndim, 1), None
    mask = kernel("footprint", footprint, axes, ndim, np.bool_)
    return mask.shape, None if mask.all() else mask


def result(
    meta: Meta, *, size: Any, footprint: list[Any] | None, mode: Any, cval: float, origin: Any, axes: tuple[int, ...]
) -> Meta:
    """As the input; raises `Mismatch` for what does not fit."""
    if (size is None) == (footprint is None):
        found = "neither" if size is None else "both"
        raise Mismatch(f"expected `size` or `footprint`, found {found}", parameter=None if size is None else "size")
    check_lengths(axes, size=size, mode=mode, origin=origin)
    sizes, mask = _window(meta.ndim, size, footprint, axes)
    if mask is not None and not mask.any():
        raise Mismatch("expected at least one element that is not 0", parameter="footprint")
    if mask is not None and isinstance(mode, list):
        raise Mismatch(f"expected one mode for all axes with a `footprint`, found {mode}", parameter="mode")
    check_origins(meta, sizes, origins(origin, sizes, axes))
    return filtered(meta, cval, boolean=True, imaginary=False)


def depth(
    meta: Meta, *, size: Any, footprint: list[Any] | None, mode: Any, origin: Any, axes: tuple[int, ...]
) -> Depth:
    """The window along each axis, as far as its boundary mode needs."""
    sizes, _ = _window(meta.ndim, size, footprint, axes)
    windows = [window(n, o) for n, o in zip(sizes, origins(origin, sizes, axes), strict=True)]
    return halo(windows, boundaries(mode, axes, meta.ndim))


def scratch(meta: Meta) -> float:
    """Where there is NaN: a copy of the input and two arrays of booleans."""
    return swapped(meta) + (1 + 2 / meta.dtype.itemsize if meta.dtype.kind == "f" else 0)


def extreme(
    name: str, x: Array, *, size: Any, footprint: Any, mode: Any, cval: float, origin: Any, axes: Any, xp: Namespace
) -> Array:
    """Run SciPy's minimum or maximum filter."""
    sizes, mask = _window(x.ndim, size, footprint, axes)
    how: dict[str, Any] = {"origin": origins(origin, sizes, axes)}
    if mask is None:
        how |= {"size": sizes, "mode": boundaries(mode, axes, x.ndim)}
    else:
        how |= {"footprint": xp.asarray(mask), "mode": boundaries(mode, range(x.ndim), x.ndim)[0]}
    return ordered(name, native(x), cval=cval, xp=xp, **how)


def middle(
    x: Array, *, size: Any, footprint: Any, mode: str, cval: float, origin: Any, axes: Any, xp: Namespace
) -> Array:
    """Run SciPy's median filter."""
    sizes, mask = _window(x.ndim, size, footprint, axes)
    shifts = origins(origin, sizes, axes)
    how: dict[str, Any] = {"mode": boundaries(mode, range(x.ndim), x.ndim)[0], "cval": cval, "xp": xp}
    if x.ndim > 1 or (mask is None and fast(x.size, sizes[0])):
        shape = {"size": sizes} if mask is None else {"footprint": xp.asarray(mask)}
        return ordered("median", native(x), origin=shifts, **shape, **how)
    # SciPy's quick way along a single axis leaves out of account that a footprint has holes, and
    # goes wrong beyond the ends if the window is longer than the array.
    line = xp.ones((1, sizes[0]), bool) if mask is None else xp.asarray(mask)[None]
    return ordered("median", native(x)[None], origin=[0, *shifts], footprint=line, **how)[0]


def fast(length: int, size: int) -> bool:
    """Whether SciPy's quick way along a single axis is right."""
    return length >= size


def ordered(name: str, x: Array, *, cval: float, xp: Namespace, **how: Any) -> Array:
    """Filter so that a window that holds NaN gives NaN, as NumPy's functions do.

    SciPy leaves open what NaN does; it depends on what came before it along the line, and so on
    how the array is cut.
    """
    ndimage = companion(xp, "ndimage")
    run = getattr(ndimage, f"{name}_filter")

    def quick() -> Array | None:
        if "size" not in how:
            return None
        where = {"cval": cval, "origins": how["origin"], "xp": xp}
        if name == "median":
            return planes.median(x, how["size"], mode=how["mode"], **where)
        return planes.extreme(name, x, how["size"], modes=how["mode"], **where)

    # The minimum is NaN if any element is: one pass, and no array of booleans.
    if x.dtype.kind != "f" or not (isnan(cval) or xp.isnan(x.min())):
        found = quick()
        return run(x, cval=cval, **how) if found is None else found
    nan = xp.isnan(x)
    result = run(xp.where(nan, x.dtype.type(0), x), cval=0.0 if isnan(cval) else cval, **how)
    result[ndimage.maximum_filter(nan, cval=float(isnan(cval)), **how)] = xp.nan
    return result

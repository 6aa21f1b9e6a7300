"""The mean of a window."""

from __future__ import annotations

from math import isfinite
from typing import Any

from hpcflow.kernels import planes
from hpcflow.meta import Meta
from hpcflow.namespace import Array, Namespace, companion
from hpcflow.ops._windows import (
    bordered,
    boundaries,
    check_lengths,
    check_origins,
    filtered,
    filtering,
    halo,
    native,
    origins,
    spread,
    window,
)
from hpcflow.parameters import Axes, Boundary, PerAxis, PositiveInt
from hpcflow.regions import Depth
from hpcflow.registry import op

DIRECT = 15
"""Up to this size, adding up the window of every element costs about what a running sum does."""


def result(meta: Meta, *, size: Any, mode: Any, cval: float, origin: Any, axes: tuple[int, ...]) -> Meta:
    """As the input; raises `Mismatch` for what does not fit."""
    check_lengths(axes, size=size, mode=mode, origin=origin)
    sizes = spread(size, axes, meta.ndim, 1)
    check_origins(meta, sizes, origins(origin, sizes, axes))
    return filtered(meta, cval)


def depth(meta: Meta, *, size: Any, mode: Any, origin: Any, axes: tuple[int, ...]) -> Depth:
    """The window along each axis, as far as its boundary mode needs."""
    sizes = spread(size, axes, meta.ndim, 1)
    windows = [window(n, o) for n, o in zip(sizes, origins(origin, sizes, axes), strict=True)]
    return halo(windows, boundaries(mode, axes, meta.ndim))


@op(depth=depth, meta=result, scratch=bordered, work=filtering, stencil=True, version=2)
def uniform(
    x: Array,
    /,
    *,
    size: PerAxis[PositiveInt] = 3,
    mode: PerAxis[Boundary] = "reflect",
    cval: float = 0.0,
    origin: PerAxis[int] = 0,
    axes: Axes = None,
    xp: Namespace,
) -> Array:
    """Replace every element by the mean of a window around it, as `scipy.ndimage.uniform_filter`.

    Integers stay integers (fractions are cut off after each axis); cast to float32 first to
    keep them. NaN spreads as far as the window reaches, not to the end of the line.

    Parameters
    ----------
    size : int or list of int
        Length of the window in elements, for all `axes` or for each.
    mode : str or list of str
        What lies beyond the array's ends, for all `axes` or for each.
    cval : float
        The value there, for `mode: constant`.
    origin : int or list of int
        Shifts the window: positive values towards the start of the axis.
    axes : axis or list of axes
        The axes to smooth along; all of them by default.

    Examples
    --------
    mean: {op: uniform, of: plane, size: 3}
    """
    sizes = spread(size, axes, x.ndim, 1)
    shifts = origins(origin, sizes, axes)
    modes = boundaries(mode, axes, x.ndim)
    x = native(x)
    quick = _planar(x, sizes, modes=modes, cval=cval, origins=shifts, xp=xp)
    if quick is not None:
        return quick
    ndimage = companion(xp, "ndimage")
    out = xp.empty(x.shape, x.dtype)
    smoothed = x
    for axis, n in enumerate(sizes):
        if n == 1:
            continue
        how = {"axis": axis, "output": out, "mode": modes[axis], "cval": cval, "origin": shifts[axis]}
        if _direct(smoothed, n, cval, xp):
            ndimage.correlate1d(smoothed, xp.full(n, 1 / n), **how)
        else:
            ndimage.uniform_filter1d(smoothed, n, **how)
        smoothed = out
    return smoothed


def _planar(x: Array, sizes: Any, *, cval: float, xp: Namespace, **how: Any) -> Any:
    """Where OpenCV gives the same: as `_direct` would, or with a running sum."""
    long = [n for n in sizes if n > 1]
    if not long or x.dtype.kind != "f":
        return None
    if max(long) <= DIRECT:
        weights = {axis: (1 / n,) * n for axis, n in enumerate(sizes) if n > 1}
        return planes.separable(x, weights, cval=cval, xp=xp, **how)
    return None if _direct(x, max(long), cval, xp) else planes.box(x, sizes, cval=cval, xp=xp, **how)


def _direct(x: Array, size: int, cval: float, xp: Namespace) -> bool:
    """Whether to add up each window on its own rather than keep a running sum.

    A running sum is exact for integers. For floats its last digits depend on what came before
    on the line, so on how the array is cut, and once it has met NaN or infinity it keeps them.
    """
    if x.dtype.kind not in "fc":
        return False
    if size <= DIRECT or not isfinite(cval):
        return True
    parts = (x.real, x.imag) if x.dtype.kind == "c" else (x,)
    return not all(bool(xp.isfinite(part.min()) and xp.isfinite(part.max())) for part in parts)

"""The Laplacian."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from hpcflow.errors import Mismatch
from hpcflow.kernels import planes
from hpcflow.meta import Meta
from hpcflow.namespace import Array, Namespace, companion
from hpcflow.ops._windows import boundaries, check_lengths, filtered, filtering, halo, native, swapped
from hpcflow.ops._wraps import weighted
from hpcflow.parameters import Axes, Boundary, PerAxis
from hpcflow.regions import Depth
from hpcflow.registry import op


def result(meta: Meta, *, mode: Any, cval: float, axes: tuple[int, ...]) -> Meta:
    """As the input; raises `Mismatch` for what does not fit."""
    check_lengths(axes, mode=mode)
    return filtered(meta, cval)


def depth(meta: Meta, *, mode: Any, axes: tuple[int, ...]) -> Depth:
    """One neighbour on each side."""
    windows = [(1, 1) if axis in axes else (0, 0) for axis in range(meta.ndim)]
    return halo(windows, boundaries(mode, axes, meta.ndim))


def scratch(meta: Meta, *, axes: tuple[int, ...]) -> float:
    """The second derivative along one axis, on its way into the sum."""
    return swapped(meta) + (len(axes) > 1)


def doubts(meta: Meta, *, axes: tuple[int, ...]) -> Iterator[Mismatch]:
    """Differences of small or unsigned integers."""
    return weighted(meta.dtype, [*[1] * (2 * len(axes)), -2 * len(axes)], "`laplace`")


@op(depth=depth, meta=result, scratch=scratch, work=filtering, doubts=doubts)
def laplace(
    x: Array, /, *, mode: PerAxis[Boundary] = "reflect", cval: float = 0.0, axes: Axes = None, xp: Namespace
) -> Array:
    """Add up the second differences along the axes, as `scipy.ndimage.laplace`.

    Unsigned integers wrap around where the result is negative; cast to float32 first.

    Parameters
    ----------
    mode : str or list of str
        What lies beyond the array's ends, for all `axes` or for each.
    cval : float
        The value there, for `mode: constant`.
    axes : axis or list of axes
        The axes to differentiate along; all of them by default.

    Examples
    --------
    curvature: {op: laplace, of: smooth}
    """
    ndimage = companion(xp, "ndimage")
    x = native(x)
    numbers: Any = axes
    modes = boundaries(mode, numbers, x.ndim)
    if not numbers:
        return x
    if sorted(numbers) == [x.ndim - 2, x.ndim - 1] and modes[-1] == modes[-2]:
        cross = xp.asarray([[0.0, 1.0, 0.0], [1.0, -4.0, 1.0], [0.0, 1.0, 0.0]])
        quick = planes.direct(x, cross, mode=modes[-1], cval=cval, origins=[0] * x.ndim, xp=xp)
        if quick is not None:
            return quick
    first, *rest = numbers
    weights = xp.asarray([1.0, -2.0, 1.0])
    total = ndimage.correlate1d(x, weights, axis=first, mode=modes[first], cval=cval)
    if rest:
        term = xp.empty(x.shape, x.dtype)
        for axis in rest:
            ndimage.correlate1d(x, weights, axis=axis, output=term, mode=modes[axis], cval=cval)
            total += term
    return total

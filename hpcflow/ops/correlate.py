"""Correlation with a kernel of weights."""

from __future__ import annotations

from hpcflow.namespace import Array, Namespace
from hpcflow.ops._kernels import Kernel, correlated, doubts, result, scratch, weighted
from hpcflow.parameters import Axes, Boundary, PerAxis
from hpcflow.registry import op


@op(depth=correlated, meta=result, scratch=scratch, work=30, doubts=doubts)
def correlate(
    x: Array,
    /,
    *,
    weights: Kernel,
    mode: Boundary = "reflect",
    cval: float = 0.0,
    origin: PerAxis[int] = 0,
    axes: Axes = None,
    xp: Namespace,
) -> Array:
    """Add up the elements around each one times `weights`, as `scipy.ndimage.correlate`.

    Integers stay integers (fractions are cut off); unsigned ones wrap around below zero. Cast
    to float32 first to keep both. Floats go through Fourier transforms, in float64, where the
    kernel is so large that this is quicker.

    Parameters
    ----------
    weights : nested list of float
        The kernel: numbers in lists, nested once for each axis, or once for each of `axes`.
    mode : str
        What lies beyond the array's ends.
    cval : float
        The value there, for `mode: constant`.
    origin : int or list of int
        Shifts the kernel, for all `axes` or for each: positive values towards the start of the axis.
    axes : axis or list of axes
        The axes that the kernel lies along, in increasing order; all of them by default.

    Examples
    --------
    sharp: {op: correlate, of: plane, weights: [[0, -1, 0], [-1, 5, -1], [0, -1, 0]]}
    """
    return weighted(x, weights, mode=mode, cval=cval, origin=origin, axes=axes, xp=xp, mirrored=False)

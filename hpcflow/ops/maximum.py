"""The largest element of a window."""

from __future__ import annotations

from hpcflow.namespace import Array, Namespace
from hpcflow.ops._kernels import Footprint
from hpcflow.ops._orders import depth, extreme, result, scratch
from hpcflow.parameters import Axes, Boundary, PerAxis, PositiveInt
from hpcflow.registry import op


@op(depth=depth, meta=result, scratch=scratch, work=30)
def maximum(
    x: Array,
    /,
    *,
    size: PerAxis[PositiveInt] | None = None,
    footprint: Footprint | None = None,
    mode: PerAxis[Boundary] = "reflect",
    cval: float = 0.0,
    origin: PerAxis[int] = 0,
    axes: Axes = None,
    xp: Namespace,
) -> Array:
    """Replace every element by the largest one in a window around it, as `scipy.ndimage.maximum_filter`.

    A window that holds NaN gives NaN.

    Parameters
    ----------
    size : int or list of int
        Length of the window in elements, for all `axes` or for each. This or `footprint`.
    mode : str or list of str
        What lies beyond the array's ends, for all `axes` or, with `size`, for each.
    cval : float
        The value there, for `mode: constant`.
    origin : int or list of int
        Shifts the window: positive values towards the start of the axis.
    axes : axis or list of axes
        The axes that the window extends along; all of them by default.

    Examples
    --------
    dilated: {op: maximum, of: plane, footprint: [[0, 1, 0], [1, 1, 1], [0, 1, 0]]}
    """
    return extreme("maximum", x, size=size, footprint=footprint, mode=mode, cval=cval, origin=origin, axes=axes, xp=xp)

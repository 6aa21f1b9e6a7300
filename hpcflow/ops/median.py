"""The median of a window."""

from __future__ import annotations

from typing import Any

from hpcflow.meta import Meta
from hpcflow.namespace import Array, Namespace
from hpcflow.ops._kernels import Footprint
from hpcflow.ops._orders import depth, middle, result, scratch
from hpcflow.ops._windows import swapped
from hpcflow.parameters import Axes, Boundary, PerAxis, PositiveInt
from hpcflow.regions import Depth, per_axis
from hpcflow.registry import op


def reaches(
    meta: Meta, *, size: Any, footprint: list[Any] | None, mode: str, origin: Any, axes: tuple[int, ...]
) -> Depth:
    """The window along each axis; a whole one more along a single axis, so that every block holds one.

    SciPy's quick way is then open to all blocks or to none: it gives integers above 2**53 exactly,
    the other does not.
    """
    if meta.ndim > 1:
        return depth(meta, size=size, footprint=footprint, mode=mode, origin=origin, axes=axes)
    length = len(footprint) if footprint is not None else per_axis(size, axes, 1, 1)[0]
    return ((length, length),)


def needed(meta: Meta) -> float:
    """Along a single axis integers are filtered as int64."""
    as_int64 = meta.ndim == 1 and meta.dtype.kind in "biu" and meta.dtype.itemsize < 8
    # OpenCV gets the array with a border around it, and gives one with a border.
    return 16 / meta.dtype.itemsize + swapped(meta) if as_int64 else max(scratch(meta), 2 + swapped(meta))


@op(depth=reaches, meta=result, scratch=needed, work=300)
def median(
    x: Array,
    /,
    *,
    size: PerAxis[PositiveInt] | None = None,
    footprint: Footprint | None = None,
    mode: Boundary = "reflect",
    cval: float = 0.0,
    origin: PerAxis[int] = 0,
    axes: Axes = None,
    xp: Namespace,
) -> Array:
    """Replace every element by the median of a window around it, as `scipy.ndimage.median_filter`.

    Of an even number of elements it is the upper of the two in the middle. A window that holds
    NaN gives NaN.

    Parameters
    ----------
    size : int or list of int
        Length of the window in elements, for all `axes` or for each. This or `footprint`.
    mode : str
        What lies beyond the array's ends.
    cval : float
        The value there, for `mode: constant`.
    origin : int or list of int
        Shifts the window: positive values towards the start of the axis.
    axes : axis or list of axes
        The axes that the window extends along; all of them by default.

    Examples
    --------
    clean: {op: median, of: plane, size: 3}
    """
    return middle(x, size=size, footprint=footprint, mode=mode, cval=cval, origin=origin, axes=axes, xp=xp)

"""The Sobel derivative."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from hpcflow.errors import Mismatch
from hpcflow.kernels import planes
from hpcflow.meta import Meta
from hpcflow.namespace import Array, Namespace, companion
from hpcflow.ops._windows import bordered, boundaries, check_lengths, filtered, filtering, native
from hpcflow.ops._wraps import weighted
from hpcflow.parameters import Axis, Boundary, PerAxis
from hpcflow.registry import op


def result(meta: Meta, *, mode: Any, cval: float) -> Meta:
    """As the input; raises `Mismatch` for what does not fit."""
    check_lengths(range(meta.ndim), mode=mode)
    return filtered(meta, cval)


def doubts(meta: Meta) -> Iterator[Mismatch]:
    """Differences of small or unsigned integers."""
    return weighted(meta.dtype, [-(4 ** (meta.ndim - 1)), 4 ** (meta.ndim - 1)], "`sobel`")


@op(depth=1, meta=result, scratch=bordered, work=filtering, doubts=doubts, stencil=True, version=2)
def sobel(
    x: Array, /, *, axis: Axis = -1, mode: PerAxis[Boundary] = "reflect", cval: float = 0.0, xp: Namespace
) -> Array:
    """Differentiate along one axis and smooth along the others, as `scipy.ndimage.sobel`.

    Unsigned integers wrap around where the slope is negative; cast to float32 first.

    Parameters
    ----------
    axis : axis
        The axis to differentiate along; the last by default.
    mode : str or list of str
        What lies beyond the array's ends, for all axes or for each.
    cval : float
        The value there, for `mode: constant`.

    Examples
    --------
    gx: {op: sobel, of: smooth, axis: x}
    """
    x = native(x)
    modes = boundaries(mode, range(x.ndim), x.ndim)
    weights = {i: (-1.0, 0.0, 1.0) if i == axis else (1.0, 2.0, 1.0) for i in range(x.ndim)}
    quick = planes.separable(x, weights, modes=modes, cval=cval, origins=[0] * x.ndim, xp=xp, finite=True)
    return companion(xp, "ndimage").sobel(x, axis=axis, mode=modes, cval=cval) if quick is None else quick

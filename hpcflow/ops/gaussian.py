"""Gaussian smoothing."""

from __future__ import annotations

from typing import Any

from hpcflow.meta import Meta
from hpcflow.namespace import Array, Namespace, companion
from hpcflow.parameters import Axes, Boundary, NonNegative, NonNegativeInt, PerAxis, Positive
from hpcflow.regions import per_axis
from hpcflow.registry import op


def reach(meta: Meta, *, sigma: Any, truncate: float, axes: tuple[int, ...]) -> tuple[int, ...]:
    """SciPy's kernel radius: ``int(truncate * sigma + 0.5)``."""
    return per_axis(
        [int(truncate * s + 0.5) for s in per_axis(sigma, axes, meta.ndim, 0.0)], range(meta.ndim), meta.ndim, 0
    )


@op(depth=reach)
def gaussian(
    x: Array,
    /,
    *,
    sigma: PerAxis[NonNegative],
    order: PerAxis[NonNegativeInt] = 0,
    mode: PerAxis[Boundary] = "reflect",
    cval: float = 0.0,
    truncate: Positive = 4.0,
    axes: Axes = None,
    xp: Namespace,
) -> Array:
    """Smooth with a Gaussian `sigma` elements wide, as `scipy.ndimage.gaussian_filter`.

    Parameters
    ----------
    sigma : float or list of float
        Standard deviation of the kernel in elements, for all `axes` or for each.
    order : int or list of int
        0 smooths; n gives the n-th derivative of the Gaussian.
    mode : str or list of str
        What lies beyond the array's ends.
    cval : float
        The value there, for `mode: constant`.
    truncate : float
        Where the kernel ends, in standard deviations.
    axes : axis or list of axes
        The axes to smooth along; all of them by default.
    """
    ndimage = companion(xp, "ndimage")
    return ndimage.gaussian_filter(x, sigma, order=order, mode=mode, cval=cval, truncate=truncate, axes=axes)

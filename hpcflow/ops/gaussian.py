"""Gaussian smoothing."""

from __future__ import annotations

from typing import Any

import numpy as np

from hpcflow.kernels import lines, planes
from hpcflow.meta import Meta
from hpcflow.namespace import Array, Namespace, companion
from hpcflow.ops._windows import boundaries, check_lengths, filtered, filtering, native, planar, spread
from hpcflow.parameters import Axes, Boundary, NonNegative, NonNegativeInt, PerAxis
from hpcflow.regions import Region, whole
from hpcflow.registry import op

NARROW = 1e-15
"""SciPy leaves an axis alone if `sigma` is not above this."""


def result(meta: Meta, *, sigma: Any, order: Any, mode: Any, cval: float, radius: Any, axes: tuple[int, ...]) -> Meta:
    """As the input; raises `Mismatch` for what does not fit."""
    check_lengths(axes, sigma=sigma, order=order, mode=mode, radius=radius)
    return filtered(meta, cval)


def depth(meta: Meta, *, sigma: Any, truncate: float, radius: Any, axes: tuple[int, ...]) -> tuple[int, ...]:
    """SciPy's kernel radius: ``int(truncate * sigma + 0.5)``, or as given."""
    sigmas = spread(sigma, axes, meta.ndim, 0.0)
    radii = spread(radius, axes, meta.ndim, None)
    return tuple(
        0 if s <= NARROW else int(truncate * s + 0.5) if r is None else r for s, r in zip(sigmas, radii, strict=True)
    )


def work(meta: Meta) -> float:
    """Less for integers whose lines are added up side by side than for others."""
    return min(2.0 * meta.ndim, filtering(meta)) if lines.takes(meta) else filtering(meta)


@op(depth=depth, meta=result, scratch=planar, work=work)
def gaussian(
    x: Array,
    /,
    *,
    sigma: PerAxis[NonNegative],
    order: PerAxis[NonNegativeInt] = 0,
    mode: PerAxis[Boundary] = "reflect",
    cval: float = 0.0,
    truncate: NonNegative = 4.0,
    radius: PerAxis[NonNegativeInt] | None = None,
    axes: Axes = None,
    kept: Region | None = None,
    xp: Namespace,
) -> Array:
    """Smooth with a Gaussian `sigma` elements wide, as `scipy.ndimage.gaussian_filter`.

    Integers stay integers (fractions are cut off after each axis); cast to float32 first to
    keep them.

    Parameters
    ----------
    sigma : float or list of float
        Standard deviation of the kernel in elements, for all `axes` or for each.
    order : int or list of int
        0 smooths; n gives the n-th derivative of the Gaussian.
    mode : str or list of str
        What lies beyond the array's ends, for all `axes` or for each.
    cval : float
        The value there, for `mode: constant`.
    truncate : float
        Where the kernel ends, in standard deviations.
    radius : int or list of int
        Where the kernel ends, in elements; `truncate` is then ignored.
    axes : axis or list of axes
        The axes to smooth along; all of them by default.

    Examples
    --------
    smooth: {op: gaussian, of: plane, sigma: 2}
    """
    x = native(x)
    kept = kept or whole(x.shape)
    part = tuple(slice(*one) for one in kept)
    modes = boundaries(mode, axes, x.ndim)
    if not any(spread(order, axes, x.ndim, 0)):
        reach = depth(x, sigma=sigma, truncate=truncate, radius=radius, axes=axes)  # type: ignore[arg-type]
        sigmas = spread(sigma, axes, x.ndim, 0.0)
        weights = {axis: _weights(sigmas[axis], r) for axis, r in enumerate(reach) if sigmas[axis] > NARROW}
        if not weights:
            return x[part]
        quick = lines.symmetric(x, weights, modes=modes, kept=kept, xp=xp)
        if quick is not None:
            return quick
        quick = planes.separable(x, weights, modes=modes, cval=cval, origins=[0] * x.ndim, xp=xp)
        if quick is not None:
            return quick[part]
    ndimage = companion(xp, "ndimage")
    # With a sigma of 0 an axis is left alone: this does what `axes` does, in every release.
    smooth = ndimage.gaussian_filter(
        x,
        spread(sigma, axes, x.ndim, 0.0),
        order=spread(order, axes, x.ndim, 0),
        mode=modes,
        cval=cval,
        truncate=truncate,
        **({} if radius is None else {"radius": spread(radius, axes, x.ndim, None)}),
    )
    return smooth[part]


def _weights(sigma: float, radius: int) -> Array:
    """SciPy's kernel."""
    weights = np.exp(-0.5 / (sigma * sigma) * np.arange(-radius, radius + 1) ** 2)
    return weights / weights.sum()

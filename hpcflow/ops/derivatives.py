"""Differences and slopes: SciPy's filters that differentiate, NumPy's `diff` and `gradient`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from hpcflow.errors import Mismatch
from hpcflow.meta import Meta
from hpcflow.namespace import Array, Namespace, companion
from hpcflow.ops._windows import boundaries, check_lengths, filtered, native, planar, swapped
from hpcflow.ops._wraps import limits, weighted, wrapping
from hpcflow.parameters import Axis, Boundary, Cval, NonNegative, PerAxis, Positive, PositiveInt
from hpcflow.regions import Region
from hpcflow.registry import Reach, op

Modes = Annotated[PerAxis[Boundary], Field(description="What lies beyond the array's ends, for all axes or for each.")]
Mode = Annotated[Boundary, Field(description="What lies beyond the array's ends; SciPy smooths all axes with one.")]
Sigma = Annotated[
    PerAxis[Positive], Field(description="Standard deviation of the Gaussian in elements, for all axes or for each.")
]
Truncate = Annotated[NonNegative, Field(description="Where the Gaussian is cut off, in standard deviations.")]


def result(meta: Meta, *, mode: Any, cval: float) -> Meta:
    """As the input; raises `Mismatch` for what does not fit."""
    check_lengths(range(meta.ndim), mode=mode)
    return filtered(meta, cval, imaginary=False)


def slopes(meta: Meta) -> Iterator[Mismatch]:
    """Differences of small or unsigned integers."""
    return weighted(meta.dtype, [*[-1] * 3 ** (meta.ndim - 1), *[1] * 3 ** (meta.ndim - 1)], "`prewitt`")


@op(depth=1, meta=result, scratch=planar, work=30, doubts=slopes)
def prewitt(x: Array, /, *, axis: Axis = -1, mode: Modes = "reflect", cval: Cval = 0.0, xp: Namespace) -> Array:
    """Differentiate along one axis and average along the others, as `scipy.ndimage.prewitt`.

    Unsigned integers wrap around where the slope is negative; cast to float32 first.

    Parameters
    ----------
    axis : axis
        The axis to differentiate along; the last by default.

    Examples
    --------
    gx: {op: prewitt, of: smooth, axis: x}
    """
    modes = boundaries(mode, range(x.ndim), x.ndim)
    return companion(xp, "ndimage").prewitt(native(x), axis=axis, mode=modes, cval=cval)


def smoothed(meta: Meta, *, sigma: Any, mode: Any, cval: float) -> Meta:
    """As the input; raises `Mismatch` for what does not fit."""
    check_lengths(range(meta.ndim), sigma=sigma)
    return result(meta, mode=mode, cval=cval)


def reaches(meta: Meta, *, sigma: Any, truncate: float) -> tuple[int, ...]:
    """SciPy's kernel radius: ``int(truncate * sigma + 0.5)``."""
    sigmas = sigma if isinstance(sigma, list) else [sigma] * meta.ndim
    return tuple(int(truncate * one + 0.5) for one in sigmas)


def scratch(meta: Meta) -> float:
    """What one axis gives, on its way into the sum, beside what a filter needs."""
    return 1.0 + planar(meta)


def curved(meta: Meta) -> Iterator[Mismatch]:
    """Differences of small or unsigned integers."""
    return weighted(meta.dtype, [1, -2, 1], "`gaussian_laplace`")


@op(depth=reaches, meta=smoothed, scratch=scratch, work=100, doubts=curved)
def gaussian_laplace(
    x: Array,
    /,
    *,
    sigma: Sigma,
    mode: Mode = "reflect",
    cval: Cval = 0.0,
    truncate: Truncate = 4.0,
    xp: Namespace,
) -> Array:
    """Add up the second derivatives of the smoothed array, as `scipy.ndimage.gaussian_laplace`: blobs stand out.

    Examples
    --------
    blobs: {op: gaussian_laplace, of: plane, sigma: 3}
    """
    modes = boundaries(mode, range(x.ndim), x.ndim)
    return companion(xp, "ndimage").gaussian_laplace(native(x), sigma, mode=modes, cval=cval, truncate=truncate)


def squared(meta: Meta) -> Iterator[Mismatch]:
    """Squares of slopes of integers."""
    if meta.dtype.kind in "iu":
        low, high = limits(meta.dtype)
        yield from wrapping(meta.dtype, low - high, high**2, "`gradient_magnitude`")


@op(depth=reaches, meta=smoothed, scratch=scratch, work=100, doubts=squared)
def gradient_magnitude(
    x: Array,
    /,
    *,
    sigma: Sigma,
    mode: Mode = "reflect",
    cval: Cval = 0.0,
    truncate: Truncate = 4.0,
    xp: Namespace,
) -> Array:
    """Take the slope of the smoothed array, as `scipy.ndimage.gaussian_gradient_magnitude`: edges stand out.

    Examples
    --------
    edges: {op: gradient_magnitude, of: plane, sigma: 2}
    """
    modes = boundaries(mode, range(x.ndim), x.ndim)
    run = companion(xp, "ndimage").gaussian_gradient_magnitude
    return run(native(x), sigma, mode=modes, cval=cval, truncate=truncate)


def shortened(meta: Meta, *, n: int, axis: int) -> Meta:
    """Shorter by `n`; raises `Mismatch` where nothing is left."""
    length = meta.shape[axis]
    if length < n:
        raise Mismatch(f"expected at least {n} elements along the axis, found {length}", parameter="n")
    return replace(meta, shape=(*meta.shape[:axis], length - n, *meta.shape[axis + 1 :]))


def followers(out: Region, metas: Sequence[Meta], *, n: int, axis: int) -> Reach:
    """The elements and the `n` behind each."""
    start, stop = out[axis]
    return Reach(out, ((*out[:axis], (start, min(stop + n, metas[0].shape[axis])), *out[axis + 1 :]),))


def differences(meta: Meta) -> Iterator[Mismatch]:
    """Differences of small or unsigned integers."""
    return weighted(meta.dtype, [1, -1], "`diff`")


@op(reach=followers, meta=shortened, scratch=1.0, doubts=differences)
def diff(x: Array, /, *, n: PositiveInt = 1, axis: Axis = -1) -> Array:
    """Take each element from the one behind it, as `numpy.diff`.

    Integers wrap around where a difference does not fit; cast first.

    Parameters
    ----------
    n : int
        How many times.
    axis : axis
        The axis, by name or number; the last by default.

    Examples
    --------
    change: {op: diff, of: air, axis: time}
    """
    behind, before = (
        tuple(one if i == axis else slice(None) for i in range(x.ndim)) for one in (slice(1, None), slice(None, -1))
    )
    for _ in range(n):
        x = x[behind] != x[before] if x.dtype.kind == "b" else x[behind] - x[before]
    return x


def sloped(meta: Meta, *, axis: int, edge_order: int) -> Meta:
    """Floats of the input's shape; raises `Mismatch` for too few elements."""
    if meta.dtype.kind not in "iufc":
        raise Mismatch(f"expected numbers, found {meta.dtype}", hint="cast them first: `op: astype`")
    if meta.shape[axis] < edge_order + 1:
        raise Mismatch(
            f"expected at least {edge_order + 1} elements along the axis, found {meta.shape[axis]}", parameter="axis"
        )
    return replace(meta, dtype=meta.dtype.newbyteorder("=") if meta.dtype.kind in "fc" else np.dtype(np.float64))


def neighbours(meta: Meta, *, axis: int, edge_order: int) -> tuple[int, ...]:
    """As many neighbours as the ends need."""
    return tuple(edge_order if i == axis else 0 for i in range(meta.ndim))


def floats(meta: Meta) -> float:
    """Scratch: integers as float64, and one difference."""
    return swapped(meta) + (2.0 if meta.dtype.kind in "fc" else 16 / meta.dtype.itemsize)


@op(depth=neighbours, meta=sloped, scratch=floats, work=10)
def gradient(
    x: Array, /, *, axis: Axis = -1, spacing: Positive = 1.0, edge_order: Literal[1, 2] = 1, xp: Namespace
) -> Array:
    """Take the slope along an axis by central differences, as `numpy.gradient`.

    Parameters
    ----------
    axis : axis
        The axis, by name or number; the last by default.
    spacing : float
        How far apart two elements are.
    edge_order : int
        Of the differences at the two ends.

    Examples
    --------
    slope: {op: gradient, of: height, axis: x, spacing: 30.0}
    """
    return xp.gradient(native(x), spacing, axis=axis, edge_order=edge_order)

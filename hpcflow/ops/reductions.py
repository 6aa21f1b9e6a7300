"""Sums, products, means, spreads and counts: NumPy's reductions, and its nan-functions by `skipna`.

The functions carry NumPy's names: within this file `sum`, `any` and `all` are ops.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from hpcflow.casting import cast
from hpcflow.errors import Mismatch
from hpcflow.meta import Meta
from hpcflow.namespace import Array, Namespace
from hpcflow.ops._reduce import (
    accumulator,
    added,
    adding,
    count_of,
    doubts,
    either,
    elements,
    float_dtype,
    missing,
    not_complex_to_real,
    real,
    reduced,
    skipping,
    without,
)
from hpcflow.parameters import Axes, DType, KeepDims, NonNegative, SkipNa
from hpcflow.registry import Partial, reduction


def as_is(partial: Partial) -> Array:
    """The result as it is."""
    return partial[0]


def add(first: Partial, second: Partial) -> Partial:
    """The sums of both."""
    return tuple(a + b for a, b in zip(first, second, strict=True))


def summed_dtype(source: Any, dtype: str | None) -> np.dtype[Any]:
    """The dtype of a sum or product, as NumPy's: whole numbers and bools become 64 bits wide."""
    return np.dtype(dtype) if dtype else np.add.reduce(np.zeros(1, source)).dtype


def summed(meta: Meta, *, axis: tuple[int, ...], dtype: str | None, keepdims: bool) -> Meta:
    """The meta of a sum or product."""
    target = summed_dtype(meta.dtype, dtype)
    not_complex_to_real(meta.dtype, target)
    return reduced(meta, axis, target, keepdims=keepdims)


def as_summed(partial: Partial, *, metas: list[Meta], dtype: str | None) -> Array:
    """The sum or product in the result's dtype."""
    with np.errstate(over="ignore"):
        return partial[0].astype(summed_dtype(metas[0].dtype, dtype))


@reduction(combine=add, finalize=as_summed, meta=summed, scratch=adding, doubts=doubts, version=2)
def sum(
    x: Array,
    /,
    *,
    axis: Axes = None,
    dtype: DType | None = None,
    keepdims: KeepDims = False,
    skipna: SkipNa = False,
    xp: Namespace,
) -> Partial:
    """Add up all elements or those along some axes, as `numpy.sum` or `numpy.nansum`.

    Floats are added up in float64, whatever the result's dtype.

    Parameters
    ----------
    dtype : str, optional
        Of the result. By default the input's, but 64 bits wide for whole numbers and bools.

    Examples
    --------
    profile: {op: sum, of: plane, axis: y}
    """
    filled = without(x, missing(x, skipna=skipna, xp=xp), 0, xp)
    return (added(filled, axis, summed_dtype(x.dtype, dtype), xp),)


def multiply(first: Partial, second: Partial) -> Partial:
    """The product of both."""
    with np.errstate(all="ignore"):
        return (first[0] * second[0],)


@reduction(combine=multiply, finalize=as_summed, meta=summed, scratch=adding, version=2)
def prod(
    x: Array,
    /,
    *,
    axis: Axes = None,
    dtype: DType | None = None,
    keepdims: KeepDims = False,
    skipna: SkipNa = False,
    xp: Namespace,
) -> Partial:
    """Multiply all elements or those along some axes, as `numpy.prod` or `numpy.nanprod`.

    Floats are multiplied in float64, whatever the result's dtype.

    Parameters
    ----------
    dtype : str, optional
        Of the result. By default the input's, but 64 bits wide for whole numbers and bools.

    Examples
    --------
    joint: {op: prod, of: chances, axis: channel}
    """
    filled = without(x, missing(x, skipna=skipna, xp=xp), 1, xp)
    with np.errstate(all="ignore"):
        return (added(filled, axis, summed_dtype(x.dtype, dtype), xp, "prod"),)


def averaged(meta: Meta, *, axis: tuple[int, ...], dtype: str | None, keepdims: bool) -> Meta:
    """The meta of a mean."""
    target = float_dtype(meta.dtype, dtype)
    not_complex_to_real(meta.dtype, target)
    return reduced(meta, axis, target, keepdims=keepdims)


def divide(partial: Partial, *, metas: list[Meta], axis: tuple[int, ...], dtype: str | None) -> Array:
    """The mean in the result's dtype."""
    counted = partial[1] if len(partial) > 1 else elements(metas[0], axis)
    with np.errstate(all="ignore"):
        return cast(partial[0] / counted, float_dtype(metas[0].dtype, dtype), np)


@reduction(combine=add, finalize=divide, meta=averaged, scratch=adding, doubts=doubts, version=2)
def mean(
    x: Array,
    /,
    *,
    axis: Axes = None,
    dtype: DType | None = None,
    keepdims: KeepDims = False,
    skipna: SkipNa = False,
    xp: Namespace,
) -> Partial:
    """Take the mean of all elements or of those along some axes, as `numpy.mean` or `numpy.nanmean`.

    Floats are added up in float64, whatever the result's dtype.

    Parameters
    ----------
    dtype : str, optional
        Of the result. By default the input's, but float64 for whole numbers and bools.

    Examples
    --------
    average: {op: mean, of: stack, axis: time}
    """
    nan = missing(x, skipna=skipna, xp=xp)
    total = added(without(x, nan, 0, xp), axis, float_dtype(x.dtype, dtype), xp)
    return (total,) if nan is None else (total, (~nan).sum(axis=axis, dtype=np.int64, keepdims=True))


def spread(meta: Meta, *, axis: tuple[int, ...], dtype: str | None, keepdims: bool) -> Meta:
    """The meta of a variance or standard deviation; it is real for complex numbers too."""
    target = float_dtype(meta.dtype, dtype)
    if target.kind not in "fc":
        raise Mismatch(f"expected a dtype of floats, found {target}", parameter="dtype")
    not_complex_to_real(meta.dtype, target)
    return reduced(meta, axis, real(target), keepdims=keepdims)


def merge(first: Partial, second: Partial) -> Partial:
    """Both by Chan, Golub and LeVeque's update, which does not cancel, about the pivot of the first."""
    (n1, pivot1, rest1, squares1), (n2, pivot2, rest2, squares2) = first, second
    n = n1 + n2
    share = n2 / np.where(n, n, 1)  # a piece may hold nothing but NaN
    pivot = np.where(n1, pivot1, pivot2)
    apart = (pivot2 - pivot) + rest2 - rest1
    return n, pivot, rest1 + apart * share, squares1 + squares2 + abs(apart) ** 2 * (n1 * share)


def variance(
    partial: Partial,
    *,
    metas: list[Meta],
    axis: tuple[int, ...],
    dtype: str | None,
    ddof: float,
    skipna: bool,
    xp: Namespace,
) -> Array:
    """The mean square, in the result's dtype."""
    return _variance(partial, ddof, skipna=skipna, xp=xp).astype(real(float_dtype(metas[0].dtype, dtype)))


def deviation(
    partial: Partial,
    *,
    metas: list[Meta],
    axis: tuple[int, ...],
    dtype: str | None,
    ddof: float,
    skipna: bool,
    xp: Namespace,
) -> Array:
    """The root of the mean square, in the result's dtype."""
    return xp.sqrt(_variance(partial, ddof, skipna=skipna, xp=xp)).astype(real(float_dtype(metas[0].dtype, dtype)))


def _variance(partial: Partial, ddof: float, *, skipna: bool, xp: Namespace) -> Array:
    n, _, _, squares = partial
    with np.errstate(all="ignore"):
        # Where too few count, NumPy's functions divide by 0, its nan-functions give NaN.
        found = squares / xp.maximum(n - ddof, 0)
        return xp.where(n - ddof > 0, found, xp.nan) if skipna else found


def spreading(meta: Meta, *, skipna: bool) -> float:
    """Scratch of the distances from the mean, in float64."""
    return accumulator(float_dtype(meta.dtype, None)).itemsize / meta.dtype.itemsize + skipping(meta, skipna=skipna)


@reduction(combine=merge, finalize=deviation, meta=spread, scratch=spreading, version=2)
def std(
    x: Array,
    /,
    *,
    axis: Axes = None,
    dtype: DType | None = None,
    ddof: NonNegative = 0.0,
    keepdims: KeepDims = False,
    skipna: SkipNa = False,
    xp: Namespace,
) -> Partial:
    """Take the standard deviation of all elements or of those along some axes, as `numpy.std` or `numpy.nanstd`.

    It is computed in float64, whatever the result's dtype.

    Parameters
    ----------
    dtype : str, optional
        Of the result. By default the input's, but float64 for whole numbers and bools.
    ddof : float
        The sum of squares is divided by the number of elements less this: 1 for a sample.

    Examples
    --------
    noise: {op: std, of: stack, axis: time, ddof: 1}
    """
    return _moments(x, axis, dtype, skipna=skipna, xp=xp)


@reduction(combine=merge, finalize=variance, meta=spread, scratch=spreading, version=2)
def var(
    x: Array,
    /,
    *,
    axis: Axes = None,
    dtype: DType | None = None,
    ddof: NonNegative = 0.0,
    keepdims: KeepDims = False,
    skipna: SkipNa = False,
    xp: Namespace,
) -> Partial:
    """Take the variance of all elements or of those along some axes, as `numpy.var` or `numpy.nanvar`.

    It is computed in float64, whatever the result's dtype.

    Parameters
    ----------
    dtype : str, optional
        Of the result. By default the input's, but float64 for whole numbers and bools.
    ddof : float
        The sum of squares is divided by the number of elements less this: 1 for a sample.

    Examples
    --------
    noise: {op: var, of: stack, axis: time, ddof: 1}
    """
    return _moments(x, axis, dtype, skipna=skipna, xp=xp)


def _moments(x: Array, axis: Any, dtype: str | None, *, skipna: bool, xp: Namespace) -> Partial:
    """How many elements there are, a pivot near their mean and how far that is from it, and the squares about the mean.

    A rounded mean of large numbers is off by more than the squares of small differences allow for.
    """
    within = accumulator(float_dtype(x.dtype, dtype))
    nan = missing(x, skipna=skipna, xp=xp)
    n = count_of(x, nan, axis, xp)
    with np.errstate(all="ignore"):
        pivot = without(x, nan, 0, xp).sum(axis=axis, dtype=within, keepdims=True) / xp.where(n, n, 1)
        apart = without(xp.subtract(x, pivot, dtype=within), nan, 0, xp)
        rest = apart.sum(axis=axis, keepdims=True) / xp.where(n, n, 1)
        if within.kind == "c":
            apart = abs(apart)
        apart *= apart
        return n, pivot, rest, xp.maximum(apart.sum(axis=axis, keepdims=True) - n * abs(rest) ** 2, 0)


def told(meta: Meta, *, axis: tuple[int, ...], keepdims: bool) -> Meta:
    """The meta of an answer that is true or false."""
    return reduced(meta, axis, np.bool_, keepdims=keepdims)


@reduction(combine=either, finalize=as_is, meta=told, scratch=0.0)
def any(x: Array, /, *, axis: Axes = None, keepdims: KeepDims = False) -> Partial:
    """Tell whether any element, or any along some axes, is not 0, as `numpy.any`; NaN is not 0.

    Examples
    --------
    touched: {op: any, of: mask, axis: time}
    """
    return (x.any(axis=axis, keepdims=True),)


def both(first: Partial, second: Partial) -> Partial:
    """Whether it holds for both."""
    return (first[0] & second[0],)


@reduction(combine=both, finalize=as_is, meta=told, scratch=0.0)
def all(x: Array, /, *, axis: Axes = None, keepdims: KeepDims = False) -> Partial:
    """Tell whether all elements, or all along some axes, are not 0, as `numpy.all`; NaN is not 0.

    Examples
    --------
    steady: {op: all, of: mask, axis: time}
    """
    return (x.all(axis=axis, keepdims=True),)


def counted(meta: Meta, *, axis: tuple[int, ...], keepdims: bool) -> Meta:
    """The meta of a number of elements."""
    return reduced(meta, axis, np.int64, keepdims=keepdims)


def flagging(meta: Meta) -> float:
    """Scratch of one boolean for each element."""
    return 2.0 / meta.dtype.itemsize


@reduction(combine=add, finalize=as_is, meta=counted, scratch=flagging)
def count_nonzero(x: Array, /, *, axis: Axes = None, keepdims: KeepDims = False) -> Partial:
    """Count the elements that are not 0, as `numpy.count_nonzero`; NaN is not 0.

    Examples
    --------
    area: {op: count_nonzero, of: mask, axis: [y, x]}
    """
    return ((x != 0).sum(axis=axis, dtype=np.int64, keepdims=True),)


@reduction(combine=add, finalize=as_is, meta=counted, scratch=flagging)
def count(x: Array, /, *, axis: Axes = None, keepdims: KeepDims = False, xp: Namespace) -> Partial:
    """Count the elements that are not NaN, as `xarray.DataArray.count`.

    Examples
    --------
    clear: {op: count, of: stack, axis: time}
    """
    return (count_of(x, missing(x, skipna=True, xp=xp), axis, xp),)

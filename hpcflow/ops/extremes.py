"""The smallest and the largest elements, where they are, and those that come first and last.

The functions carry NumPy's names: within this file `min` and `max` are ops.
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from hpcflow.errors import Mismatch
from hpcflow.meta import Meta
from hpcflow.namespace import Array, Namespace
from hpcflow.ops._reduce import either, kept_shape, missing, not_empty, reduced, skipping, without
from hpcflow.parameters import Axes, KeepDims, SkipNa
from hpcflow.regions import Region, shape_of
from hpcflow.registry import Partial, reduction


def smallest(meta: Meta, *, axis: tuple[int, ...], keepdims: bool) -> Meta:
    """The meta of the smallest or largest elements."""
    not_empty(meta, axis)
    return reduced(meta, axis, meta.dtype, keepdims=keepdims)


def lower(first: Partial, second: Partial) -> Partial:
    """The smaller of both; NaN, where either is."""
    return (np.minimum(first[0], second[0]), *either(first[1:], second[1:]))


def higher(first: Partial, second: Partial) -> Partial:
    """The larger of both; NaN, where either is."""
    return (np.maximum(first[0], second[0]), *either(first[1:], second[1:]))


def as_found(partial: Partial, *, xp: Namespace) -> Array:
    """The extreme; NaN where there is no number."""
    value, *seen = partial
    return xp.where(seen[0], value, xp.nan).astype(value.dtype) if seen else value


def _extreme(name: str, x: Array, axis: Any, *, skipna: bool, xp: Namespace) -> Partial:
    """The extreme of a piece and, where NaN is left out, whether there is a number."""
    nan = missing(x, skipna=skipna, xp=xp)
    fill = np.inf if name == "min" else -np.inf
    found = getattr(without(x, nan, complex(fill, fill) if x.dtype.kind == "c" else fill, xp), name)
    return (found(axis=axis, keepdims=True), *([] if nan is None else [(~nan).any(axis=axis, keepdims=True)]))


@reduction(combine=lower, finalize=as_found, meta=smallest, scratch=skipping)
def min(
    x: Array, /, *, axis: Axes = None, keepdims: KeepDims = False, skipna: SkipNa = False, xp: Namespace
) -> Partial:
    """Find the smallest of all elements or of those along some axes, as `numpy.min` or `numpy.nanmin`.

    Where one of them is NaN, so is the result, unless it is left out.

    Examples
    --------
    lowest: {op: min, of: stack, axis: time}
    """
    return _extreme("min", x, axis, skipna=skipna, xp=xp)


@reduction(combine=higher, finalize=as_found, meta=smallest, scratch=skipping)
def max(
    x: Array, /, *, axis: Axes = None, keepdims: KeepDims = False, skipna: SkipNa = False, xp: Namespace
) -> Partial:
    """Find the largest of all elements or of those along some axes, as `numpy.max` or `numpy.nanmax`.

    Where one of them is NaN, so is the result, unless it is left out.

    Examples
    --------
    peak: {op: max, of: stack, axis: time}
    """
    return _extreme("max", x, axis, skipna=skipna, xp=xp)


def ranged(meta: Meta, *, axis: tuple[int, ...], keepdims: bool) -> Meta:
    """The meta of the range."""
    if meta.dtype.kind == "b":
        raise Mismatch(
            "expected numbers to take the range of, found bool", hint="`op: any` and `op: all` tell what is there"
        )
    return smallest(meta, axis=axis, keepdims=keepdims)


def wider(first: Partial, second: Partial) -> Partial:
    """The extremes of both."""
    return np.minimum(first[0], second[0]), np.maximum(first[1], second[1]), *either(first[2:], second[2:])


def apart(partial: Partial, *, xp: Namespace) -> Array:
    """The largest less the smallest, in the array's dtype."""
    lowest, highest, *seen = partial
    with np.errstate(all="ignore"):
        return as_found((highest - lowest, *seen), xp=xp)


@reduction(combine=wider, finalize=apart, meta=ranged, scratch=skipping)
def ptp(
    x: Array, /, *, axis: Axes = None, keepdims: KeepDims = False, skipna: SkipNa = False, xp: Namespace
) -> Partial:
    """Take the range, largest less smallest, of all elements or of those along some axes, as `numpy.ptp`.

    It has the input's dtype: a range that does not fit signed integers wraps around, as NumPy's does.

    Examples
    --------
    swing: {op: ptp, of: stack, axis: time}
    """
    lowest = _extreme("min", x, axis, skipna=skipna, xp=xp)
    return lowest[0], *_extreme("max", x, axis, skipna=skipna, xp=xp)


def indexed(meta: Meta, *, axis: tuple[int, ...], keepdims: bool) -> Meta:
    """The meta of the indices."""
    not_empty(meta, axis)
    return reduced(meta, axis, np.int64, keepdims=keepdims)


def later(first: Partial, second: Partial) -> Partial:
    """The larger of both and its index; NaN is larger than any number, and of equals the first counts."""
    return _better(first, second, lambda a, b: b > a)


def earlier(first: Partial, second: Partial) -> Partial:
    """The smaller of both and its index; NaN is smaller than any number, and of equals the first counts."""
    return _better(first, second, lambda a, b: b < a)


def _better(first: Partial, second: Partial, wins: Any) -> Partial:
    (value1, index1, *seen1), (value2, index2, *seen2) = first, second
    nan1, nan2 = value1 != value1, value2 != value2  # noqa: PLR0124  (only NaN differs from itself)
    with np.errstate(invalid="ignore"):  # of comparing complex NaN
        other = ~nan1 & (nan2 | wins(value1, value2))
    equal = (value1 == value2) | (nan1 & nan2)
    other |= equal & (index2 < index1)
    seen = [a | b for a, b in zip(seen1, seen2, strict=True)]
    return np.where(other, value2, value1), np.where(other, index2, index1), *seen


def index(partial: Partial) -> Array:
    """The indices."""
    _, at, *seen = partial
    if seen and not seen[0].all():
        raise ValueError("expected a number along each reduced axis, found nothing but NaN")
    return at


def laid(meta: Meta, *, axis: tuple[int, ...], skipna: bool) -> float:
    """Scratch: a copy with the searched axes last, where they are not, and one without NaN."""
    last = sorted(axis) == list(range(meta.ndim - len(axis), meta.ndim))
    return (0.0 if last else 1.0) + (2.0 if skipna and meta.dtype.kind in "fc" else 0.0)


@reduction(combine=later, finalize=index, meta=indexed, scratch=laid)
def argmax(
    x: Array,
    /,
    *,
    axis: Axes = None,
    keepdims: KeepDims = False,
    skipna: SkipNa = False,
    region: Region,
    metas: list[Meta],
    xp: Namespace,
) -> Partial:
    """Find where the largest of all elements or of those along some axes is, as `numpy.argmax` or `numpy.nanargmax`.

    The result is an index along the axis, or over the flattened array in C order where there
    is more than one. Of equal elements the first counts, and the first NaN before all others.

    Examples
    --------
    brightest: {op: argmax, of: stack, axis: time}
    """
    return _arg("argmax", x, axis, skipna=skipna, region=region, metas=metas, xp=xp)


@reduction(combine=earlier, finalize=index, meta=indexed, scratch=laid)
def argmin(
    x: Array,
    /,
    *,
    axis: Axes = None,
    keepdims: KeepDims = False,
    skipna: SkipNa = False,
    region: Region,
    metas: list[Meta],
    xp: Namespace,
) -> Partial:
    """Find where the smallest of all elements or of those along some axes is, as `numpy.argmin` or `numpy.nanargmin`.

    The result is an index along the axis, or over the flattened array in C order where there
    is more than one. Of equal elements the first counts, and the first NaN before all others.

    Examples
    --------
    darkest: {op: argmin, of: stack, axis: time}
    """
    return _arg("argmin", x, axis, skipna=skipna, region=region, metas=metas, xp=xp)


def _arg(name: str, x: Array, axes: Any, *, skipna: bool, region: Region, metas: list[Meta], xp: Namespace) -> Partial:
    """The extreme of a piece, its index in the whole array and, where NaN is left out, whether there is a number."""
    searched = [i for i in range(x.ndim) if i in axes]
    left = [i for i in range(x.ndim) if i not in axes]
    shape = kept_shape(x.shape, axes)
    nan = missing(x, skipna=skipna, xp=xp)
    x = without(x, nan, -np.inf if name == "argmax" else np.inf, xp)
    rows = x.transpose(left + searched).reshape([*(x.shape[i] for i in left), prod(x.shape[i] for i in searched)])
    within = getattr(rows, name)(axis=-1)
    value = xp.take_along_axis(rows, within[..., None], axis=-1)
    # From an index within the piece to one within the whole array.
    inside = xp.unravel_index(within, shape_of(tuple(region[i] for i in searched)) or (1,))
    at = xp.zeros(within.shape, np.int64)
    for place, (i, one) in enumerate(zip(searched, inside, strict=False)):
        at += (one + region[i][0]) * prod(metas[0].shape[j] for j in searched[place + 1 :])
    seen = [] if nan is None else [(~nan).any(axis=axes, keepdims=True)]
    return value.reshape(shape), at.reshape(shape), *seen


def along(meta: Meta, *, axis: tuple[int, ...], keepdims: bool) -> Meta:
    """The meta of one element of each line."""
    if len(axis) != 1:
        raise Mismatch(f"expected one axis to take an end of, found {len(axis)}", parameter="axis")
    not_empty(meta, axis)
    return reduced(meta, axis, meta.dtype, keepdims=keepdims)


def kept_first(first: Partial, second: Partial) -> Partial:
    """The first where it holds a number, else the second."""
    return np.where(first[1], first[0], second[0]), first[1] | second[1]


def kept_last(first: Partial, second: Partial) -> Partial:
    """The second where it holds a number, else the first."""
    return kept_first(second, first)


def value(partial: Partial) -> Array:
    """The elements."""
    return partial[0]


def first_part(x: Array, axis: Any, *, skipna: bool, backwards: bool, xp: Namespace) -> Partial:
    """The first or last element of a piece that counts, and whether there is one."""
    (one,) = axis
    turned = [slice(None, None, -1 if backwards and i == one else None) for i in range(x.ndim)]
    line = x[tuple(turned)]
    nan = missing(line, skipna=skipna, xp=xp)
    there = xp.full(line.shape, 1, np.int8) if nan is None else (~nan).astype(np.int8)
    shape = kept_shape(x.shape, axis)
    at = there.argmax(axis=one).reshape(shape)
    return xp.take_along_axis(line, at, axis=one), there.max(axis=axis, keepdims=True) > 0


@reduction(combine=kept_first, finalize=value, meta=along, scratch=2.0)
def first(
    x: Array,
    /,
    *,
    axis: Axes,
    keepdims: KeepDims = False,
    skipna: SkipNa = True,
    xp: Namespace,
) -> Partial:
    """Take the first element along an axis that is not NaN; NaN, where all are.

    Parameters
    ----------
    axis : axis
        The axis, by name or number.

    Examples
    --------
    start: {op: first, of: stack, axis: time}
    """
    return first_part(x, axis, skipna=skipna, backwards=False, xp=xp)


@reduction(combine=kept_last, finalize=value, meta=along, scratch=2.0)
def last(
    x: Array,
    /,
    *,
    axis: Axes,
    keepdims: KeepDims = False,
    skipna: SkipNa = True,
    xp: Namespace,
) -> Partial:
    """Take the last element along an axis that is not NaN; NaN, where all are.

    Parameters
    ----------
    axis : axis
        The axis, by name or number.

    Examples
    --------
    newest: {op: last, of: stack, axis: time}
    """
    return first_part(x, axis, skipna=skipna, backwards=True, xp=xp)

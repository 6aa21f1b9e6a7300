"""What the reductions have in common: the shape that is left, and dtypes safe to accumulate in."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import Any

import numpy as np

from hpcflow.casting import cast
from hpcflow.errors import Mismatch
from hpcflow.meta import Meta
from hpcflow.namespace import Array, Namespace
from hpcflow.operation import Partial
from hpcflow.ops._wraps import limits, wrapping
from hpcflow.regions import Shape


def reduced(meta: Meta, axis: tuple[int, ...], dtype: Any, *, keepdims: bool) -> Meta:
    """The meta without the reduced axes, or with them of length 1."""
    if meta.ndim and not axis:
        raise Mismatch("expected at least one axis, found none", parameter="axis")
    left = [i for i in range(meta.ndim) if keepdims or i not in axis]
    shape = [1 if i in axis else meta.shape[i] for i in left]
    return Meta(tuple(shape), dtype, tuple(meta.dims[i] for i in left))


def kept_shape(shape: Shape, axis: tuple[int, ...]) -> Shape:
    """The shape of a partial: the reduced axes have length 1."""
    return tuple(1 if i in axis else n for i, n in enumerate(shape))


def elements(meta: Meta, axis: tuple[int, ...]) -> int:
    """How many elements become one."""
    return prod(meta.shape[i] for i in axis)


def not_empty(meta: Meta, axis: tuple[int, ...]) -> None:
    """Refuse to look for one of no elements."""
    if elements(meta, axis) == 0:
        raise Mismatch(f"expected at least one element along the reduced axes, found shape {meta.shape}")


def missing(x: Array, *, skipna: bool, xp: Namespace) -> Array | None:
    """Where the elements are that are left out; `None` where the dtype has no NaN, or none is left out."""
    return xp.isnan(x) if skipna and x.dtype.kind in "fc" else None


def without(x: Array, nan: Array | None, fill: complex, xp: Namespace) -> Array:
    """The array with `fill` in place of what is left out."""
    return x if nan is None else xp.where(nan, x.dtype.type(fill), x)


def count_of(x: Array, nan: Array | None, axis: Any, xp: Namespace) -> Array:
    """How many elements count, with the reduced axes of length 1."""
    if nan is not None:
        return (~nan).sum(axis=axis, dtype=np.int64, keepdims=True)
    shape = kept_shape(x.shape, axis)
    return xp.full(shape, prod(n for i, n in enumerate(x.shape) if i in axis), np.int64)


def float_dtype(source: Any, dtype: str | None) -> np.dtype[Any]:
    """The dtype of a mean or a spread, as NumPy's: float64 for whole numbers and bools."""
    source = np.dtype(source)
    return np.dtype(dtype or (source if source.kind in "fc" else np.float64))


def accumulator(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The dtype to add up in: float32 loses a one beside 2**24 ones."""
    return np.result_type(dtype, np.float64) if dtype.kind in "fc" else dtype


def added(x: Array, axis: Any, dtype: np.dtype[Any], xp: Namespace, how: str = "sum") -> Array:
    """The sum (or product) along some axes, which stay with length 1, for a result of this dtype."""
    if x.dtype.kind == "f" and dtype.kind in "iu":
        x = cast(x, dtype, xp)
    return getattr(x, how)(axis=axis, dtype=accumulator(dtype), keepdims=True)


def adding(meta: Meta, *, dtype: str | None, skipna: bool) -> float:
    """Scratch of `added`: floats as integers, where the result is to hold those, and NaN left out."""
    rounded = 3.0 if dtype and meta.dtype.kind == "f" and np.dtype(dtype).kind in "iu" else 0.0
    return rounded + skipping(meta, skipna=skipna)


def doubts(meta: Meta, *, axis: tuple[int, ...], dtype: str | None) -> Iterator[Mismatch]:
    """Sums in a dtype of small integers."""
    if dtype and np.dtype(dtype).kind in "iu" and meta.dtype.kind in "biu":
        (low, high), n = limits(meta.dtype), elements(meta, axis)
        yield from wrapping(np.dtype(dtype), low * n, high * n, "the sum")


def real(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The dtype of a complex number's parts; any other's own."""
    return np.zeros((), dtype).real.dtype


def not_complex_to_real(source: np.dtype[Any], target: np.dtype[Any]) -> None:
    """Refuse a dtype that would drop imaginary parts."""
    if source.kind == "c" and target.kind != "c":
        raise Mismatch(
            f"expected a complex dtype for {source} input, found {target}",
            parameter="dtype",
            hint="take `real(x)` or `abs(x)` first, with `op: expr`",
        )


def either(first: Partial, second: Partial) -> Partial:
    """Whether one of both holds a number."""
    return tuple(a | b for a, b in zip(first, second, strict=True))


def skipping(meta: Meta, *, skipna: bool) -> float:
    """Scratch of leaving NaN out: where it is, and a copy without it."""
    return 1.0 + 1.0 / meta.dtype.itemsize if skipna and meta.dtype.kind in "fc" else 0.0

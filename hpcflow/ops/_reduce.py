"""What the reductions have in common: the shape that is left, and dtypes safe to accumulate in."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from hpcflow.casting import cast
from hpcflow.errors import Mismatch
from hpcflow.meta import Meta
from hpcflow.namespace import Array, Namespace
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


def count(meta: Meta, axis: tuple[int, ...]) -> int:
    """How many elements become one."""
    return prod(meta.shape[i] for i in axis)


def not_empty(meta: Meta, axis: tuple[int, ...], name: str) -> None:
    """Refuse to look for the largest of no elements."""
    if count(meta, axis) == 0:
        raise Mismatch(f"expected at least one element to take the `{name}` of, found shape {meta.shape}")


def accumulator(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The dtype to add up in: float32 loses a one beside 2**24 ones."""
    return np.result_type(dtype, np.float64) if dtype.kind in "fc" else dtype


def added(x: Array, axis: Any, dtype: np.dtype[Any], xp: Namespace) -> Array:
    """The sum along some axes, which stay with length 1, for a result of this dtype."""
    if x.dtype.kind == "f" and dtype.kind in "iu":
        x = cast(x, dtype, xp)
    return x.sum(axis=axis, dtype=accumulator(dtype), keepdims=True)


def rounded(meta: Meta, *, dtype: str | None) -> float:
    """Scratch of `added`: floats as integers, where the result is to hold those."""
    return 3.0 if dtype and meta.dtype.kind == "f" and np.dtype(dtype).kind in "iu" else 0.0


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

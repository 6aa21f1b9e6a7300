"""Sums."""

from __future__ import annotations

from typing import Any

import numpy as np

from hpcflow.meta import Meta
from hpcflow.namespace import Array, Namespace
from hpcflow.ops._reduce import added, not_complex_to_real, reduced, rounded
from hpcflow.parameters import Axes, DType
from hpcflow.registry import Partial, reduction


def result_dtype(source: Any, dtype: str | None) -> np.dtype[Any]:
    """The result's dtype, as NumPy's: whole numbers and bools become 64 bits wide."""
    return np.dtype(dtype) if dtype else np.add.reduce(np.zeros(1, source)).dtype


def made(meta: Meta, *, axis: tuple[int, ...], dtype: str | None, keepdims: bool) -> Meta:
    """The meta of the sum."""
    target = result_dtype(meta.dtype, dtype)
    not_complex_to_real(meta.dtype, target)
    return reduced(meta, axis, target, keepdims=keepdims)


def combine(first: Partial, second: Partial) -> Partial:
    """The sum of both."""
    return (first[0] + second[0],)


def finalize(partial: Partial, *, metas: list[Meta], dtype: str | None) -> Array:
    """The sum in the result's dtype."""
    with np.errstate(over="ignore"):
        return partial[0].astype(result_dtype(metas[0].dtype, dtype))


@reduction(combine=combine, finalize=finalize, meta=made, scratch=rounded, version=2)
def sum(
    x: Array,
    /,
    *,
    axis: Axes = None,
    dtype: DType | None = None,
    keepdims: bool = False,  # noqa: ARG001  (the runner reads it)
    xp: Namespace,
) -> Partial:
    """Add up all elements or those along some axes, as `numpy.sum`.

    Floats are added up in float64, whatever the result's dtype.

    Parameters
    ----------
    axis : axis or list of axes
        What to add up along; all of it by default.
    dtype : str, optional
        Of the result. By default the input's, but 64 bits wide for whole numbers and bools.
    keepdims : bool
        Whether the axes stay, with length 1.

    Examples
    --------
    profile: {op: sum, of: plane, axis: y}
    """
    return (added(x, axis, result_dtype(x.dtype, dtype), xp),)

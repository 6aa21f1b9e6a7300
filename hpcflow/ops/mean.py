"""Means."""

from __future__ import annotations

from typing import Any

import numpy as np

from hpcflow.casting import cast
from hpcflow.meta import Meta
from hpcflow.namespace import Array, Namespace
from hpcflow.ops._reduce import added, count, not_complex_to_real, reduced, rounded
from hpcflow.parameters import Axes, DType
from hpcflow.registry import Partial, reduction


def result_dtype(source: Any, dtype: str | None) -> np.dtype[Any]:
    """The result's dtype, as NumPy's: float64 for whole numbers and bools."""
    source = np.dtype(source)
    return np.dtype(dtype or (source if source.kind in "fc" else np.float64))


def made(meta: Meta, *, axis: tuple[int, ...], dtype: str | None, keepdims: bool) -> Meta:
    """The meta of the mean."""
    target = result_dtype(meta.dtype, dtype)
    not_complex_to_real(meta.dtype, target)
    return reduced(meta, axis, target, keepdims=keepdims)


def combine(first: Partial, second: Partial) -> Partial:
    """The sum of both; it is divided at the end."""
    return (first[0] + second[0],)


def finalize(partial: Partial, *, metas: list[Meta], axis: tuple[int, ...], dtype: str | None) -> Array:
    """The mean in the result's dtype."""
    with np.errstate(all="ignore"):
        return cast(partial[0] / count(metas[0], axis), result_dtype(metas[0].dtype, dtype), np)


@reduction(combine=combine, finalize=finalize, meta=made, scratch=rounded, version=2)
def mean(
    x: Array,
    /,
    *,
    axis: Axes = None,
    dtype: DType | None = None,
    keepdims: bool = False,  # noqa: ARG001  (the runner reads it)
    xp: Namespace,
) -> Partial:
    """Take the mean of all elements or of those along some axes, as `numpy.mean`.

    Floats are added up in float64, whatever the result's dtype.

    Parameters
    ----------
    axis : axis or list of axes
        What to take the mean along; all of it by default.
    dtype : str, optional
        Of the result. By default the input's, but float64 for whole numbers and bools.
    keepdims : bool
        Whether the axes stay, with length 1.

    Examples
    --------
    average: {op: mean, of: stack, axis: time}
    """
    return (added(x, axis, result_dtype(x.dtype, dtype), xp),)

"""The largest elements."""

from __future__ import annotations

import numpy as np

from hpcflow.meta import Meta
from hpcflow.namespace import Array
from hpcflow.ops._reduce import not_empty, reduced
from hpcflow.parameters import Axes
from hpcflow.registry import Partial, reduction


def made(meta: Meta, *, axis: tuple[int, ...], keepdims: bool) -> Meta:
    """The meta of the largest elements."""
    not_empty(meta, axis, "max")
    return reduced(meta, axis, meta.dtype, keepdims=keepdims)


def combine(first: Partial, second: Partial) -> Partial:
    """The larger of both; NaN, where either is."""
    return (np.maximum(first[0], second[0]),)


def finalize(partial: Partial) -> Array:
    """The largest elements as they are."""
    return partial[0]


@reduction(combine=combine, finalize=finalize, meta=made, scratch=0.0)
def max(x: Array, /, *, axis: Axes = None, keepdims: bool = False) -> Partial:  # noqa: ARG001  (the runner reads it)
    """Find the largest of all elements or of those along some axes, as `numpy.max`.

    Where one of them is NaN, so is the result.

    Parameters
    ----------
    axis : axis or list of axes
        What to search along; all of it by default.
    keepdims : bool
        Whether the axes stay, with length 1.

    Examples
    --------
    peak: {op: max, of: stack, axis: time}
    """
    return (x.max(axis=axis, keepdims=True),)

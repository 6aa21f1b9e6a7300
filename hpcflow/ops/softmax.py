"""Scores to probabilities."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from hpcflow.errors import Mismatch
from hpcflow.meta import Meta
from hpcflow.namespace import Array, Namespace
from hpcflow.parameters import Axis
from hpcflow.registry import op


def result(meta: Meta) -> Meta:
    """Floats of the input's precision, float64 for integers."""
    if meta.dtype.kind not in "biuf":
        raise Mismatch(f"expected an input of real numbers, found {meta.dtype}")
    return replace(meta, dtype=_float(meta.dtype))


def _float(dtype: np.dtype[Any]) -> np.dtype[Any]:
    return dtype.newbyteorder("=") if dtype.kind == "f" else np.dtype(np.float64)


def scratch(meta: Meta, *, axis: int) -> float:
    """The largest value and the sum along the axis."""
    return (1 + _float(meta.dtype).itemsize / meta.dtype.itemsize) / max(meta.shape[axis], 1)


@op(whole="axis", meta=result, scratch=scratch, work=10)
def softmax(x: Array, /, *, axis: Axis = -1, xp: Namespace) -> Array:
    """Turn scores along an axis into probabilities that add up to 1, as `scipy.special.softmax`.

    Parameters
    ----------
    axis : axis
        The axis of the classes; the last by default.

    Examples
    --------
    probabilities: {op: softmax, of: scores}
    """
    # The axis is laid last in memory, so that a sum is pairwise, and the same in any block.
    x = xp.moveaxis(x, axis, -1)
    result = xp.empty(x.shape, _float(x.dtype))
    xp.subtract(x, x.max(axis=-1, keepdims=True), out=result, dtype=result.dtype)
    xp.exp(result, out=result)
    result /= result.sum(axis=-1, keepdims=True)
    return xp.moveaxis(result, -1, axis)

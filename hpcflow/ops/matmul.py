"""The product of two matrices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from hpcflow.errors import Mismatch
from hpcflow.meta import Meta
from hpcflow.namespace import Array, Namespace
from hpcflow.regions import Region
from hpcflow.registry import Reach, op


def result(a: Meta, b: Meta) -> Meta:
    """The rows of the first by the columns of the second; raises `Mismatch` where they do not fit."""
    if a.ndim < 2 or a.ndim != b.ndim or a.shape[:-2] != b.shape[:-2]:
        raise Mismatch(f"expected two matrices, or as many of each, found shapes {a.shape} and {b.shape}")
    if a.shape[-1] != b.shape[-2]:
        raise Mismatch(f"expected as many columns as the second has rows, found {a.shape[-1]} and {b.shape[-2]}")
    for meta in (a, b):
        if meta.dtype.kind not in "biufc":
            raise Mismatch(f"expected inputs of numbers, found {meta.dtype}")
    return Meta((*a.shape[:-1], b.shape[-1]), _dtype(a, b), (*a.dims[:-1], _column(a, b)))


def _dtype(a: Meta, b: Meta) -> np.dtype[Any]:
    return np.result_type(a.dtype, b.dtype)


def _column(a: Meta, b: Meta) -> str | None:
    """The last axis' name; none where the product of a matrix with itself would have it twice."""
    return None if b.dims[-1] in a.dims[:-1] else b.dims[-1]


def reach(out: Region, metas: Sequence[Meta]) -> Reach:
    """Whole rows of the first, whole columns of the second."""
    *stack, rows, columns = out
    length = (0, metas[0].shape[-1])
    return Reach(out, ((*stack, rows, length), (*stack, length, columns)))


@op(reach=reach, meta=result, scratch=0, work=200, tile=False)
def matmul(a: Array, b: Array, /, *, xp: Namespace) -> Array:
    """Multiply two matrices, as `numpy.matmul`: sums over the first's columns and the second's rows.

    With more than two axes, the last two are the matrices' and the others count them.

    Examples
    --------
    product: {op: matmul, of: [left, right]}
    """
    return xp.matmul(a, b)

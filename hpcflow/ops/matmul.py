"""The product of two matrices."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from hpcflow.clusters._limits import capped
from hpcflow.errors import Mismatch
from hpcflow.meta import Meta
from hpcflow.namespace import Array, Namespace
from hpcflow.ops._wraps import limits, wrapping
from hpcflow.regions import Region
from hpcflow.registry import Reach, op

PANEL = 512
"""Rows of the result that one thread makes at a time: enough that BLAS is as fast as on all of them.

BLAS would share out the rows itself, but by the number of its threads, on which the last bits then depend.
"""
MULTIPLIED = {"f": 0.014, "d": 0.028, "F": 0.056, "D": 0.112}
"""What a multiplication costs, in elements copied, where BLAS does it; measured at 70 GFLOP/s for each core."""
UNAIDED = 0.5
"""The same where NumPy does it."""


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


def work(meta: Meta, *, metas: Sequence[Meta]) -> float:
    """The multiplications behind one element of the result."""
    return metas[0].shape[-1] * MULTIPLIED.get(meta.dtype.char, UNAIDED)


def doubts(a: Meta, b: Meta) -> Iterator[Mismatch]:
    """Sums of products of small integers."""
    dtype = _dtype(a, b)
    if dtype.kind in "iu":
        most = max(map(abs, limits(dtype))) ** 2 * a.shape[-1]
        yield from wrapping(dtype, min(limits(dtype)), most, "`matmul`")


@op(reach=reach, meta=result, scratch=0, work=work, tile=False, doubts=doubts)
def matmul(a: Array, b: Array, /, *, cores: int, xp: Namespace) -> Array:
    """Multiply two matrices, as `numpy.matmul`: sums over the first's columns and the second's rows.

    With more than two axes, the last two are the matrices' and the others count them.

    Examples
    --------
    product: {op: matmul, of: [left, right]}
    """
    if xp is not np:
        return xp.matmul(a, b)
    out = np.empty((*a.shape[:-1], b.shape[-1]), np.result_type(a, b))
    panels = [(..., slice(first, first + PANEL), slice(None)) for first in range(0, a.shape[-2], PANEL)]
    with ThreadPoolExecutor(cores) as threads:
        list(threads.map(lambda panel: capped(np.matmul, a[panel], b, out[panel]), panels))
    return out

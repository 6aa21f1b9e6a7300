"""The best classes and their scores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from hpcflow.errors import Mismatch
from hpcflow.meta import Meta
from hpcflow.namespace import Array, Namespace, host
from hpcflow.parameters import Axis, PositiveInt
from hpcflow.regions import Region
from hpcflow.registry import Reach, op


def record(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """A class and its score, in a float dtype that holds the input's values."""
    return np.dtype([("class_id", np.int64), ("score", np.result_type(dtype, np.float32))])


def result(meta: Meta, *, k: int, axis: int) -> Meta:
    """Records, with `k` of them in place of the ranked axis."""
    if meta.dtype.kind not in "biuf":
        raise Mismatch(f"expected an input of real numbers, found {meta.dtype}")
    n = meta.shape[axis]
    if k > n:
        label = meta.dims[axis] or axis
        raise Mismatch(f"expected a `k` of at most {n}, the length of axis `{label}`, found {k}", parameter="k")
    rank = None if "rank" in meta.dims else "rank"
    dims = (*meta.dims[:axis], rank, *meta.dims[axis + 1 :])
    return Meta((*meta.shape[:axis], k, *meta.shape[axis + 1 :]), record(meta.dtype), dims, classes=n)


def reach(out: Region, metas: Sequence[Meta], *, k: int, axis: int) -> Reach:
    """All along the ranked axis."""

    def along(interval: tuple[int, int]) -> Region:
        return (*out[:axis], interval, *out[axis + 1 :])

    return Reach(along((0, k)), (along((0, metas[0].shape[axis])),))


def scratch(meta: Meta) -> float:
    """The values in reverse order, and the rank of each."""
    return 1 + 8 / meta.dtype.itemsize


@op(reach=reach, meta=result, scratch=scratch, work=100)
def top_k(x: Array, /, *, k: PositiveInt, axis: Axis = -1, xp: Namespace) -> Array:
    """Find the `k` greatest elements along an axis: which they are, and their values.

    The result holds records of `class_id` (from 0) and `score`, the greatest first. Of equal
    elements the one that comes first ranks first; NaN ranks last.

    Parameters
    ----------
    k : int
        How many.
    axis : axis
        The axis of the classes; the last by default.

    Examples
    --------
    labels: {op: top_k, of: probabilities, k: 5}
    """
    # Turned round, the greatest comes first, equals stay in order, and NaN, as ever, comes last.
    turned = xp.negative(x) if x.dtype.kind == "f" else xp.invert(x)
    ranked = xp.take(xp.argsort(turned, axis=axis, kind="stable"), xp.arange(k), axis=axis)
    records = np.empty(ranked.shape, record(x.dtype))  # CuPy has no records
    records["class_id"] = host(ranked)
    records["score"] = host(xp.take_along_axis(x, ranked, axis=axis))
    return records

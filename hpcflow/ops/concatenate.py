"""Arrays one behind the other along an axis."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

from hpcflow.meta import Meta
from hpcflow.namespace import Array, Namespace
from hpcflow.ops._joins import check_shapes, common_dims, common_dtype
from hpcflow.parameters import Axis
from hpcflow.regions import Region
from hpcflow.registry import Reach, op


def result(*metas: Meta, axis: int) -> Meta:
    """As long as all inputs together; raises `Mismatch` where they differ otherwise."""
    check_shapes(metas, apart_from=axis)
    shape = metas[0].shape
    length = sum(m.shape[axis] for m in metas)
    return Meta((*shape[:axis], length, *shape[axis + 1 :]), common_dtype(metas), common_dims(metas))


def reach(out: Region, metas: Sequence[Meta], *, axis: int) -> Reach:
    """The part of each input that it takes in."""
    start, stop = out[axis]
    ends = list(accumulate(m.shape[axis] for m in metas))
    needs: list[Region | None] = []
    for meta, end in zip(metas, ends, strict=True):
        first = end - meta.shape[axis]
        part = (max(start, first) - first, min(stop, end) - first)
        needs.append((*out[:axis], part, *out[axis + 1 :]) if part[0] < part[1] else None)
    return Reach(out, tuple(needs))


@op(reach=reach, meta=result, scratch=0)
def concatenate(*arrays: Array, axis: Axis = 0, metas: Sequence[Meta] = (), xp: Namespace) -> Array:
    """Put arrays one behind the other along an axis they have, as `numpy.concatenate`.

    Parameters
    ----------
    axis : axis
        The axis, by name or number; the first by default.

    Examples
    --------
    series: {op: concatenate, of: [morning, evening], axis: time}
    """
    # A block may lie in some of the inputs only; its dtype is that of all.
    return xp.concatenate(arrays, axis=axis, dtype=common_dtype(metas or arrays))

"""Axes in another order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from hpcflow.errors import Mismatch
from hpcflow.meta import Meta
from hpcflow.namespace import Array
from hpcflow.parameters import Axis
from hpcflow.regions import Region
from hpcflow.registry import Reach, op


def order(ndim: int, axes: Sequence[int] | None) -> tuple[int, ...]:
    """For each axis of the result, which of the input's it is."""
    return tuple(reversed(range(ndim))) if axes is None else tuple(axes)


def result(meta: Meta, *, axes: Sequence[int] | None) -> Meta:
    """The input's, in another order; raises `Mismatch` unless every axis is there once."""
    axes = order(meta.ndim, axes)
    if sorted(axes) != list(range(meta.ndim)):
        raise Mismatch(f"expected each of {meta.ndim} axes once, found {list(axes)}", parameter="axes")
    return replace(meta, shape=tuple(meta.shape[a] for a in axes), dims=tuple(meta.dims[a] for a in axes))


def reach(out: Region, metas: Sequence[Meta], *, axes: Sequence[int] | None) -> Reach:
    """The same elements."""
    there = dict(zip(order(metas[0].ndim, axes), out, strict=True))
    return Reach(out, (tuple(there[axis] for axis in range(metas[0].ndim)),))


@op(reach=reach, meta=result, scratch=0)
def transpose(x: Array, /, *, axes: list[Axis] | None = None) -> Array:
    """Put the axes into another order, as `numpy.transpose`.

    Parameters
    ----------
    axes : list of axes
        The input's axes, by name or number, in their new order; by default the reverse.

    Examples
    --------
    channels_last: {op: transpose, of: stack, axes: [y, x, channel]}
    """
    return x.transpose(axes)

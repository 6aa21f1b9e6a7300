"""Where the largest elements are."""

from __future__ import annotations

from math import prod
from typing import cast

import numpy as np

from hpcflow.meta import Meta
from hpcflow.namespace import Array, Namespace
from hpcflow.ops._reduce import kept_shape, not_empty, reduced
from hpcflow.parameters import Axes
from hpcflow.regions import Region, shape_of
from hpcflow.registry import Partial, reduction


def made(meta: Meta, *, axis: tuple[int, ...], keepdims: bool) -> Meta:
    """The meta of the indices."""
    not_empty(meta, axis, "argmax")
    return reduced(meta, axis, np.int64, keepdims=keepdims)


def combine(first: Partial, second: Partial) -> Partial:
    """The larger of both and its index; NaN is larger than any number, and of equals the first counts."""
    (value1, index1), (value2, index2) = first, second
    nan1, nan2 = value1 != value1, value2 != value2  # noqa: PLR0124  (only NaN differs from itself)
    with np.errstate(invalid="ignore"):  # of comparing complex NaN
        larger = ~nan1 & (nan2 | (value2 > value1))
    equal = (value1 == value2) | (nan1 & nan2)
    second_wins = larger | (equal & (index2 < index1))
    return np.where(second_wins, value2, value1), np.where(second_wins, index2, index1)


def finalize(partial: Partial) -> Array:
    """The indices."""
    return partial[1]


def scratch(meta: Meta, *, axis: tuple[int, ...]) -> float:
    """A copy with the searched axes last, where they are not there already."""
    return 0.0 if sorted(axis) == list(range(meta.ndim - len(axis), meta.ndim)) else 1.0


@reduction(combine=combine, finalize=finalize, meta=made, scratch=scratch)
def argmax(
    x: Array,
    /,
    *,
    axis: Axes = None,
    keepdims: bool = False,  # noqa: ARG001  (the runner reads it)
    region: Region,
    metas: list[Meta],
    xp: Namespace,
) -> Partial:
    """Find where the largest of all elements or of those along some axes is, as `numpy.argmax`.

    The result is an index along the axis, or over the flattened array in C order where there
    is more than one. Of equal elements the first counts, and the first NaN before all others.

    Parameters
    ----------
    axis : axis or list of axes
        What to search along; all of it by default.
    keepdims : bool
        Whether the axes stay, with length 1.

    Examples
    --------
    brightest: {op: argmax, of: stack, axis: time}
    """
    axes = cast("tuple[int, ...]", axis)
    searched = [i for i in range(x.ndim) if i in axes]
    left = [i for i in range(x.ndim) if i not in axes]
    shape = kept_shape(x.shape, axes)
    rows = x.transpose(left + searched).reshape([*(x.shape[i] for i in left), prod(x.shape[i] for i in searched)])
    within = rows.argmax(axis=-1)
    value = xp.take_along_axis(rows, within[..., None], axis=-1)
    # From an index within the piece to one within the whole array.
    inside = xp.unravel_index(within, shape_of(tuple(region[i] for i in searched)) or (1,))
    index = xp.zeros(within.shape, np.int64)
    for place, (i, at) in enumerate(zip(searched, inside, strict=False)):
        index += (at + region[i][0]) * prod(metas[0].shape[j] for j in searched[place + 1 :])
    return value.reshape(shape), index.reshape(shape)

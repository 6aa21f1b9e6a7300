"""Histograms."""

from __future__ import annotations

from typing import Annotated, Any, cast

import numpy as np
from pydantic import Field

from hpcflow.errors import Mismatch
from hpcflow.meta import Meta
from hpcflow.namespace import Array, Namespace
from hpcflow.ops._reduce import kept_shape, reduced
from hpcflow.parameters import Axes, PositiveInt
from hpcflow.registry import Partial, reduction

Number = Annotated[float, Field(allow_inf_nan=False)]
Range = Annotated[list[Number], Field(min_length=2, max_length=2)]


def made(meta: Meta, *, bins: int, range: list[float] | None, axis: tuple[int, ...]) -> Meta:
    """The axes that are left, and behind them one of the bins."""
    if meta.dtype.kind not in "biuf":
        raise Mismatch(f"expected real numbers, found {meta.dtype}")
    if range is None:
        _countable(meta, axis)
    else:
        if range[0] > range[1]:
            raise Mismatch(f"expected the lower end first, found {range}", parameter="range")
        try:
            _edges(meta.dtype, bins, range)
        except ValueError as error:
            raise Mismatch(f"expected bins that can be told apart, found {error}", parameter="bins") from None
    left = reduced(meta, axis, np.int64, keepdims=False)
    return Meta((*left.shape, bins), left.dtype, (*left.dims, None))


def _countable(meta: Meta, axis: tuple[int, ...]) -> None:
    """Without a range, each value is counted on its own: there must not be too many."""
    if meta.dtype.kind == "f" or meta.dtype.itemsize > 2 or len(axis) < meta.ndim:
        kind = "some axes" if len(axis) < meta.ndim else str(meta.dtype)
        raise Mismatch(
            f"expected a `range` for the histogram of {kind}, found none",
            parameter="range",
            hint="give `range: [lowest, highest]`; the steps `min` and `max` find them",
        )


def _edges(dtype: np.dtype[Any], bins: int, range: list[float]) -> np.ndarray[Any, Any]:
    return np.histogram_bin_edges(np.empty(0, np.uint8 if dtype.kind == "b" else dtype), bins, (range[0], range[1]))


def combine(first: Partial, second: Partial) -> Partial:
    """The counts of both."""
    return (first[0] + second[0],)


def finalize(partial: Partial, *, metas: list[Meta], bins: int, range: list[float] | None) -> Array:
    """The counts; those of single values are put into bins now that the lowest and the highest are known."""
    (counts,) = partial
    if range is not None:
        return counts
    flat = counts.reshape(-1)
    there = flat.nonzero()[0]
    dtype = np.dtype(np.uint8) if metas[0].dtype.kind == "b" else metas[0].dtype
    values = (there + np.iinfo(dtype).min).astype(dtype)
    binned, _ = np.histogram(values, bins, weights=flat[there])
    return binned.reshape([*counts.shape[:-1], bins]).astype(np.int64)


def scratch(meta: Meta) -> float:
    """For each element the number of its row and of its bin, and the element as the bins' dtype."""
    return 24 / meta.dtype.itemsize


@reduction(combine=combine, finalize=finalize, meta=made, scratch=scratch)
def histogram(
    x: Array, /, *, bins: PositiveInt = 10, range: Range | None = None, axis: Axes = None, xp: Namespace
) -> Partial:
    """Count how many elements fall into each of some bins of equal width, as `numpy.histogram`.

    The result has an axis of the bins in place of those that were counted along, behind the
    axes that are left. An element on the edge of two bins counts for the upper one, but the
    last bin holds its upper edge too. NaN and what lies outside `range` is not counted.

    Parameters
    ----------
    bins : int
        How many bins.
    range : list of float, optional
        The lower end of the first bin and the upper end of the last. It may be left out where
        all of an array of 8-bit or 16-bit whole numbers is counted: it is then the lowest
        and the highest of them.
    axis : axis or list of axes
        What to count along; all of it by default.

    Examples
    --------
    levels: {op: histogram, of: photo, bins: 64, range: [0, 256]}
    """
    axes = cast("tuple[int, ...]", axis)
    if x.dtype.kind == "b":
        x = x.view(np.uint8)
    shape = kept_shape(x.shape, axes)
    if range is None:
        limits = np.iinfo(x.dtype)
        counts = xp.bincount(x.reshape(-1).astype(np.int64) - limits.min, minlength=limits.max - limits.min + 1)
    elif len(axes) == x.ndim:
        counts = xp.histogram(x, bins, (range[0], range[1]))[0]
    else:
        counts = _by_row(x, bins, range, axes, xp)
    return (counts.reshape([*shape, -1]).astype(np.int64),)


def _by_row(x: Array, bins: int, range: list[float], axis: tuple[int, ...], xp: Namespace) -> Array:
    """A histogram for each place along the axes that are left, all of them at once."""
    left = [i for i in np.arange(x.ndim) if i not in axis]
    rows = x.transpose([*left, *axis]).reshape(-1, int(np.prod([x.shape[i] for i in axis])))
    edges = xp.asarray(_edges(x.dtype, bins, range))
    # As NumPy: compared in the elements' own dtype, then binned in that of the edges.
    low, high = (range[0] - 0.5, range[1] + 0.5) if range[0] == range[1] else range
    row, column = xp.nonzero((rows >= low) & (rows <= high))
    place = xp.searchsorted(edges, rows[row, column].astype(edges.dtype), side="right") - 1
    place = xp.minimum(place, bins - 1)
    return xp.bincount(row * bins + place, minlength=len(rows) * bins)

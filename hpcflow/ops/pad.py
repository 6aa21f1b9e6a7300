"""Elements added at the ends of axes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np

from hpcflow.errors import Mismatch
from hpcflow.meta import Meta
from hpcflow.namespace import Array, Namespace
from hpcflow.parameters import Axis, NonNegativeInt, Number
from hpcflow.regions import Interval, Region, shape_of
from hpcflow.registry import Reach, op

Width = NonNegativeInt | list[NonNegativeInt]
"""How many elements are added at both ends, or before and behind."""


def widths(meta: Meta, pad_width: Any) -> list[Interval]:
    """How many elements are added before and behind, for each axis."""
    each = pad_width if isinstance(pad_width, dict) else dict.fromkeys(range(meta.ndim), pad_width)
    both = [each.get(axis, 0) for axis in range(meta.ndim)]
    return [(one, one) if isinstance(one, int) else (one[0], one[-1]) for one in both]


def padded(meta: Meta, *, pad_width: Any, mode: str, constant_values: float) -> Meta:
    """The meta with what is added; raises `Mismatch` for what does not fit."""
    if meta.dtype.kind in "iu" and not np.iinfo(meta.dtype).min <= constant_values <= np.iinfo(meta.dtype).max:
        raise Mismatch(
            f"expected a constant that {meta.dtype} can hold, found {constant_values}", parameter="constant_values"
        )
    listed = pad_width.values() if isinstance(pad_width, dict) else [pad_width]
    wrong = [one for one in listed if isinstance(one, list) and len(one) != 2]
    if wrong:
        raise Mismatch(
            f"expected how many elements come before and behind, found {len(wrong[0])} numbers", parameter="pad_width"
        )
    each = widths(meta, pad_width)
    if mode != "constant" and any(n == 0 and sum(w) for n, w in zip(meta.shape, each, strict=True)):
        raise Mismatch(f"expected elements to pad with along each axis, found shape {meta.shape}", parameter="mode")
    return replace(meta, shape=tuple(n + a + b for n, (a, b) in zip(meta.shape, each, strict=True)))


def folded(at: Any, extent: int, mode: str) -> Any:
    """The elements of one axis that stand at positions from its start on; outside of it for `constant`."""
    if mode == "edge":
        return np.clip(at, 0, extent - 1)
    if mode == "wrap":
        return at % extent
    if mode == "constant":
        return at
    period = 2 * extent if mode == "symmetric" else max(2 * extent - 2, 1)
    at %= period
    return np.where(at < extent, at, period - at - (mode == "symmetric"))


def _ends(start: int, stop: int, extent: int, mode: str) -> Any:
    """Positions of an interval among which are those of the first and the last element that it shows."""
    periods = {"wrap": extent, "symmetric": 2 * extent, "reflect": max(2 * extent - 2, 1)}
    period = periods.get(
        mode, max(stop - start, extent) + abs(start)
    )  # else longer than the interval: none comes again
    turns = [start + (turn - start) % period for turn in (0, extent - 1)] if period else []
    return np.array([one for one in (start, *turns, stop - 1) if start <= one < stop], np.intp)


def shown(out: Region, metas: Sequence[Meta], *, pad_width: Any, mode: str) -> Reach:
    """What of the input the region shows; the input is not needed where that is nothing."""
    (meta,) = metas
    need: list[Interval] = []
    for (start, stop), (before, _), n in zip(out, widths(meta, pad_width), meta.shape, strict=True):
        at = folded(_ends(start - before, stop - before, n, mode), n, mode)
        at = at[(at >= 0) & (at < n)]
        if not at.size:
            return Reach(out, (None,))
        need.append((int(at.min()), int(at.max()) + 1))
    return Reach(out, (tuple(need),))


def _stretches(reach: Reach, meta: Meta, pad_width: Any, mode: str) -> Iterator[tuple[slice, Any]]:
    """For each axis, where the input goes, and which of what is read: a slice where that lies in order."""
    (need,) = reach.needs
    for one, (before, _), (start, _), n in zip(
        reach.made, widths(meta, pad_width), need or (), meta.shape, strict=True
    ):
        at = folded(np.arange(*one) - before, n, mode)
        there = np.flatnonzero((at >= 0) & (at < n))
        place, at = slice(int(there[0]), int(there[-1]) + 1), at[there] - start
        yield place, slice(int(at[0]), int(at[-1]) + 1) if (np.diff(at) == 1).all() else at


@op(reach=shown, meta=padded, scratch=1.0)
def pad(
    *held: Array,
    pad_width: Width | dict[Axis, Width],
    mode: Literal["constant", "edge", "reflect", "symmetric", "wrap"] = "constant",
    constant_values: Number = 0,
    metas: Sequence[Meta],
    reach: Reach,
    xp: Namespace,
) -> Array:
    """Add elements at the ends of axes, as `numpy.pad`.

    Parameters
    ----------
    pad_width : int, list of two int, or mapping of axis to these
        How many, at both ends or before and behind; for all axes or for each that is named.
    mode : str
        What they are: a constant, the `edge`, the array mirrored about its last element (`reflect`)
        or about its end (`symmetric`), or its other end (`wrap`).
    constant_values : number
        The constant.

    Examples
    --------
    framed: {op: pad, of: plane, pad_width: {y: 8, x: [0, 16]}, mode: reflect}
    """
    out = xp.full(shape_of(reach.made), constant_values, metas[0].dtype)
    if not held:
        return out
    inside = []
    x = held[0]
    for axis, (place, at) in enumerate(_stretches(reach, metas[0], pad_width, mode)):
        inside.append(place)
        x = x[*((slice(None),) * axis), at, ...] if isinstance(at, slice) else xp.take(x, xp.asarray(at), axis=axis)
    out[tuple(inside)] = x
    return out

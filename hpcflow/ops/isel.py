"""Elements picked by position: crops, strides, single planes, and any others."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from math import prod
from typing import Annotated, Any

import numpy as np
from pydantic import AfterValidator, Field

from hpcflow.errors import Mismatch
from hpcflow.expectations import Says
from hpcflow.meta import Meta
from hpcflow.namespace import Array, Namespace
from hpcflow.parameters import Axis
from hpcflow.regions import Interval, Region
from hpcflow.registry import Reach, op
from hpcflow.scalars import short

POSITIONS = "a position, or a range of them as `start:stop:step`, or a list of positions"
NUMBER = r"\s*(-?\d{1,18})?\s*"
SLICE = ("start", "stop", "step")


def _well_formed(index: Any) -> Any:
    text = isinstance(index, str) and not re.fullmatch(f"{NUMBER}:{NUMBER}(:{NUMBER})?", index)
    if text or (isinstance(index, dict) and not {*index} <= {*SLICE}):
        raise ValueError(POSITIONS)
    return index


Index = Annotated[
    int | str | list[int] | list[bool] | dict[str, int | None],
    AfterValidator(_well_formed),
    Field(json_schema_extra={"examples": [0, "10:-10:2", [0, 5]]}),
    Says(POSITIONS, "positions, or ranges of them as `start:stop:step`, or lists"),
]
"""One position; a range of them as Python's slice, ``start:stop:step`` or a mapping of these; or a list."""


def slice_of(index: Any) -> slice:
    """A range of positions as Python's slice."""
    if isinstance(index, dict):
        return slice(*(index.get(name) for name in SLICE))
    return slice(*(int(part) if part.strip() else None for part in index.split(":")))


def picked(index: Any, extent: int) -> Sequence[int]:
    """The positions along an axis, from 0 on, in the order in which they are picked."""
    if isinstance(index, int):
        return range(index % extent, index % extent + 1)
    if isinstance(index, list):
        return _listed(tuple(index), extent, bool in {type(i) for i in index})
    return range(extent)[slice_of(index)]


@lru_cache(maxsize=64)
def _listed(index: tuple[int, ...], extent: int, mask: bool) -> tuple[int, ...]:  # noqa: FBT001  (0 equals False)
    return tuple(i for i, taken in enumerate(index) if taken) if mask else tuple(i % extent for i in index)


def result(meta: Meta, *, indexers: Mapping[int, Any]) -> Meta:
    """What is left; raises `Mismatch` where an index picks nothing."""
    for axis, index in indexers.items():
        _check(index, meta.shape[axis], meta.dims[axis] or axis)
    kept = _kept(meta.ndim, indexers)
    shape = tuple(
        len(picked(indexers[axis], meta.shape[axis])) if axis in indexers else meta.shape[axis] for axis in kept
    )
    return replace(meta, shape=shape, dims=tuple(meta.dims[axis] for axis in kept))


def _check(index: Any, extent: int, name: str | int) -> None:
    expected, given = "", index
    if isinstance(index, (dict, str)):
        if slice_of(index).step == 0:
            expected = "a step other than 0"
    elif isinstance(index, list) and index and isinstance(index[0], bool):
        if len(index) != extent:
            expected, given = f"a boolean for each of the {extent} elements", f"{len(index)} of them"
    else:
        given = next((i for i in (index if isinstance(index, list) else [index]) if not -extent <= i < extent), None)
        if given is not None:
            expected = f"a position from {-extent} to {extent - 1}"
    if not expected and not (index != [] and len(picked(index, extent))):
        expected, given = f"at least one of the {extent} elements", index if isinstance(index, str) else short(index)
    if expected:
        raise Mismatch(f"expected {expected} along axis `{name}`, found {given}", parameter="indexers")


def _kept(ndim: int, indexers: Mapping[int, Any]) -> list[int]:
    return [axis for axis in range(ndim) if not isinstance(indexers.get(axis), int)]


def reach(out: Region, metas: Sequence[Meta], *, indexers: Mapping[int, Any]) -> Reach:
    """From the first position that `out` picks to the last one, or a little more."""
    (meta,) = metas
    wanted = dict(zip(_kept(meta.ndim, indexers), out, strict=True))
    return Reach(out, (tuple(_span(axis, n, wanted, indexers) for axis, n in enumerate(meta.shape)),))


def _span(axis: int, extent: int, wanted: Mapping[int, Interval], indexers: Mapping[int, Any]) -> Interval:
    if axis not in indexers:
        return wanted[axis]
    positions = picked(indexers[axis], extent)
    if axis in wanted:
        positions = positions[slice(*wanted[axis])]
    if isinstance(positions, range):
        return min(positions[0], positions[-1]), max(positions[0], positions[-1]) + 1
    # As far as any as many neighbours lie apart: a plan made for one block then holds for all of them.
    length = _widest(tuple(picked(indexers[axis], extent)), len(positions))
    start = min(*positions, extent - length)
    return start, start + length


@lru_cache(maxsize=256)
def _widest(positions: tuple[int, ...], count: int) -> int:
    """How many elements lie between the first and the last of `count` neighbours, both included, at most."""
    least = most = np.array(positions)
    done = 1
    while done < count:  # windows twice as long out of two, the last of which may overlap
        step = min(done, count - done)
        least, most = np.minimum(least[:-step], least[step:]), np.maximum(most[:-step], most[step:])
        done += step
    return int((most - least).max()) + 1


def scratch(meta: Meta, *, indexers: Mapping[int, Any]) -> float:
    """Where there are several lists, what the first ones leave: at most the block, or the result."""
    lists = [picked(one, meta.shape[axis]) for axis, one in indexers.items() if isinstance(one, list)]
    return float(prod(max(Counter(one).values()) for one in lists)) if len(lists) > 1 else 0.0


@op(reach=reach, meta=result, scratch=scratch, version=2)
def isel(
    x: Array,
    /,
    *,
    indexers: dict[Axis, Index],
    metas: Sequence[Meta] = (),
    reach: Reach | None = None,
    xp: Namespace,
) -> Array:
    """Pick elements by position: crop, stride, reverse, reorder, or take one plane, as `xarray.DataArray.isel`.

    Parameters
    ----------
    indexers : mapping of axis to int, str, list or mapping
        For each axis, by name or number: one position, which drops the axis; a list of
        positions, in any order and as often as each is wanted, `[0, 5]`, or of a boolean for
        each element; or a range of positions as Python's slice, `start:stop`,
        `start:stop:step` or `{start: 0, stop: 10, step: 2}`. Negative positions count from the
        end; a negative step reverses.

    Examples
    --------
    crop: {op: isel, of: volume, indexers: {z: 10, y: "100:-100", x: [0, 5, -1]}}
    """
    shape = metas[0].shape if metas else x.shape
    chosen: dict[int, Any] = {int(axis): one for axis, one in indexers.items()}
    wanted = dict(zip(_kept(x.ndim, chosen), reach.made, strict=True)) if reach else {}
    index: list[Any] = [slice(None)] * x.ndim
    lists: list[tuple[float, int, Array]] = []
    for axis, one in chosen.items():
        positions = picked(one, shape[axis])[slice(*wanted.get(axis, (None,)))]
        start = reach.needs[0][axis][0] if reach and reach.needs[0] else 0
        if isinstance(one, int):
            index[axis] = positions[0] - start
        elif isinstance(positions, range):
            first, behind = positions.start - start, positions.stop - start
            index[axis] = slice(first, behind if behind >= 0 else None, positions.step)
        else:
            place = sum(not isinstance(chosen.get(i), int) for i in range(axis))
            lists.append((len(positions) / shape[axis], place, xp.asarray(positions) - start))
    x = x[(*index, ...)]  # with `...` an array even of no axes
    # Those that leave little first: nothing in between is larger than the block or the result.
    for _, place, positions in sorted(lists, key=lambda one: one[:2]):
        x = xp.take(x, positions, axis=place)
    return x

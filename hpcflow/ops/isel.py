"""Elements picked by position: crops, strides, single planes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from hpcflow.errors import Mismatch
from hpcflow.expectations import Says
from hpcflow.meta import Meta
from hpcflow.namespace import Array
from hpcflow.parameters import Axis
from hpcflow.regions import Interval, Region
from hpcflow.registry import Reach, op

POSITIONS = "a position, or a range of them as `start:stop:step` or a list"
NUMBER = r"\s*(-?\d+)?\s*"


def _well_formed(index: Any) -> Any:
    fits = not isinstance(index, str) or re.fullmatch(f"{NUMBER}:{NUMBER}(:{NUMBER})?", index)
    if not fits or (isinstance(index, list) and len(index) not in (2, 3)):
        raise ValueError(POSITIONS)
    return index


Index = Annotated[
    int | str | list[int | None],
    AfterValidator(_well_formed),
    Field(json_schema_extra={"examples": [0, "10:-10:2"]}),
    Says(POSITIONS, "positions, or ranges of them as `start:stop:step` or lists"),
]
"""One position, or a range of them as in Python: a string ``start:stop:step`` or a list."""


def slice_of(index: Any) -> slice:
    """A range of positions as Python's slice."""
    if isinstance(index, str):
        index = [int(part) if part.strip() else None for part in index.split(":")]
    return slice(*index)


def picked(index: Any, extent: int) -> range:
    """The positions along an axis, in the order in which they are picked."""
    if isinstance(index, int):
        return range(index % extent, index % extent + 1)
    return range(extent)[slice_of(index)]


def result(meta: Meta, *, indexers: Mapping[int, Any]) -> Meta:
    """What is left; raises `Mismatch` where an index picks nothing."""
    for axis, index in indexers.items():
        n = meta.shape[axis]
        name = meta.dims[axis] or axis
        if isinstance(index, int):
            if not -n <= index < n:
                raise Mismatch(
                    f"expected a position from {-n} to {n - 1} along axis `{name}`, found {index}",
                    parameter="indexers",
                )
        elif slice_of(index).step == 0:
            raise Mismatch(f"expected a step other than 0 along axis `{name}`, found {index}", parameter="indexers")
        elif not picked(index, n):
            raise Mismatch(
                f"expected at least one of the {n} elements along axis `{name}`, found {index}", parameter="indexers"
            )
    kept = _kept(meta.ndim, indexers)
    shape = tuple(
        len(picked(indexers[axis], meta.shape[axis])) if axis in indexers else meta.shape[axis] for axis in kept
    )
    return replace(meta, shape=shape, dims=tuple(meta.dims[axis] for axis in kept))


def _kept(ndim: int, indexers: Mapping[int, Any]) -> list[int]:
    return [axis for axis in range(ndim) if not isinstance(indexers.get(axis), int)]


def reach(out: Region, metas: Sequence[Meta], *, indexers: Mapping[int, Any]) -> Reach:
    """From the first position that `out` picks to the last one."""
    (meta,) = metas
    wanted = dict(zip(_kept(meta.ndim, indexers), out, strict=True))
    return Reach(out, (tuple(_span(axis, n, wanted, indexers) for axis, n in enumerate(meta.shape)),))


def _span(axis: int, extent: int, wanted: Mapping[int, Interval], indexers: Mapping[int, Any]) -> Interval:
    if axis not in indexers:
        return wanted[axis]
    positions = picked(indexers[axis], extent)
    if axis in wanted:
        positions = positions[slice(*wanted[axis])]
    return min(positions[0], positions[-1]), max(positions[0], positions[-1]) + 1


@op(reach=reach, meta=result, scratch=0)
def isel(x: Array, /, *, indexers: dict[Axis, Index], metas: Sequence[Meta] = ()) -> Array:
    """Pick elements by position: crop, stride, reverse, or take one plane, as `xarray.DataArray.isel`.

    Parameters
    ----------
    indexers : mapping of axis to int, str or list
        For each axis, by name or number: one position, which drops the axis, or a range of
        positions as in Python, `start:stop`, `start:stop:step` or a list of these. Negative
        positions count from the end; a negative step reverses.

    Examples
    --------
    crop: {op: isel, of: volume, indexers: {z: 10, y: "100:-100", x: "::2"}}
    """
    index: list[Any] = [slice(None)] * x.ndim
    for axis, one in indexers.items():
        at = one if isinstance(one, int) else slice_of(one)
        if metas:
            # A block begins and ends with a picked element, so where it lies makes no difference.
            at = 0 if isinstance(at, int) else slice(None, None, at.step)
        index[int(axis)] = at
    return x[(*index, ...)]  # with `...` an array even of no axes

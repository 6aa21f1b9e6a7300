"""Run a program for one region of its results."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from itertools import product

import numpy as np

from hpcflow.errors import BadItem, HpcflowError
from hpcflow.namespace import Array, Namespace
from hpcflow.program.program import Bounds, Program
from hpcflow.regions import Interval, Region, Shape, contains, shape_of, slices


class StepError(HpcflowError):
    """An op or a source failed; the runner adds the flow's line and the block."""

    def __init__(self, node: str, message: str) -> None:
        super().__init__(node, message)
        self.node = node
        self.message = message


def evaluate(
    program: Program,
    wanted: Mapping[str, Region],
    read: Callable[[str, Region], Array],
    xp: Namespace = np,
    bounds: Bounds | None = None,
) -> dict[str, Array]:
    """The `wanted` regions of a program's nodes.

    Parameters
    ----------
    program : Program
    wanted : mapping of str to Region
    read : callable
        ``(input name, region) -> array``; the region lies inside the input.
    xp : module
        The namespace that ops compute in.
    bounds : Bounds, optional
        ``program.bounds(wanted)``, where it is known already.

    Returns
    -------
    dict of str to array
        Views where that is free: a caller that keeps one keeps what it is a view of.

    Raises
    ------
    StepError
        Naming the node that failed. `BadItem` passes through.
    """
    bounds = bounds or program.bounds(wanted)
    held: dict[str, tuple[Region, Array]] = {}
    for name, meta in program.inputs.items():
        if name in bounds.regions:
            region = bounds.regions[name]
            held[name] = region, _read(name, read, region, meta.shape)
    last = {name: i for i, step in enumerate(program.steps) if step.name in bounds.reaches for name in step.of}
    for i, step in enumerate(program.steps):
        if step.name not in bounds.reaches:
            continue
        reach = bounds.reaches[step.name]
        arrays = [
            take(*held[name], need, program.metas[name].shape, xp)
            for name, need in zip(step.of, reach.needs, strict=True)
            if need is not None
        ]
        try:
            metas = [program.metas[name] for name in step.of]
            # NaN and infinity are answers; a warning from every block on every worker is noise.
            with np.errstate(all="ignore"):
                result = program.ops[step.name](
                    arrays, step.params, xp, metas=metas, reach=reach, prepared=step.prepared
                )
        except Exception as error:
            raise StepError(step.name, _words(error)) from error
        if result.shape != shape_of(reach.made):
            raise StepError(
                step.name, f"expected `{step.op}` to return shape {shape_of(reach.made)}, found {result.shape}"
            )
        held[step.name] = reach.made, result
        del arrays, result
        for name in {n for n in step.of if last[n] == i and n not in wanted}:
            held.pop(name, None)
    return {name: take(*held[name], region, program.metas[name].shape, xp) for name, region in wanted.items()}


def _read(name: str, read: Callable[[str, Region], Array], region: Region, shape: Shape) -> Array:
    try:
        return read_periodic(partial(read, name), region, shape)
    except (BadItem, StepError):
        raise
    except Exception as error:
        raise StepError(name, _words(error)) from error


def _words(error: Exception) -> str:
    if isinstance(error, HpcflowError):
        hint = getattr(error, "hint", "")
        return f"{error}\n  hint: {hint}" if hint else str(error)
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def take(held: Region, array: Array, want: Region, shape: Shape, xp: Namespace = np) -> Array:
    """The elements in `want` of an array that holds `held`; a view where `held` contains it.

    Where `want` leaves `held`, it is taken modulo the extent, and `held` must be the whole axis.
    """
    if contains(held, want):
        return array if held == want else array[slices(want, held)]
    for axis, ((a, b), (c, d), n) in enumerate(zip(want, held, shape, strict=True)):
        if c <= a and b <= d:
            index = slice(a - c, b - c)
            array = array[(slice(None),) * axis + (index,)]
        else:
            assert (c, d) == (0, n), "only a whole axis can be continued periodically"
            array = xp.take(array, xp.arange(a, b) % n, axis=axis)
    return array


def read_periodic(read: Callable[[Region], Array], region: Region, shape: Shape) -> Array:
    """Read a region that may reach beyond the array's ends, there continued periodically."""
    if all(a >= 0 and b <= n for (a, b), n in zip(region, shape, strict=True)):
        return read(region)
    axes = [_pieces(interval, n) for interval, n in zip(region, shape, strict=True)]
    blocks = {index: read(tuple(axes[i][j] for i, j in enumerate(index))) for index in product(*map(_indices, axes))}
    for axis in reversed(range(len(axes))):
        # Join along the last axis first, so that each key loses its last index.
        joined = {}
        for index in product(*map(_indices, axes[:axis])):
            row = [blocks[*index, j] for j in _indices(axes[axis])]
            joined[index] = row[0] if len(row) == 1 else np.concatenate(row, axis=axis)
        blocks = joined
    return blocks[()]


def _indices(pieces: list[Interval]) -> range:
    return range(len(pieces))


def _pieces(interval: Interval, extent: int) -> list[Interval]:
    """Cut an interval at multiples of the extent and move each piece inside."""
    start, stop = interval
    pieces = []
    while start < stop:
        inside = start % extent
        length = min(stop - start, extent - inside)
        pieces.append((inside, inside + length))
        start += length
    return pieces

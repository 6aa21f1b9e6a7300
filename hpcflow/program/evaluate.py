"""Run a program for one region of its results."""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping
from functools import partial
from itertools import product
from typing import Any

import numpy as np

from hpcflow.errors import BadItem, HpcflowError
from hpcflow.kernels.stencil import surrounded
from hpcflow.namespace import Array, Namespace
from hpcflow.program.program import Bounds, Fused, Program, Schedule, Step
from hpcflow.regions import Interval, Region, Shape, contains, shape_of, slices
from hpcflow.stopwatch import lap


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
    *,
    bounds: Bounds | None = None,
    schedule: Schedule | None = None,
    threads: int = 1,
    there: MutableMapping[str, Array] | None = None,
) -> dict[str, Any]:
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
    schedule : Schedule, optional
        How to run it, if not step by step.
    threads : int
        That an op may use.
    there : mutable mapping of str to array, optional
        Inputs that are there already, in the regions of `bounds`; they are taken out of it, so
        that each can be let go after its last use. The others are read.

    Returns
    -------
    dict of str to array
        Views where that is free: a caller that keeps one keeps what it is a view of. A loop of
        the schedule may give the partial of a reduction under the reduction's name; what it
        reduces is then left out, unless it is needed otherwise.

    Raises
    ------
    StepError
        Naming the node that failed. `BadItem` passes through.
    """
    bounds = bounds or program.bounds(wanted)
    schedule = schedule or program.schedule
    complete = len(bounds.reaches) == len(program.steps)
    last = schedule.last if complete else schedule.last_of(bounds)
    run = _Run(program, wanted, bounds, xp=xp, last=last, threads=threads)
    for name, meta in program.inputs.items():
        if name in bounds.regions:
            region = bounds.regions[name]
            array = there.pop(name) if there and name in there else read_input(name, read, region, meta.shape)
            run.held[name] = region, array
            lap(name)
    # NaN and infinity are answers; a warning from every block on every worker is noise.
    with np.errstate(all="ignore"):
        for i, unit in enumerate(schedule.units):
            run.unit(unit)
            run.drop(i, unit.of)
    return run.results()


class _Run:
    """What is held while a program is evaluated."""

    def __init__(
        self,
        program: Program,
        wanted: Mapping[str, Region],
        bounds: Bounds,
        *,
        xp: Namespace,
        last: Mapping[str, int],
        threads: int,
    ) -> None:
        self.program = program
        self.wanted = wanted
        self.bounds = bounds
        self.xp = xp
        self.last = last
        self.threads = threads
        self.held: dict[str, tuple[Region, Array]] = {}
        self.partials: dict[str, tuple[Array]] = {}

    def unit(self, unit: Step | Fused) -> None:
        """Run what of a unit is needed."""
        if isinstance(unit, Step):
            if unit.name in self.bounds.reaches:
                self.step(unit)
        elif self.fits(unit):
            self.loop(unit)
        else:
            for one in unit.apart:
                self.unit(one)

    def step(self, step: Step) -> None:
        """Run one step."""
        reach, op = self.bounds.reaches[step.name], self.program.ops[step.name]
        metas = self.program.metas
        asked = self.bounds.asked[step.name]
        region = asked if op.trims and contains(reach.made, asked) else reach.made
        arrays = [self.take(name, need) for name, need in zip(step.of, reach.needs, strict=True) if need is not None]
        try:
            kept = tuple((a - o, b - o) for (a, b), (o, _) in zip(region, reach.made, strict=True))
            given = {"reach": reach, "kept": kept, "prepared": step.prepared, "cores": self.threads}
            of = [metas[name] for name in step.of]
            if 0 in shape_of(region):
                # Not every library takes an array without elements.
                result = self.xp.empty(shape_of(region), step.meta.dtype)
            else:
                result = op(arrays, step.params, self.xp, metas=of, **given)
        except Exception as error:
            raise StepError(step.name, _words(error)) from error
        if result.shape != shape_of(region):
            raise StepError(step.name, f"expected `{step.op}` to return shape {shape_of(region)}, found {result.shape}")
        self.held[step.name] = region, result
        lap(step.name)

    def take(self, name: str, need: Region) -> Array:
        """The elements in `need` of a node that is held."""
        return take(*self.held[name], need, self.program.metas[name].shape, self.xp)

    def fits(self, unit: Fused) -> bool:
        """Whether the steps of a run are all needed, for one region: that of what they are reduced to."""
        asked = [self.bounds.asked.get(step.name) for step in unit.steps]
        asked += [self.wanted.get(name) for name in unit.reduced]
        return asked[0] is not None and all(one == asked[0] for one in asked)

    def loop(self, unit: Fused) -> None:
        """Run the loop of some steps."""
        region = self.bounds.asked[unit.steps[0].name] if unit.steps else self.wanted[unit.reduced[0]]
        needs: dict[str, Region] = {}
        for step in unit.steps:
            if self.program.ops[step.name].depth is None:
                needs.update(zip(step.of, self.bounds.reaches[step.name].needs, strict=True))  # type: ignore[arg-type]
        arrays = []
        for i, name in enumerate(unit.of):
            if (window := unit.windows.get(i)) is None:
                arrays.append(self.take(name, needs.get(name, region)))
            else:
                held, array = self.held[name]
                shape = self.program.metas[name].shape
                arrays.append(surrounded(array, held, region=region, window=window, shape=shape, xp=self.xp))
        try:
            outputs, values = unit.loop.run(arrays, shape_of(region), self.xp)
        except Exception as error:
            named = unit.steps[-1].name if unit.steps else unit.reductions[0]
            raise StepError(named, _words(error)) from error
        self.held.update({name: (region, array) for name, array in zip(unit.outputs, outputs, strict=True)})
        self.partials.update({name: (value,) for name, value in zip(unit.reductions, values, strict=True)})
        lap(unit.label)

    def drop(self, i: int, names: tuple[str, ...]) -> None:
        """Let go of what unit `i` was the last to read."""
        for name in names:
            if self.last.get(name) == i and name not in self.wanted:
                self.held.pop(name, None)

    def results(self) -> dict[str, Any]:
        """What is wanted, and the partials that loops gave."""
        arrays = {name: self.take(name, region) for name, region in self.wanted.items() if name in self.held}
        return {**arrays, **self.partials}


def read_input(name: str, read: Callable[[str, Region], Array], region: Region, shape: Shape) -> Array:
    """A region of an input, which may reach beyond its ends; `StepError` names the input."""
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
            # Of itself NumPy would turn foreign bytes around.
            joined[index] = row[0] if len(row) == 1 else np.concatenate(row, axis=axis, dtype=row[0].dtype)
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

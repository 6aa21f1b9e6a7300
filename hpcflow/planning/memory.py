"""What a task holds in memory, op by op, before anything runs.

The evaluation is played through on regions instead of arrays: inputs, results and scratch of
every step, and each array let go after its last use, exactly as `program.evaluate` does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

from hpcflow.meta import Source
from hpcflow.planning.stages import Stage
from hpcflow.program.program import Bounds, Program
from hpcflow.regions import Region, Shape, shape_of, size_of, tiles
from hpcflow.registry import call

WORKER_BASE = 220 * 2**20
"""A worker process with Dask, NumPy and SciPy imported, before its first task; measured."""
DRIVER_BASE = 260 * 2**20
"""The driver with the scheduler and the dashboard; measured."""


@dataclass(frozen=True)
class Held:
    """Bytes held while one step runs."""

    name: str
    inputs: int
    result: int
    scratch: int
    others: int
    """What later steps still need."""

    @property
    def total(self) -> int:
        """All of it."""
        return self.inputs + self.result + self.scratch + self.others


def tile_memory(program: Program, bounds: Bounds, wanted: Mapping[str, Region]) -> list[Held]:
    """What is held while each step makes one tile."""
    nbytes = {name: size_of(region) * program.metas[name].dtype.itemsize for name, region in bounds.regions.items()}
    steps = [step for step in program.steps if step.name in bounds.reaches]
    last = {name: i for i, step in enumerate(steps) for name in step.of}
    held = {name: nbytes[name] for name in program.inputs if name in nbytes}
    rows = []
    for i, step in enumerate(steps):
        inputs = sum(nbytes[name] for name in set(step.of) if name in held)
        scratch = program.ops[step.name].scratch
        metas = [program.metas[name] for name in step.of]
        shapes = [shape_of(need) for need in bounds.reaches[step.name].needs if need is not None]
        params = {**step.params, "shapes": shapes}
        factor = scratch if isinstance(scratch, (int, float)) else call(scratch, metas, params)
        others = sum(size for name, size in held.items() if name not in step.of)
        rows.append(Held(step.name, inputs, nbytes[step.name], int(factor * inputs), others))
        held[step.name] = nbytes[step.name]
        for name in [n for n in held if last.get(n, i + 1) <= i and n not in wanted]:
            del held[name]
    return rows or [Held("read", sum(held.values()), 0, 0, 0)]


def task_memory(stage: Stage, block: Shape, tile: Shape) -> int:
    """The most bytes that a task of this stage holds."""
    region = middle(stage.domain, block)
    wanted = stage.wanted(region)
    bounds = stage.program.bounds(wanted)
    metas = stage.program.metas
    total = 0
    for name, source in stage.sources.items():
        if name in bounds.regions:
            total += size_of(bounds.regions[name]) * metas[name].dtype.itemsize + _decode(source)
    if tile != block:
        total += sum(size_of(wanted[w.node]) * metas[w.node].dtype.itemsize for w in stage.writes)
    for reduce in stage.reduces:
        # Two partials of up to three float64 arrays each, as `std` keeps.
        kept = [1 if i in reduce.axes else n for i, n in enumerate(shape_of(wanted[reduce.of]))]
        total += 2 * 3 * 8 * prod(kept)
    part = stage.wanted(next(iter(tiles(region, tile))))
    rows = tile_memory(stage.program, stage.program.bounds(part), part)
    return total + max(row.total for row in rows)


def _decode(source: Source) -> int:
    """A decoded chunk and its encoded bytes, for a source that is decoded chunk by chunk."""
    return 0 if source.chunks is None else 2 * prod(source.chunks) * source.meta.dtype.itemsize


def middle(domain: Shape, block: Shape) -> Region:
    """A block that no edge cuts short, where there is one."""
    return tuple(
        (min((n // b) // 2, max(n // b - 1, 0)) * b, min(min((n // b) // 2, max(n // b - 1, 0)) * b + b, n))
        for n, b in zip(domain, block, strict=True)
    )

"""Choose block and tile shapes: what a task does, and what fits in cache.

Candidates are slabs (whole along the last axes) and near-cubes of several sizes, in multiples
of the grain. Each is costed by bounds inference on one block: elements made, weighed by the
op's work, plus elements decoded from storage in whole chunks, plus what a task costs as such.
An axis that an op must see from end to end thus never pays to cut, and is not.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from math import prod

from hpcflow.planning.memory import middle, task_memory
from hpcflow.planning.stages import Stage
from hpcflow.program.program import Step
from hpcflow.regions import Region, Shape, count_runs, grid, shape_of, size_of
from hpcflow.registry import Op, call

TASK_COST = 500_000
"""What a task costs beyond its elements, in elements made: about a millisecond."""
PARTIAL_COST = 20
"""What an element of a reduction's partial costs on its way through the driver."""
RUN_COST = 500
"""What every stretch of a file costs that a block reads or writes, in elements made: half a microsecond."""
LARGEST_BLOCK = 128 * 2**20
"""Bytes of the largest array in a block. Fixed, so that more workers give the same blocks."""
ENOUGH_BLOCKS = 16
"""Fewer blocks than this leave workers idle, or make resuming coarse."""
COMPILED = 2**27
"""Elements of an array from which on its elementwise steps are compiled."""
TILE = 2**20
"""Bytes of the largest array in a tile: about what stays in a core's L2 cache."""


def shaped(stage: Stage, budget: int, asked: Shape | None = None) -> Stage | None:
    """The stage with the block and tile shapes that cost least within `budget` bytes a task.

    `asked` is the block that the flow asks for, if it does: it is taken, in whole grains.
    `None` where not even the smallest block fits.
    """
    best: list[tuple[float, int, Shape, Shape]] = []
    for block in dict.fromkeys(_candidates(stage)) if asked is None else (_rounded(stage, asked),):
        tile = tile_shape(stage, block)
        memory = task_memory(stage, block, tile)
        if memory <= budget:
            best.append((cost(stage, block), memory, block, tile))
    if not best:
        return None
    least = min(entry[0] for entry in best)
    # Of those that cost about the same: slabs, which lie together in a file, then the least memory.
    near = [entry for entry in best if entry[0] <= 1.05 * least]
    _, memory, block, tile = min(near, key=lambda e: (_cuts(stage.domain, e[2]), e[1], e[0]))
    return replace(stage, block=block, tile=tile, task_memory=memory, compiled=compiles(stage))


def compiles(stage: Stage) -> bool:
    """Whether compiled loops save more than compiling them takes, or loading them from the user's cache."""
    return max((meta.size for meta in stage.program.metas.values()), default=0) >= COMPILED


def _rounded(stage: Stage, asked: Shape) -> Shape:
    """The block asked for, in whole grains; whole along axes that it does not speak of."""
    extents = [*asked, *stage.domain[len(asked) :]]
    return tuple(min(-(-b // g) * g, n) for b, g, n in zip(extents, stage.grain, stage.domain, strict=False))


def _cuts(domain: Shape, block: Shape) -> int:
    """Along how many axes the domain is cut."""
    return sum(b < n for n, b in zip(domain, block, strict=True))


def smallest(stage: Stage) -> int:
    """Bytes that a task needs at the very least."""
    blocks = dict.fromkeys(_candidates(stage))
    return min(task_memory(stage, block, tile_shape(stage, block)) for block in blocks)


def cost(stage: Stage, block: Shape) -> float:
    """What all blocks of this shape cost together, in elements made."""
    counts = grid(stage.domain, block)
    blocks = prod(counts)
    region = middle(stage.domain, block)
    wanted = stage.wanted(region)
    bounds = stage.program.bounds(wanted)
    work = TASK_COST + sum(
        _making(stage.program.ops[step.name], step, bounds.reaches[step.name].made)
        for step in stage.program.steps
        if step.name in bounds.reaches
    )
    for name, source in stage.sources.items():
        if name in bounds.regions:
            work += _decoded(bounds.regions[name], source.chunks)
            if source.chunks is None:
                work += RUN_COST * count_runs(bounds.regions[name], source.meta.shape)
    for write in stage.writes:
        shape = stage.program.metas[write.node].shape
        work += size_of(wanted[write.node])
        if not hasattr(write.target, "chunks"):
            work += RUN_COST * count_runs(wanted[write.node], shape)
    for reduce in stage.reduces:
        # A partial goes through the driver: dear, so a block is rather whole along what is reduced.
        kept = [b - a for i, (a, b) in enumerate(wanted[reduce.of]) if i not in reduce.axes]
        work += PARTIAL_COST * prod(kept)
    idle = 1 + max(0, ENOUGH_BLOCKS - blocks) / ENOUGH_BLOCKS
    # The last block along an axis may be smaller: count whole blocks by elements.
    share = prod(n / b for n, b in zip(stage.domain, block, strict=True))
    return work * share * idle


def _making(op: Op, step: Step, made: Region) -> float:
    """What it costs to make a region of a step's result, in elements copied."""
    if isinstance(op.work, (int, float)):
        return size_of(made) * op.work
    each: float = call(op.work, (step.meta,), {**step.params, "shape": shape_of(made)})
    return size_of(made) * each


def _decoded(region: Region, chunks: Sequence[int] | None) -> int:
    """Elements that must be decoded to read a region; decoding costs about two."""
    if chunks is None:
        return size_of(region)
    return 2 * prod((-(-b // c) - a // c) * c for (a, b), c in zip(region, chunks, strict=True))


def _candidates(stage: Stage) -> Iterator[Shape]:
    """Slabs along each axis and near-cubes from the largest block down to one grain."""
    grain = stage.grain
    metas = stage.program.metas
    per_index = max(prod(metas[n].shape[len(grain) :]) * metas[n].dtype.itemsize for n in stage.ends)
    # What is dear to make (a photo's label) is shared out one by one, however few bytes it has.
    dear = any(not isinstance(op.work, (int, float)) for op in stage.program.ops.values())
    least = per_index if dear else 2**12
    size = LARGEST_BLOCK
    while True:
        limit = max(size // per_index, 1)
        for axis in range(len(grain)):
            yield _slab(stage.domain, grain, limit, axis)
        yield _cube(stage.domain, grain, limit)
        if size < least:
            break
        size //= 2
    yield grain


def _slab(domain: Shape, grain: Shape, limit: int, cut: int) -> Shape:
    """Cut along one axis; along the others, the first of them first, only as far as it must be."""
    block = list(grain)
    for axis in [*(axis for axis in reversed(range(len(domain))) if axis != cut), cut]:
        room = limit // max(prod(block) // block[axis], 1)
        block[axis] = min(max(room // grain[axis], 1) * grain[axis], domain[axis])
    return tuple(block)


def _cube(domain: Shape, grain: Shape, limit: int) -> Shape:
    """About as long along every axis as grains and the domain allow."""
    block = list(grain)
    growing = [axis for axis in range(len(domain)) if block[axis] < domain[axis]]
    while growing:
        axis = min(growing, key=lambda i: (block[i], -i))
        longer = min(2 * block[axis], -(-domain[axis] // grain[axis]) * grain[axis])
        if prod(block) // block[axis] * longer > limit:
            growing.remove(axis)
            continue
        block[axis] = longer
        if longer >= domain[axis]:
            growing.remove(axis)
    return tuple(min(b, n) for b, n in zip(block, domain, strict=True))


def tile_shape(stage: Stage, block: Shape) -> Shape:
    """A tile of the block whose arrays stay in cache, as long as its halo stays small beside it."""
    if not all(stage.program.ops[step.name].tile for step in stage.program.steps):
        return block
    region = middle(stage.domain, block)
    start = tuple(a for a, _ in region)
    tile = list(block)

    def volumes(shape: Sequence[int]) -> tuple[int, float]:
        part = tuple((a, a + t) for a, t in zip(start, shape, strict=True))
        bounds = stage.program.bounds(stage.wanted(part))
        sizes = {n: size_of(r) * stage.program.metas[n].dtype.itemsize for n, r in bounds.regions.items()}
        return max(sizes.values(), default=0), sum(sizes.values()) / max(prod(shape), 1)

    largest, each = volumes(tile)
    for axis in range(len(tile)):
        while largest > TILE and tile[axis] > 1:
            halved = [*tile[:axis], -(-tile[axis] // 2), *tile[axis + 1 :]]
            smaller, dearer = volumes(halved)
            if dearer > 1.25 * each:
                break
            tile, largest = halved, smaller
    return tuple(tile)

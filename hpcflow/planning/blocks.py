"""Choose block and tile shapes: what a task does, and what fits in cache.

Candidates are slabs along each axis and near-cubes of several sizes, in multiples of the
grain, and the whole. Each is costed by bounds inference on one block: elements made, weighed by the op's work,
plus elements decoded from storage in whole chunks, plus what a task costs as such. An axis that
an op must see from end to end thus never pays to cut, and is not.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from math import ceil, prod

from hpcflow.meta import Source
from hpcflow.operation import call
from hpcflow.planning.device import Gpu, computes, device_memory
from hpcflow.planning.memory import chunked_size, chunks_of, middle, resident, task_memory
from hpcflow.planning.processes import COMPILED, driver_memory
from hpcflow.planning.sharing import shared
from hpcflow.planning.stages import Stage, Write
from hpcflow.program.program import Step
from hpcflow.regions import Region, Shape, grid, runs_of, shape_of, size_of

TASK_COST = 500_000
"""What a task costs beyond its elements, in elements made: about a millisecond."""
CHUNK_COST = 100_000
"""What a chunk costs beyond its elements: opening a file, handing it to a thread and back."""
DECODED = 0.8
"""What a byte costs that is decoded: 1.2 to 2.3 ns with Blosc, up to 3.4 with Zstandard alone."""
RUN_COST = 1_000
"""What a piece of a file that is written on its own costs: a call of the system."""
PAGE_COST = 0.1
"""What an element on a mapped page costs, whether it is asked for or not."""
PARTIAL_COST = 20
"""What an element of a reduction's partial costs on its way through the driver."""
LARGEST_BLOCK = 128 * 2**20
"""Bytes of the largest array in a block. Fixed, so that more workers give the same blocks."""
LARGEST_SLAB = 4 * LARGEST_BLOCK
"""The same of the thinnest slab, where neighbours share what they decode."""
ENOUGH_BLOCKS = 8
"""Fewer blocks than this leave workers idle, or make resuming coarse. With 16, a volume was rather stored in
other chunks than cut into six slabs."""
LONG = 6e10
"""Elements made in about two minutes of a core. A shorter stage may be one block, if it can use all cores."""
TILE = 2**20
"""Bytes of the largest array in a tile: about what stays in a core's L2 cache.

Fixed, not asked of the machine: tiles decide in what order a sum is added up, and a run that goes
on elsewhere must find the same bits.
"""

CHOSEN = ("block", "tile", "task_memory", "device", "device_memory", "shared", "compiled")
"""The fields of a stage that `shaped` fills in."""


def shaped(
    stage: Stage, budget: int, asked: Shape | None = None, slots: int = 1, gpu: Gpu | None = None
) -> Stage | None:
    """The stage with the block and tile shapes that cost least within the budget.

    Parameters
    ----------
    stage : Stage
    budget : int
        Bytes for the tasks that run at once, and for what the driver holds of their results.
    asked : tuple of int, optional
        The block that the flow asks for; it is taken, in whole grains.
    slots : int
        How many tasks run at once.
    gpu : Gpu, optional
        What each worker has; a stage that it computes with must fit it as well.

    Returns
    -------
    Stage or None
        `None` where not even the smallest block fits.
    """
    if gpu is not None and computes(stage):
        stage = replace(stage, device="cuda")
    # Along an axis without elements a block has one all the same, so that there is one block.
    shapes = _candidates(stage) if asked is None else (_rounded(stage, asked),)
    blocks = {tuple(max(1, b) for b in block) for block in shapes}
    stages = [replace(stage, block=block, shared={}) for block in blocks]
    slabs = blocks if asked is not None else {*blocks, *_thinnest(stage)}
    stages += [replace(stage, block=slab, shared=found) for slab in slabs if (found := shared(stage, slab))]
    near: list[tuple[float, Stage]] = []
    # The cheapest first: of most blocks neither tile nor memory need be known.
    for price, one in sorted(((cost(one, one.block), one) for one in stages), key=lambda e: (e[0], e[1].block)):
        if near and price > 1.05 * near[0][0]:
            break
        tile = tile_shape(one, one.block)
        memory = task_memory(one, one.block, tile)
        chosen = replace(one, tile=tile, task_memory=memory, compiled=compiles(stage))
        if chosen.device != "cpu":
            chosen = replace(chosen, device_memory=device_memory(chosen, chosen.block))
        if needed(chosen, slots) <= budget and (gpu is None or gpu.holds(chosen)):
            near.append((price, chosen))
    # Of those that cost about the same: slabs, which lie together in a file, then the least memory.
    best = min(near, key=lambda e: (_apart(e[1]), e[1].task_memory, e[0]), default=None)
    return None if best is None else best[1]


def compiles(stage: Stage) -> bool:
    """Whether compiled loops save more than compiling them takes, or loading them from the user's cache.

    On a device always: there each step alone is a kernel that must be compiled.
    """
    return stage.device != "cpu" or max((meta.size for meta in stage.program.metas.values()), default=0) >= COMPILED


def needed(stage: Stage, slots: int) -> int:
    """Bytes that a stage with its blocks takes beyond what the processes hold anyway."""
    return min(stage.tasks, slots) * stage.task_memory + driver_memory(stage, slots)


def smallest(stage: Stage) -> Stage:
    """The stage in the blocks that take the least memory, the driver's for each of them included."""
    blocks = {tuple(max(1, b) for b in block) for block in _candidates(stage)}
    shapes = {block: tile_shape(stage, block) for block in blocks}
    made = [replace(stage, block=b, tile=t, task_memory=task_memory(stage, b, t)) for b, t in shapes.items()]
    return min(made, key=lambda one: needed(one, 1))


def _rounded(stage: Stage, asked: Shape) -> Shape:
    """The block asked for, in whole grains; whole along axes that it does not speak of."""
    extents = [*asked, *stage.domain[len(asked) :]]
    return tuple(min(-(-b // g) * g, n) for b, g, n in zip(extents, stage.grain, stage.domain, strict=False))


def _apart(stage: Stage) -> tuple[int, int]:
    """Along how many axes the domain is cut, and the last of them: how far a block's rows lie apart."""
    cut = [axis for axis, (n, b) in enumerate(zip(stage.domain, stage.block, strict=True)) if b < n]
    return len(cut), max(cut, default=0)


def cost(stage: Stage, block: Shape) -> float:
    """What all blocks of this shape cost together, in elements made."""
    blocks = prod(grid(stage.domain, block))
    wanted = stage.wanted(middle(stage.domain, block))
    bounds = stage.program.bounds(wanted)
    work = TASK_COST + sum(
        _making(stage, step, bounds.reaches[step.name].made)
        for step in stage.program.steps
        if step.name in bounds.reaches
    )
    work += sum(stage_reading(stage, name, bounds.regions[name]) for name in stage.sources if name in bounds.regions)
    work += sum(_writing(write, wanted) for write in stage.writes)
    for reduce in stage.reduces:
        # A partial goes through the driver: dear, so a block is rather whole along what is reduced.
        kept = [b - a for i, (a, b) in enumerate(wanted[reduce.of]) if i not in reduce.axes]
        work += PARTIAL_COST * prod(kept)
    # The last block along an axis may be smaller: count whole blocks by elements.
    total = work * prod(n / b for n, b in zip(stage.domain, block, strict=True))
    idle = max(0, ENOUGH_BLOCKS - blocks) / ENOUGH_BLOCKS
    if blocks == 1 and any(op.uses_cores for op in stage.program.ops.values()):
        idle *= min(1.0, total / LONG)
    return total * (1 + idle)


def _making(stage: Stage, step: Step, made: Region) -> float:
    """What it costs to make a region of a step's result, in elements copied."""
    op, metas = stage.program.ops[step.name], stage.program.metas
    if isinstance(op.work, (int, float)):
        return size_of(made) * op.work
    given = {**step.params, "shape": shape_of(made), "metas": [metas[name] for name in step.of]}
    each: float = call(op.work, (step.meta,), given)
    return size_of(made) * each


def stage_reading(stage: Stage, name: str, region: Region) -> float:
    """What reading a region costs on average, where some of it may have been decoded for another block."""
    source, found = stage.sources[name], stage.shared.get(name)
    if found is None or source.chunks is None:
        return reading(source, region)
    layer = ((0, source.chunks[0]), *region[1:])
    return found.fresh * reading(source, layer) + size_of(region)


def reading(source: Source, region: Region) -> float:
    """What reading a region costs: what is stored in chunks is decoded; what is mapped costs its pages, too."""
    if source.chunks is None:
        return size_of(region) + PAGE_COST * resident(source, region) / source.meta.dtype.itemsize
    decoded = chunked_size(region, source.chunks) * source.meta.dtype.itemsize
    return DECODED * decoded + CHUNK_COST * chunks_of(region, source.chunks)


def _writing(write: Write, wanted: Mapping[str, Region]) -> float:
    """What writing a block costs: its elements, and each chunk or piece of the file."""
    region = wanted[write.node]
    chunks = getattr(write.target, "chunks", None)
    if chunks is not None:
        return size_of(region) + CHUNK_COST * chunks_of(region, chunks)
    return size_of(region) + RUN_COST * runs_of(region, write.target.meta.shape)[0]


def _candidates(stage: Stage) -> Iterator[Shape]:
    """Slabs along each axis and near-cubes from the largest block down to one grain; and the whole."""
    grain = stage.grain
    if any(op.whole is not None or op.reaches is not None for op in stage.program.ops.values()):
        # However large: of what must see all of its input, each of several blocks would make all.
        yield stage.domain
    if not prod(stage.domain) and not stage.reduces:
        # Nothing to cut, however long it is along its other axes.
        yield stage.domain
        return
    metas = stage.program.metas
    per_index = max(prod(metas[n].shape[len(grain) :]) * metas[n].dtype.itemsize for n in stage.ends)
    # What is dear to make (a photo's label) is shared out one by one, however few bytes it has.
    dear = any(not op.tile for op in stage.program.ops.values())
    least = max(per_index, 1) if dear else 2**12
    size = LARGEST_BLOCK
    while True:
        limit = max(size // max(per_index, 1), 1)
        for axis in range(len(grain)):
            yield _slab(stage.domain, grain, limit, axis)
        yield _cube(stage.domain, grain, limit)
        if size < least:
            break
        size //= 2
    yield grain


def _thinnest(stage: Stage) -> Iterator[Shape]:
    """One grain of the first axis, if that is not too large: where neighbours share what they decode, slabs pay."""
    slab = (*stage.grain[:1], *stage.domain[1:])
    metas = [stage.program.metas[name] for name in stage.ends]
    largest = max(prod(slab + meta.shape[len(slab) :]) * meta.dtype.itemsize for meta in metas)
    if slab and largest <= LARGEST_SLAB:
        yield slab


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
        longer = min(2 * block[axis], ceil(domain[axis] / grain[axis]) * grain[axis])
        if prod(block) // block[axis] * longer > limit:
            growing.remove(axis)
            continue
        block[axis] = longer
        if longer >= domain[axis]:
            growing.remove(axis)
    return tuple(min(b, n) for b, n in zip(block, domain, strict=True))


def tile_shape(stage: Stage, block: Shape) -> Shape:
    """A tile of the block whose arrays stay in cache, as long as its halo stays small beside it."""
    untiled = not all(stage.program.ops[step.name].tile for step in stage.program.steps)
    if stage.device != "cpu" or untiled or not prod(stage.domain):
        return block
    # One loop has no arrays in between: longer tiles stay in the shared cache and cost less Python.
    ops = [stage.program.ops[step.name] for step in stage.program.steps]
    plain = compiles(stage) and all(op.depth is None and op.reaches is None for op in ops)
    limit = 4 * TILE if plain else TILE
    region = middle(stage.domain, block)
    start = tuple(a for a, _ in region)
    tile = list(block)
    mapped = {name for name, source in stage.sources.items() if source.chunks is None}

    def volumes(shape: Sequence[int]) -> tuple[int, float]:
        part = tuple((a, a + t) for a, t in zip(start, shape, strict=True))
        bounds = stage.program.bounds(stage.wanted(part))
        sizes = {n: size_of(r) * stage.program.metas[n].dtype.itemsize for n, r in bounds.regions.items()}
        # Of a mapped file, all pages that the tile lies on.
        sizes |= {n: resident(stage.sources[n], bounds.regions[n]) for n in sizes if n in mapped}
        return max(sizes.values(), default=0), sum(sizes.values()) / max(prod(shape), 1)

    largest, each = volumes(tile)
    for axis in range(len(tile)):
        while largest > limit and tile[axis] > 1:
            halved = [*tile[:axis], -(-tile[axis] // 2), *tile[axis + 1 :]]
            smaller, dearer = volumes(halved)
            if dearer > 1.25 * each:
                break
            tile, largest = halved, smaller
        # The most that fits, between this and twice as much: a halo is made once more for every tile.
        fits, over = tile[axis], min(2 * tile[axis], block[axis] + 1)
        while over - fits > 1 and largest <= limit:
            between = (fits + over) // 2
            longer = [*tile[:axis], between, *tile[axis + 1 :]]
            fits, over = (between, over) if volumes(longer)[0] <= limit else (fits, between)
        tile[axis] = fits
    return tuple(tile)

"""What a task holds in memory, op by op, before anything runs.

The evaluation is played through on regions instead of arrays, as `execute/block.py` and
`program/evaluate.py` do it: sources that must be decoded are read for the whole block, steps run
tile by tile and let each array go after its last use, results are gathered and written at the end.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from math import prod

import numpy as np

from hpcflow.meta import Source, Target
from hpcflow.namespace import sample
from hpcflow.operation import call
from hpcflow.planning.stages import Reduce, Stage
from hpcflow.program.program import Bounds, Program, Step
from hpcflow.regions import Region, Shape, runs_of, shape_of, size_of, tiles

CHUNKS_AT_ONCE = 10
"""Chunks that Zarr has under way in one call (its `async.concurrency`)."""
DECODING = 1.65
ENCODING = 1.9
"""Bytes held for each byte of a chunk under way: its encoded bytes, itself, copies; measured."""
RECEIPT = 8
"""Copies of a partial while it is packed into a receipt and on its way to the driver; measured."""

SLACK, SHARE = 20 * 2**20, 1.1
"""What malloc keeps of arrays that are gone, and cannot fill: so many bytes at most, and a tenth; measured."""
LEAST_SLACK = 8 * 2**20
"""The same of a task that holds little: so many bytes, and as many as it holds."""


@dataclass(frozen=True)
class Held:
    """Bytes held while one thing is done: a source read, a step run, a result written."""

    name: str
    inputs: int
    result: int
    scratch: int
    others: int
    """What is needed later, or not yet given back."""

    @property
    def total(self) -> int:
        """All of it."""
        return self.inputs + self.result + self.scratch + self.others


def task_memory(stage: Stage, block: Shape, tile: Shape) -> int:
    """The most bytes that a task of this stage holds."""
    held = max(row.total for row in task_rows(stage, block, tile))
    return min(SLACK, LEAST_SLACK + held) + int(SHARE * held)


def task_rows(stage: Stage, block: Shape, tile: Shape) -> list[Held]:
    """What a task holds, from reading to writing, for a block that no edge cuts short."""
    region = middle(stage.domain, block)
    wanted = stage.wanted(region)
    bounds = stage.program.bounds(wanted)
    part = stage.wanted(next(tiles(region, tile), region))
    inner = bounds if tile == block else stage.program.bounds(part)
    decoded = {name: _nbytes(stage, name, bounds) for name, source in stage.sources.items() if _is_decoded(source)}
    streamed = replace(stage, block=block, tile=tile).streamed
    nodes = [] if tile == block else [write.node for write in stage.writes]
    gathered = {node: _wanted_bytes(stage, node, wanted) for node in nodes if node not in streamed}
    partials = sum(partial_bytes(reduce, wanted[reduce.of]) for reduce in stage.reduces)
    standing = sum(decoded.values()) + sum(gathered.values()) + 2 * partials
    on_device = stage.device != "cpu"
    if on_device:
        # A copy of all that is read, where the device copies from by itself; steps run there.
        standing += sum(_nbytes(stage, name, bounds) for name in stage.sources)

    reads = list(_reads(stage, bounds, inner, decoded, standing))
    made = [*step_rows(stage.program, inner, part, _inputs(stage, inner)), *_reductions(stage, inner, part)]
    steps = [] if on_device else [replace(row, others=row.others + standing) for row in made]
    # What is written of each node at once, and what is held of it then: a view of something larger, if not gathered.
    given = {write.node: (wanted[write.node], bounds.regions[write.node]) for write in stage.writes}
    given |= {node: (part[node], inner.regions[node]) for node in nodes if node in streamed}
    given |= {node: (wanted[node], wanted[node]) for node in gathered}
    reading = sum(decoded.values()) if any(node in streamed for node in nodes) else 0
    writes = list(_writes(stage, given, partials, reading))
    # What a codec's threads have had stays with them: the next block needs it again.
    kept = max((row.scratch for row in [*reads, *writes]), default=0)
    rows = [replace(row, others=row.others + kept - row.scratch) for row in reads]
    rows += [replace(row, others=row.others + kept) for row in steps]
    rows += [replace(row, others=row.others + kept - row.scratch) for row in writes]
    layers = sum(each.layers * each.nbytes for each in stage.shared.values())
    return [replace(row, others=row.others + layers) for row in rows]


def step_rows(program: Program, bounds: Bounds, wanted: Mapping[str, Region], inputs: Mapping[str, int]) -> list[Held]:
    """What is held while each step makes one tile, of which the `inputs` take so many bytes."""
    nbytes = {name: size_of(region) * program.metas[name].dtype.itemsize for name, region in bounds.regions.items()}
    nbytes |= inputs
    steps = [step for step in program.steps if step.name in bounds.reaches]
    last = {name: i for i, step in enumerate(steps) for name in step.of}
    held = {name: nbytes[name] for name in program.inputs if name in nbytes}
    total = sum(held.values())
    rows = []
    for i, step in enumerate(steps):
        given = sum(held[name] for name in set(step.of) if name in held)
        rows.append(Held(step.name, given, nbytes[step.name], _scratch(program, step, bounds), total - given))
        held[step.name] = nbytes[step.name]
        total += nbytes[step.name]
        for name in set(step.of):
            if last[name] <= i and name not in wanted:
                total -= held.pop(name, 0)
    return rows


def _scratch(program: Program, step: Step, bounds: Bounds) -> int:
    """What an op says it needs beside inputs and result, for inputs of the regions that it gets."""
    reach = bounds.reaches[step.name]
    metas = [program.metas[name] for name in step.of]
    shapes = [shape_of(need) for need in reach.needs if need is not None]
    scratch = program.ops[step.name].scratch
    params = {**step.params, "shapes": shapes}
    factor = scratch if isinstance(scratch, (int, float)) else call(scratch, metas, params)
    pairs = zip(metas, reach.needs, strict=True)
    return int(factor * sum(size_of(need) * meta.dtype.itemsize for meta, need in pairs if need is not None))


def _is_decoded(source: Source) -> bool:
    return source.chunks is not None


def _nbytes(stage: Stage, name: str, bounds: Bounds) -> int:
    return size_of(bounds.regions[name]) * stage.program.metas[name].dtype.itemsize if name in bounds.regions else 0


def _wanted_bytes(stage: Stage, name: str, wanted: Mapping[str, Region]) -> int:
    return size_of(wanted[name]) * stage.program.metas[name].dtype.itemsize


def _inputs(stage: Stage, inner: Bounds) -> dict[str, int]:
    """What the sources' parts of one tile take: nothing where they are views of what is decoded."""
    return {
        name: 0 if _is_decoded(source) else resident(source, inner.regions[name])
        for name, source in stage.sources.items()
        if name in inner.regions
    }


def resident(source: Source, region: Region) -> int:
    """Bytes of memory that a region takes when it is read directly: whole pages, where it is mapped."""
    pages = getattr(source, "resident", None)
    inside = tuple((a, b) if a >= 0 and b <= n else (0, n) for (a, b), n in zip(region, source.meta.shape, strict=True))
    nbytes = size_of(region) * source.meta.dtype.itemsize
    mapped: int = nbytes if pages is None else pages(inside)
    # Beyond the ends it is put together from pieces.
    return mapped if inside == region else mapped + nbytes


def _reads(stage: Stage, bounds: Bounds, inner: Bounds, decoded: Mapping[str, int], standing: int) -> Iterator[Held]:
    before = 0
    for name, source in stage.sources.items():
        if name not in bounds.regions:
            continue
        if name in decoded:
            part = _read_at_once(stage, name, bounds.regions[name])
            yield Held(f"read {name}", 0, decoded[name], decoding(source, part), before)
            before += decoded[name]
            continue
        region = inner.regions[name]
        # Hashing takes the bytes in C order: what does not lie so is copied.
        strided = runs_of(region, source.meta.shape)[0] > 1 or getattr(source, "order", "C") == "F"
        copied = size_of(region) * source.meta.dtype.itemsize if strided else 0
        yield Held(f"read {name}", resident(source, region), copied, 0, standing)


def _read_at_once(stage: Stage, name: str, region: Region) -> Region:
    """What is decoded in one call: the region, or where blocks share layers of it, one of those or all between them."""
    chunks = stage.sources[name].chunks
    if name not in stage.shared or chunks is None:
        return region
    ((start, stop), *rest), ends = region, 2 * stage.shared[name].layers * chunks[0]
    return ((0, max(chunks[0], stop - start - ends)), *rest)


def decoding(source: Source, region: Region) -> int:
    """Bytes held beside the result while the chunks of a region are decoded."""
    if (beside := getattr(source, "beside", None)) is not None:
        return int(beside(region))
    chunks = getattr(source, "shards", None) or source.chunks
    assert chunks is not None
    under_way = min(chunks_of(region, chunks), CHUNKS_AT_ONCE)
    own: int = getattr(source, "decoding", 0)
    packed = getattr(source, "packing", None)
    if packed is not None:  # the numbers as they are stored, beside their values
        own += size_of(region) * packed.stored.itemsize
    return own + int(
        DECODING * min(under_way * prod(chunks), chunked_size(region, chunks)) * source.meta.dtype.itemsize
    )


def chunks_of(region: Region, chunks: Shape) -> int:
    """How many chunks a region touches."""
    return prod(-(-b // c) - a // c for (a, b), c in zip(region, chunks, strict=True))


def chunked_size(region: Region, chunks: Shape) -> int:
    """Elements in all chunks that a region touches."""
    return chunks_of(region, chunks) * prod(chunks)


def _reductions(stage: Stage, inner: Bounds, part: Mapping[str, Region]) -> Iterator[Held]:
    metas = stage.program.metas
    ends = {name: size_of(inner.regions[name]) * metas[name].dtype.itemsize for name in stage.ends}
    inputs = _inputs(stage, inner)
    ends |= {name: inputs[name] for name in ends if name in inputs}
    total = sum(ends.values())
    for reduce in stage.reduces:
        others = total - ends[reduce.of]
        result = partial_bytes(reduce, part[reduce.of])
        yield Held(reduce.node, ends[reduce.of], result, reduction_scratch(reduce, part[reduce.of]), others)


def reduction_scratch(reduce: Reduce, region: Region) -> int:
    """Bytes that a reduction says it needs beside a piece in this region and its partial."""
    meta = replace(reduce.meta, shape=shape_of(region))
    scratch = reduce.function.scratch
    if not isinstance(scratch, (int, float)):
        scratch = call(scratch, [meta], {**reduce.params, "shapes": [meta.shape]})
    return int(scratch * meta.nbytes)


def partial_bytes(reduce: Reduce, region: Region) -> int:
    """Bytes of the partial that a reduction gives for a region."""
    kept = prod(b - a for axis, (a, b) in enumerate(region) if axis not in reduce.axes)
    ndim = reduce.meta.ndim
    # The op itself says what it keeps of one element.
    one = sample((1,) * ndim, reduce.meta.dtype)
    with np.errstate(all="ignore"):
        given = {"region": ((0, 1),) * ndim, "metas": [reduce.meta]}
        return kept * sum(int(array.nbytes) for array in reduce.function([one], reduce.params, np, **given))


def _writes(stage: Stage, given: Mapping[str, tuple[Region, Region]], partials: int, reading: int) -> Iterator[Held]:
    itemsizes = {node: stage.program.metas[node].dtype.itemsize for node in given}
    arrays = sum(size_of(held) * itemsizes[node] for node, (_, held) in given.items())
    for write in stage.writes:
        region, held = given[write.node]
        # Rows left out before and behind leave the others together.
        copied = 0 if held[1:] == region[1:] else size_of(region) * itemsizes[write.node]
        scratch = encoding(write.target, region, copied)
        yield Held(f"write {write.node}", arrays, 0, scratch, partials + reading)
    if partials:
        yield Held("receipt", partials, 0, (RECEIPT - 1) * partials, arrays)


def encoding(target: Target, region: Region, copied: int) -> int:
    """Bytes held beside a block while it is written: a copy in C order, or its chunks under way."""
    chunks = getattr(target, "chunks", None)
    if chunks is None:
        return copied
    unit = getattr(target, "shards", None) or chunks
    under_way = min(chunks_of(region, unit), CHUNKS_AT_ONCE) * prod(unit)
    # A pyramid makes its smaller levels of the block.
    made = target.held(region) if hasattr(target, "held") else 0
    return int(ENCODING * under_way * target.meta.dtype.itemsize) + made


def middle(domain: Shape, block: Shape) -> Region:
    """A block that no edge cuts short, where there is one."""
    starts = [min(n // b // 2, max(n // b - 1, 0)) * b for n, b in zip(domain, block, strict=True)]
    return tuple((start, min(start + b, n)) for start, n, b in zip(starts, domain, block, strict=True))

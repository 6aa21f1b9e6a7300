"""One block, on a worker: read, evaluate tile by tile, write, and say what happened.

Nothing is raised: a failure is a value, so that the driver decides what becomes of it and no
scheduler logs a traceback.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np

from hpcflow.clusters.base import installed
from hpcflow.errors import BadItem
from hpcflow.meta import Bad, ItemSource, Source
from hpcflow.namespace import Array, host
from hpcflow.planning.stages import Reduce, Stage
from hpcflow.program.evaluate import StepError, evaluate, read_periodic
from hpcflow.program.program import Bounds
from hpcflow.regions import Region, Shape, shape_of, size_of, slices, tiles
from hpcflow.registry import Partial


@dataclass(frozen=True)
class Failure:
    """What went wrong in a block; the driver knows the flow's line."""

    node: str
    message: str
    item: str | None = None
    """The file, where one is to blame."""


@dataclass(frozen=True)
class BlockResult:
    """What a worker tells the driver about one block."""

    number: int
    partials: dict[str, Partial] = field(default_factory=dict)
    bad: tuple[Bad, ...] = ()
    bytes_read: int = 0
    bytes_written: int = 0
    seconds: float = 0.0
    failure: Failure | None = None


def run_blocks(key: str, numbers: Sequence[int]) -> list[BlockResult]:
    """Run some blocks of the stage installed under `key`, one after another."""
    stage = installed(key)
    return [run_block(stage, number) for number in numbers]


def run_block(stage: Stage, number: int) -> BlockResult:
    """Run one block of a stage."""
    begun = time.perf_counter()
    bad: list[Bad] = []
    try:
        result = _run(stage, number, bad)
    except StepError as error:
        result = BlockResult(number, failure=Failure(error.node, error.message))
    except BadItem as error:
        nodes = [name for name, source in stage.sources.items() if isinstance(source, ItemSource)]
        result = BlockResult(number, failure=Failure(nodes[0], error.reason, error.item))
    return replace(result, bad=tuple(bad), seconds=time.perf_counter() - begun)


def _run(stage: Stage, number: int, bad: list[Bad]) -> BlockResult:
    region = stage.region(number)
    wanted = stage.wanted(region)
    made = make(stage, region, bad)
    for write in stage.writes:
        try:
            write.target.write(wanted[write.node], made.arrays[write.node])
        except OSError as error:
            raise StepError(write.node, f"could not write to `{write.target.path}`: {error}") from error
    written = sum(array.nbytes for array in made.arrays.values())
    return BlockResult(number, made.partials, bytes_read=made.bytes_read, bytes_written=written)


@dataclass(frozen=True)
class Made:
    """What a stage gives for one region of its domain."""

    arrays: dict[str, Array]
    """Of every node that is written."""
    partials: dict[str, Partial]
    """Of every reduction."""
    bytes_read: int


def make(stage: Stage, region: Region, bad: list[Bad] | None) -> Made:
    """Evaluate a stage for one region of its domain, tile by tile.

    Bad items that the stage can set apart are appended to `bad`; without it they are errors.
    """
    wanted = stage.wanted(region)
    bounds = stage.program.bounds(wanted)
    read, nbytes = _reader(stage, bounds, bad)
    metas = stage.program.metas
    nodes = dict.fromkeys(write.node for write in stage.writes)
    cut = list(tiles(region, stage.tile)) if stage.domain else [()]
    single = len(cut) == 1
    arrays = {} if single else {node: np.empty(shape_of(wanted[node]), metas[node].dtype) for node in nodes}
    folds = {reduce.node: _Fold(reduce) for reduce in stage.reduces}
    for tile in cut:
        part = wanted if single else stage.wanted(tile)
        values = evaluate(stage.program, part, read, bounds=bounds if single else None)
        for node in nodes:
            if single:
                arrays[node] = host(values[node])
            else:
                arrays[node][slices(part[node], wanted[node])] = host(values[node])
        for reduce in stage.reduces:
            folds[reduce.node].add(part[reduce.of], values[reduce.of])
    return Made(arrays, {r.node: folds[r.node].joined(wanted[r.of]) for r in stage.reduces}, nbytes)


def _reader(stage: Stage, bounds: Bounds, bad: list[Bad] | None) -> tuple[Callable[[str, Region], Array], int]:
    """How tiles get at the sources: directly, or from what was decoded once for the block."""
    decoded: dict[str, tuple[Region, Array]] = {}
    nbytes = 0
    for name, source in stage.sources.items():
        if name not in bounds.regions:
            continue
        region, meta = bounds.regions[name], stage.program.metas[name]
        nbytes += size_of(region) * meta.dtype.itemsize
        if source.chunks is not None:
            try:
                decoded[name] = region, read_periodic(_whole_reader(name, source, stage, bad), region, meta.shape)
            except (BadItem, StepError):
                raise
            except Exception as error:
                raise StepError(name, f"{type(error).__name__}: {error}") from error

    def read(name: str, region: Region) -> Array:
        if name not in decoded:
            return stage.sources[name].read(region)
        held, array = decoded[name]
        shape = stage.program.metas[name].shape
        # A tile's piece may lie on the far side of a block that was read periodically.
        shifted = tuple(
            (a + _turns(a, b, c, d, n) * n, b + _turns(a, b, c, d, n) * n)
            for (a, b), (c, d), n in zip(region, held, shape, strict=True)
        )
        return array[slices(shifted, held)]

    return read, nbytes


def _turns(start: int, stop: int, low: int, high: int, extent: int) -> int:
    """How many extents an interval must move to lie in ``[low, high)``."""
    if start < low:
        return -(-(low - start) // extent)
    return -(-(stop - high) // extent) * -1 if stop > high else 0


def _whole_reader(name: str, source: Source, stage: Stage, bad: list[Bad] | None) -> Callable[[Region], Array]:
    if bad is not None and name in stage.quarantine and isinstance(source, ItemSource):
        return partial(_read_items, name, source, bad)
    return source.read


def _read_items(name: str, source: ItemSource, bad: list[Bad], region: Region) -> Array:
    array, found = source.read_items(region)
    bad += [replace(one, source=name) for one in found]
    return array


class _Fold:
    """The partials of one block, tile by tile."""

    def __init__(self, reduce: Reduce) -> None:
        self.reduce = reduce
        self.parts: dict[Region, Partial] = {}

    def add(self, region: Region, array: Array) -> None:
        """Take one tile in; tiles that differ only along reduced axes are combined, in order."""
        reduce, op = self.reduce, self.reduce.function
        try:
            piece = op([array], reduce.params, np, region=region, metas=[reduce.meta])
            kept = tuple((0, 1) if i in reduce.axes else one for i, one in enumerate(region))
            if kept in self.parts:
                assert op.combine is not None
                piece = op.combine(self.parts[kept], piece)
            self.parts[kept] = piece
        except Exception as error:
            raise StepError(reduce.node, f"{type(error).__name__}: {error}") from error

    def joined(self, region: Region) -> Partial:
        """The block's partial: those of its tiles side by side."""
        if len(self.parts) == 1:
            return tuple(host(array) for array in next(iter(self.parts.values())))
        axes = self.reduce.axes
        whole: Region = tuple((0, 1) if i in axes else one for i, one in enumerate(region))
        first = next(iter(self.parts.values()))
        shape: Shape = shape_of(whole)
        out: tuple[Any, ...] = tuple(np.empty(shape + a.shape[len(shape) :], a.dtype) for a in first)
        for kept, piece in self.parts.items():
            for array, part in zip(out, piece, strict=True):
                array[slices(kept, whole)] = host(part)
        return out

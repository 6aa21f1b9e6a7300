"""Every node of a flow as an ordinary lazy Dask array."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, Self

import dask.array as da
import numpy as np
from dask import delayed

from hpcflow.errors import RunError
from hpcflow.execute.block import Failure, make
from hpcflow.execute.fold import finalized
from hpcflow.execute.prepare import needs_preparing, prepare, with_prepared
from hpcflow.meta import Meta
from hpcflow.namespace import Array
from hpcflow.planning.blocks import shaped
from hpcflow.planning.stages import Reduce, Stage, Write, is_reduction, stages
from hpcflow.regions import Region, Shape, block_region, slices, unravel, whole
from hpcflow.registry import Partial
from hpcflow.spec.flow import Flow

ROOM = 2**40
"""No budget: whoever computes the arrays has their own."""


@dataclass(frozen=True)
class Nowhere:
    """The target of an array that only Dask holds."""

    meta: Meta
    path: str = ""

    @property
    def grain(self) -> Shape:
        """Blocks may be cut anywhere."""
        return (1,) * self.meta.ndim

    def create(self) -> None:
        """Nothing to make."""

    def owned(self, key: str, run: str) -> Self:  # noqa: ARG002  (as every target's)
        """Nobody else knows it."""
        return self

    def adopt(self) -> bool:
        """Nothing to take over."""
        return False

    def reopen(self) -> None:
        """Nothing to reopen."""

    def write(self, region: Region, array: Array) -> str:  # noqa: ARG002  (as every target's)
        """Nothing to write."""
        return ""

    def digest(self, region: Region) -> str:
        """Nothing is stored."""
        raise FileNotFoundError(str(region))

    def finish(self) -> None:
        """Nothing to publish."""

    def documents(self) -> dict[str, str]:
        """Nothing stands anywhere."""
        return {}

    def restore(self) -> None:
        """Nothing to restore."""


@dataclass(frozen=True)
class Held:
    """A finished reduction as a source."""

    meta: Meta
    array: Array
    chunks: Shape | None = None

    @property
    def identity(self) -> dict[str, Any]:
        """It has none of its own."""
        return {}

    def read(self, region: Region) -> Array:
        """The elements in `region`."""
        return self.array[slices(region, whole(self.meta.shape))]


class Arrays(Mapping[str, Any]):
    """Dask arrays of a flow's nodes, by name; each is built when it is asked for."""

    def __init__(self, flow: Flow) -> None:
        self._flow = flow
        self._built: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        """The node's array: chunks as the planner would choose them, one task for each."""
        if name not in self._flow.nodes:
            raise KeyError(name)
        if name not in self._built:
            self._built[name] = self._build(name)
        return self._built[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._flow.nodes)

    def __len__(self) -> int:
        return len(self._flow.nodes)

    def _build(self, name: str) -> Any:
        meta = self._flow.nodes[name].meta
        assert meta is not None
        flow = self._flow
        reduced = {n: Nowhere(m.meta) for n, m in flow.nodes.items() if m.meta is not None and is_reduction(flow, n)}
        ends = stages(flow, [] if name in reduced else [Write(name, Nowhere(meta))], (), reduced)
        stage = next(one for one in ends if one.name == name)
        chosen = shaped(stage, ROOM, flow.block)
        assert chosen is not None
        before = {n: self[n] for n in chosen.sources if n in reduced}
        if needs_preparing(chosen):
            chosen = _prepared(chosen)
        build = _reduced if chosen.reduces else _mapped
        return build(chosen, meta, before)


def _prepared(stage: Stage) -> Stage:
    found = prepare(stage)
    if isinstance(found, Failure):
        raise RunError(f"`{found.node}` could not be prepared: {found.message}")
    return with_prepared(stage, found)


def _mapped(stage: Stage, meta: Meta, before: dict[str, Any]) -> Any:
    if not stage.domain:
        return da.from_delayed(delayed(_array)(stage, (), before), (), meta.dtype)
    chunks = tuple(
        tuple(min(b, n - start) for start in range(0, n, b)) or (0,)
        for n, b in zip(stage.domain, stage.block, strict=True)
    )
    return da.map_blocks(
        _mapped_block,
        name=f"{stage.name}-{_token(stage)}",
        chunks=chunks,
        dtype=meta.dtype,
        meta=np.empty((0,) * meta.ndim, meta.dtype),
        stage=stage,
        before=before,
    )


def _token(stage: Stage) -> str:
    from dask.base import tokenize  # noqa: PLC0415 - beside its one use

    return str(tokenize(stage.program, {name: source.identity for name, source in stage.sources.items()}))


def _mapped_block(*, stage: Stage, before: dict[str, Array], block_id: Shape) -> Array:
    return _array(stage, block_region(block_id, stage.domain, stage.block), before)


def _array(stage: Stage, region: Region, before: dict[str, Array]) -> Array:
    return make(_given(stage, before), region, None).arrays[stage.writes[0].node]


def _given(stage: Stage, before: dict[str, Array]) -> Stage:
    held = {name: Held(stage.program.metas[name], array) for name, array in before.items()}
    return replace(stage, sources={**stage.sources, **held})


def _reduced(stage: Stage, meta: Meta, before: dict[str, Any]) -> Any:
    (reduce,) = stage.reduces
    axes = set(reduce.axes)
    kept_grid = [1 if axis in axes else n for axis, n in enumerate(stage.grid)]
    partial, combine, finish = delayed(_partial), delayed(reduce.function.combine), delayed(_finished)
    parts: dict[Shape, list[Any]] = {}
    for number in range(stage.tasks):
        index = unravel(number, stage.grid)
        kept = tuple(0 if axis in axes else i for axis, i in enumerate(index))
        parts.setdefault(kept, []).append(partial(stage, number, before))
    blocks = {}
    for kept, leaves in parts.items():
        level = leaves
        while len(level) > 1:
            pairs = [combine(a, b) for a, b in zip(level[::2], level[1::2], strict=False)]
            level = pairs + level[len(pairs) * 2 :]
        shape = _kept_shape(stage, reduce, kept, meta)
        blocks[kept] = da.from_delayed(finish(reduce, level[0]), shape, meta.dtype)
    keepdims = bool(reduce.params.get("keepdims"))
    left = [axis for axis in range(len(kept_grid)) if keepdims or axis not in axes]
    return _joined(blocks, kept_grid, left)


def _partial(stage: Stage, number: int, before: dict[str, Array]) -> Partial:
    return make(_given(stage, before), stage.region(number), None).partials[stage.reduces[0].node]


def _finished(reduce: Reduce, partial: Partial) -> Array:
    return finalized(reduce, partial)


def _kept_shape(stage: Stage, reduce: Reduce, kept: Shape, meta: Meta) -> Shape:
    region = block_region(kept, stage.domain, stage.block)
    keepdims = bool(reduce.params.get("keepdims"))
    shape = [1 if axis in reduce.axes else b - a for axis, (a, b) in enumerate(region)]
    shape = [n for axis, n in enumerate(shape) if keepdims or axis not in reduce.axes]
    return (*shape, *meta.shape[len(shape) :])


def _joined(blocks: dict[Shape, Any], counts: list[int], axes: list[int]) -> Any:
    """Put the blocks of a grid side by side along the axes that are left."""
    for place in reversed(range(len(axes))):
        axis = axes[place]
        joined: dict[Shape, Any] = {}
        for index in product(*(range(1 if a >= axis else n) for a, n in enumerate(counts))):
            row = [blocks[(*index[:axis], i, *index[axis + 1 :])] for i in range(counts[axis])]
            joined[index] = da.concatenate(row, axis=place) if len(row) > 1 else row[0]
        blocks = joined
    return blocks[(0,) * len(counts)]

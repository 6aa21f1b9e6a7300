"""Cut a flow into stages: the few places where blocks really must meet.

A stage is one block program with several ends. Everything that can come out of one task
does: arrays that are written and reductions, as long as they share what they read and are
cut along the same leading axes. A reduction's result is what a later stage reads.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property, lru_cache
from math import lcm, prod
from pathlib import Path
from typing import Any

from hpcflow.meta import Meta, Source, Streamed, Target
from hpcflow.namespace import Array
from hpcflow.operation import Op
from hpcflow.program.fuse import Reduction, fused
from hpcflow.program.program import Program, Schedule, Step
from hpcflow.regions import Region, Shape, block_region, grid, spanned, unravel, whole
from hpcflow.registry import function, get_op
from hpcflow.spec.flow import Flow


@dataclass(frozen=True)
class Stored:
    """An array that an earlier stage writes; opened where it is read."""

    path: str
    meta: Meta
    chunks: Shape | None = None
    mapped: bool = True
    """It is a `.npy` file of this machine's."""

    @property
    def identity(self) -> dict[str, Any]:
        """The file as it stands, or stood: a complete run removes what only its stages needed."""
        try:
            status = Path(self.path).stat()
        except FileNotFoundError:
            size, mtime_ns = json.loads(gone_mark(self.path).read_bytes())
        else:
            size, mtime_ns = status.st_size, status.st_mtime_ns
        return {"path": self.path, "size": size, "mtime_ns": mtime_ns}

    def resident(self, region: Region) -> int:
        """Bytes of memory that reading a region takes: the pages that it lies on."""
        itemsize = self.meta.dtype.itemsize
        strides = [itemsize * prod(self.meta.shape[axis + 1 :]) for axis in range(self.meta.ndim)]
        return spanned(region, strides, itemsize)

    def read(self, region: Region) -> Array:
        """The elements in `region`, from the finished file."""
        return _stored(self.path, str(self.identity)).read(region)


def gone_mark(path: str) -> Path:
    """The file that says what a removed array was: size, and time of the last change."""
    return Path(path + ".gone")


@lru_cache(maxsize=64)
def _stored(path: str, identity: str) -> Source:  # noqa: ARG001  (a file that was written again is opened again)
    source: Source = function("sources", "npy")(path=path)
    return source


@dataclass(frozen=True)
class Write:
    """A node's array, block by block into a target."""

    node: str
    target: Target


@dataclass(frozen=True)
class Reduce:
    """A reduction: partials from every block, combined on the driver, into a target."""

    node: str
    """The reduction's own name."""
    of: str
    """The node that it reduces."""
    op: str
    params: Mapping[str, Any]
    meta: Meta
    """Of what it reduces."""
    target: Target
    items: str | None = None
    """The source for each of whose items it has a row, as has all that is made of it."""

    @cached_property
    def function(self) -> Op:
        """The op behind the name."""
        return get_op(self.op)

    def __getstate__(self) -> dict[str, Any]:
        # What is cached is derived: workers look the op up by name.
        return {key: value for key, value in self.__dict__.items() if key != "function"}

    @property
    def axes(self) -> tuple[int, ...]:
        """The axes that it takes away."""
        axes: tuple[int, ...] = self.params["axis"]
        return axes


@dataclass(frozen=True)
class Shared:
    """Layers of a source's chunks that a block and the next one both read."""

    layers: int
    """How many; a process keeps as many for each task that it runs at once."""
    nbytes: int
    """Of one, decoded."""
    fresh: float
    """How many a block is the first to read, on average."""


@dataclass(frozen=True)
class Stage:
    """One block program, run once for every block of its domain."""

    name: str
    program: Program
    sources: Mapping[str, Source]
    writes: tuple[Write, ...]
    reduces: tuple[Reduce, ...]
    domain: Shape
    """The leading axes that blocks are cut along; the axes behind them are whole in every block."""
    block: Shape = ()
    tile: Shape = ()
    task_memory: int = 0
    """Bytes that one task holds at its peak."""
    level: int = field(default=0, compare=False)
    device: str = "cpu"
    """What its blocks are computed on: ``"cpu"``, or ``"cuda"``, where a block is one tile."""
    device_memory: int = 0
    """Bytes of the device that one task holds at its peak."""
    shared: Mapping[str, Shared] = field(default_factory=dict)
    """By source, what neighbouring blocks share, where that is kept from one to the next."""
    compiled: bool = False
    """Whether its elementwise steps run as compiled loops: it is large enough to make up for compiling them."""

    @cached_property
    def grid(self) -> Shape:
        """How many blocks along each axis of the domain; an empty axis has one, which is empty."""
        return tuple(max(1, n) for n in grid(self.domain, self.block))

    @cached_property
    def tasks(self) -> int:
        """How many blocks."""
        return prod(self.grid)

    @cached_property
    def steps(self) -> tuple[str, ...]:
        """The names of the steps that run in it."""
        return tuple(s.name for s in self.program.steps) + tuple(r.node for r in self.reduces)

    @cached_property
    def grain(self) -> Shape:
        """Blocks are multiples of this, so that every chunk or shard has one writer."""
        grain = [1] * len(self.domain)
        for write in self.writes:
            units = write.target.grain[: len(grain)]
            grain = [max(1, min(lcm(g, unit), n)) for g, unit, n in zip(grain, units, self.domain, strict=True)]
        return tuple(grain)

    @cached_property
    def ends(self) -> tuple[str, ...]:
        """The nodes that each task must give: what is written and what is reduced."""
        return tuple(dict.fromkeys([*(w.node for w in self.writes), *(r.of for r in self.reduces)]))

    @cached_property
    def streamed(self) -> frozenset[str]:
        """The nodes that are written tile by tile: one tile's elements lie behind the other's."""
        if self.device != "cpu":
            return frozenset()  # a block comes back from there as a whole
        first = next((axis for axis, n in enumerate(self.block) if n > 1), 0)
        if self.tile[first + 1 :] != self.block[first + 1 :]:
            return frozenset()
        gathered = {write.node for write in self.writes if not isinstance(write.target, Streamed)}
        return frozenset(write.node for write in self.writes) - gathered

    @cached_property
    def schedule(self) -> Schedule:
        """How its program is run."""
        if not self.compiled:
            return self.program.schedule
        reductions = [Reduction(r.node, r.of, r.function, r.params) for r in self.reduces]
        return fused(self.program, [w.node for w in self.writes], reductions, self.device)

    def __getstate__(self) -> dict[str, Any]:
        # What is cached is derived, and costs more to send than to make again.
        return {one.name: getattr(self, one.name) for one in fields(self)}

    @cached_property
    def quarantine(self) -> frozenset[str]:
        """Item sources whose bad items can be set apart: every end still has one row for each item."""
        return frozenset(name for name in self.sources if self._keeps_items(name))

    def _keeps_items(self, source: str) -> bool:
        behind = {source}
        for step in self.program.steps:
            if behind.intersection(step.of):
                behind.add(step.name)
        mixed = any(reduce.of in behind and reduce.items != source for reduce in self.reduces)
        return not mixed and all(self.program.metas[end].items == source for end in behind.intersection(self.ends))

    def region(self, number: int) -> Region:
        """The part of the domain that a block covers."""
        return block_region(unravel(number, self.grid), self.domain, self.block)

    def wanted(self, region: Region) -> dict[str, Region]:
        """The region of every end for a region of the domain."""
        metas = self.program.metas
        return {name: region + whole(metas[name].shape[len(region) :]) for name in self.ends}


def stages(flow: Flow, writes: Sequence[Write], extra: Sequence[Step], stored: Mapping[str, Target]) -> list[Stage]:
    """One stage for each end, still without block shapes, in an order that can run.

    Parameters
    ----------
    flow : Flow
    writes : sequence of Write
        Every array that must be written.
    extra : sequence of Step
        Steps beyond the flow's own that `writes` name.
    stored : mapping of str to Target
        The nodes at which the flow is cut, and where each is written for the stages behind it:
        every reduction, and whatever else the planner chose.
    """
    levels = _levels(flow, stored)
    by_name = {step.name: step for step in extra}
    ends: list[tuple[str, Write | Reduce]] = [(write.node, write) for write in writes]
    for name, target in stored.items():
        node = flow.nodes[name]
        if not is_reduction(flow, name):
            # What a sink writes as .npy is read from there.
            ends += [] if Write(name, target) in writes else [(name, Write(name, target))]
            continue
        of, items = node.of[0], _told_apart(flow, name)
        ends.append((of, Reduce(name, of, node.use, node.params, meta_of(flow, of), target, items)))
    made = []
    for node_name, end in ends:
        readable = _readable(flow, node_name, end.target, stored)
        program, sources = _program(flow, node_name, by_name, readable)
        made.append(
            Stage(
                name=node_name if isinstance(end, Write) else end.node,
                program=program,
                sources=sources,
                writes=(end,) if isinstance(end, Write) else (),
                reduces=(end,) if isinstance(end, Reduce) else (),
                domain=program.metas[node_name].shape,
                level=max((levels[name] + 1 for name in sources if name in readable), default=0),
            )
        )
    return sorted(made, key=lambda stage: stage.level)


def _levels(flow: Flow, stored: Iterable[str]) -> dict[str, int]:
    """How many stored nodes must be finished, one after another, before each node can be made."""
    cuts = set(stored)
    levels: dict[str, int] = {}
    for node in flow.nodes.values():
        levels[node.name] = max((levels[name] + (name in cuts) for name in node.of), default=0)
    return levels


def is_reduction(flow: Flow, name: str) -> bool:
    """Whether a node of the flow is a reduction."""
    node = flow.nodes[name]
    return node.source is None and get_op(node.use).is_reduction


def _told_apart(flow: Flow, name: str) -> str | None:
    """The source whose items a node, and all that is made of it, has a row for each of."""
    items, behind = meta_of(flow, name).items, {name}
    for node in flow.nodes.values():
        if behind.intersection(node.of):
            behind.add(node.name)
            if meta_of(flow, node.name).items != items:
                return None
    return items


def _readable(flow: Flow, end: str, target: Target, stored: Mapping[str, Target]) -> Mapping[str, Target]:
    """The stored nodes that a stage reads rather than makes.

    A step that is stored comes out of one task with whatever else ends in it. A source that is
    stored is stored to be read from there by all but the stage that does it.
    """
    if end not in stored or is_reduction(flow, end):
        return stored
    if flow.nodes[end].source is not None and target != stored[end]:
        return stored
    return {name: one for name, one in stored.items() if name != end}


def _program(
    flow: Flow, end: str, extra: Mapping[str, Step], stored: Mapping[str, Target]
) -> tuple[Program, dict[str, Source]]:
    """The block program that makes one node, from sources and from nodes that are stored."""
    sources: dict[str, Source] = {}
    steps: dict[str, Step] = {}

    waiting = [end]
    while waiting:
        name = waiting[-1]
        node = flow.nodes.get(name)
        if name in extra:
            made = extra[name]
        elif name in stored:
            sources[name] = Stored(stored[name].path, meta_of(flow, name))
        elif node is not None and node.source is not None:
            sources[name] = node.source
        else:
            assert node is not None
            made = Step(name, node.use, node.of, node.params, meta_of(flow, name))
        if name in sources or name in steps:
            waiting.pop()
            continue
        missing = [one for one in made.of if one not in sources and one not in steps]
        if missing:
            waiting += reversed(missing)
        else:
            steps[waiting.pop()] = made
    inputs = {name: meta_of(flow, name) for name in sources}
    return Program(inputs, tuple(steps.values())), sources


def meta_of(flow: Flow, name: str) -> Meta:
    """A node's meta, which is known: a flow is planned only when every input is there."""
    meta = flow.nodes[name].meta
    assert meta is not None
    return meta


def merged(first: Stage, second: Stage) -> Stage | None:
    """Both stages in one task, cut along the leading axes that all their ends share.

    `None` where they share nothing or where they cannot be cut alike.
    """
    shared = {*first.program.metas} & {*second.program.metas}
    if first.level != second.level or not shared:
        return None
    domain = []
    for a, b in zip(first.domain, second.domain, strict=False):
        if a != b:
            break
        domain.append(a)
    if not domain and (first.domain or second.domain):
        return None
    steps = {step.name: step for step in (*first.program.steps, *second.program.steps)}
    inputs = {**first.program.inputs, **second.program.inputs}
    writes = first.writes + tuple(w for w in second.writes if w not in first.writes)
    return replace(
        first,
        name=second.name if second.writes and not first.writes else first.name,
        program=Program(inputs, tuple(steps.values())),
        sources={**first.sources, **second.sources},
        writes=writes,
        reduces=first.reduces + second.reduces,
        domain=tuple(domain),
    )

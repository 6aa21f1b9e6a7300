"""Draft the stages of a plan: which ends share a task, and where a node is better stored."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from hpcflow.meta import ItemSource, Target
from hpcflow.planning.alike import likeness
from hpcflow.planning.blocks import CHOSEN, cost, reading, shaped, stage_reading
from hpcflow.planning.device import Gpu
from hpcflow.planning.memory import middle
from hpcflow.planning.stages import Stage, Write, merged, meta_of, stages
from hpcflow.program.program import Step
from hpcflow.regions import whole
from hpcflow.registry import get_op
from hpcflow.sinks.npy import NpyTarget
from hpcflow.spec.flow import Flow, Node

STORING_COST = 4
"""What an element of a stored node costs beyond its write and its reads, in elements made: a disk may be slow."""
TRIED = 8
"""Stages that another one is tried to be joined with."""
TWICE = 1.5
"""A source that is read this many times over may be better stored in other chunks."""


@dataclass(frozen=True)
class Draft:
    """What must come out of the plan, and where the flow is cut so far."""

    flow: Flow
    writes: tuple[Write, ...]
    extra: tuple[Step, ...]
    stored: Mapping[str, Target]
    run_dir: Path
    room: int
    """Bytes for the tasks that run at once, and for what the driver holds of their results."""
    slots: int
    """How many tasks run at once."""
    gpu: Gpu | None = None
    """The device that each worker has."""

    def stages(self) -> list[Stage]:
        """Its stages, each with its blocks; without them where not even the smallest fits."""
        return _named(self._grouped(stages(self.flow, self.writes, self.extra, self.stored), {}))

    def cut_where_it_pays(self) -> tuple[Draft, list[Stage]]:
        """Store a node on disk wherever two passes cost clearly less than one, or where one does not fit.

        It pays before an op that must see an axis from end to end, when what is behind it cuts
        that axis, or must see another one: each block would else be made of the whole array.
        It pays for what two stages would each make, before and after a reduction. And it pays for
        a source whose chunks lie across the blocks, which would each decode all of it.

        Where the flow does not fit, ops that can take one axis after another do.

        Returns
        -------
        Draft
        list of Stage
            Its stages.
        """
        drafted, chosen = self.cut_further()
        if not all(map(_fits, chosen)) and (parted := _parted(self.flow)).nodes.keys() != self.flow.nodes.keys():
            tried, made = replace(self, flow=parted).cut_further()
            return (tried, made) if all(map(_fits, made)) else (drafted, chosen)
        return drafted, chosen

    def cut_further(self) -> tuple[Draft, list[Stage]]:
        """The same, of the ops as they are."""
        chosen = self.stages()
        best, least = (self, chosen), _total(chosen)
        for name in self.candidates(chosen):
            tried = self.cut(name)
            made = tried.stages()
            total = _total(made) + STORING_COST * meta_of(self.flow, name).size
            if total < least:
                best, least = (tried, made), total
        return best if best[0] is self else best[0].cut_further()

    def candidates(self, chosen: Sequence[Stage]) -> list[str]:
        """Nodes that may be worth storing; none whose items must be told apart to the end."""
        shared = Counter(step.name for stage in chosen for step in stage.program.steps)
        twice = [name for name, times in shared.items() if times > 1 and name in self.flow.nodes]
        found = dict.fromkeys([name for stage in chosen for name in [*_before_meetings(stage), *_read_often(stage)]])
        items = _with_items(self.flow)
        return [name for name in [*found, *twice] if name not in self.stored and name not in items]

    def cut(self, name: str) -> Draft:
        """The draft with one more node stored for the stages behind it.

        As `.npy`: its pages are read again from the system's cache, in blocks of any shape. Zarr in
        chunks that suit both sides took twice as long.
        """
        own = NpyTarget(
            str(self.run_dir / "stages" / f"{name}.npy"), meta_of(self.flow, name), lasting=False, private=True
        )
        written = (w.target for w in self.writes if w.node == name and isinstance(w.target, NpyTarget))
        target = next(written, own)
        return replace(self, stored={**self.stored, name: target})

    def _grouped(self, ends: Sequence[Stage], seen: dict[Hashable, Stage | None]) -> list[Stage]:
        """Join stages wherever one task for both costs no more than one for each.

        Halves first: where all of many ends come out of one task, each is looked at a few times, not once for every
        other one. Halves that are alike are `seen` before.
        """
        if len(ends) <= 1:
            return [self._shaped(end, seen) or end for end in ends]
        half = len(ends) // 2
        chosen, others = self._grouped(ends[:half], seen), self._grouped(ends[half:], seen)
        for end in others:
            near = ((i, both) for i, other in enumerate(chosen) if (both := merged(other, end)) is not None)
            for i, both in islice(near, TRIED):
                together = self._shaped(both, seen)
                if together is None or not _fits(end):
                    continue
                if cost(together, together.block) <= cost(chosen[i], chosen[i].block) + cost(end, end.block):
                    chosen[i] = together
                    break
            else:
                chosen.append(end)
        return chosen

    def _shaped(self, stage: Stage, seen: dict[Hashable, Stage | None]) -> Stage | None:
        key = likeness(stage)
        if key not in seen:
            seen[key] = shaped(stage, self.room, self.flow.block, self.slots, self.gpu)
        found = seen[key]
        return None if found is None else replace(stage, **{name: getattr(found, name) for name in CHOSEN})


def _parted(flow: Flow) -> Flow:
    """The flow with a step for each axis of ops that can be taken apart so."""
    nodes: dict[str, Node] = {}
    for node in flow.nodes.values():
        op = None if node.source is not None else get_op(node.use)
        axes = op.axes_seen_whole(meta_of(flow, node.name), node.params) if op is not None and op.parts else ()
        if op is None or not isinstance(op.whole, str) or not axes:
            nodes[node.name] = node
            continue
        of, (*others, last) = node.of, axes
        for axis in others:
            name = f"{node.name}[{axis}]"
            nodes[name] = replace(node, name=name, of=of, params={**node.params, op.whole: (axis,)})
            of = (name,)
        nodes[node.name] = replace(node, of=of, params={**node.params, op.whole: (last,)})
    return replace(flow, nodes=nodes)


def _before_meetings(stage: Stage) -> Iterator[str]:
    """Steps that are read by an op that sees more than a neighbourhood, or that leave little of what they read."""
    made = {step.name for step in stage.program.steps}
    for step in stage.program.steps:
        op = stage.program.ops[step.name]
        if op.whole is not None or op.reaches is not None:
            yield from (name for name in step.of if name in made)
        if op.reaches is not None and step.meta.size < sum(stage.program.metas[name].size for name in step.of):
            yield step.name


def _read_often(stage: Stage) -> Iterator[str]:
    """Sources of which the blocks together read much more than there is; all, where no block fits."""
    if not stage.block:
        yield from stage.sources
        return
    bounds = stage.program.bounds(stage.wanted(middle(stage.domain, stage.block)))
    for name, source in stage.sources.items():
        if name in bounds.regions:
            each, once = stage_reading(stage, name, bounds.regions[name]), reading(source, whole(source.meta.shape))
            if each * stage.tasks > TWICE * once:
                yield name


def _with_items(flow: Flow) -> set[str]:
    """Item sources and all that is made of them."""
    found: set[str] = set()
    for node in flow.nodes.values():
        if isinstance(node.source, ItemSource) or found.intersection(node.of):
            found.add(node.name)
    return found


def _total(chosen: Sequence[Stage]) -> float:
    """What the stages cost together; a stage that fits nowhere costs more than anything."""
    return sum(cost(stage, stage.block) if _fits(stage) else 1e30 for stage in chosen)


def _fits(stage: Stage) -> bool:
    """Whether it has blocks: one of a single number needs no shape."""
    return bool(stage.block) or not stage.domain


def _named(chosen: Sequence[Stage]) -> list[Stage]:
    """Give stages that end in one node, stored and written, names of their own."""
    seen: dict[str, int] = {}
    named = []
    for stage in chosen:
        times = seen[stage.name] = seen.get(stage.name, 0) + 1
        named.append(stage if times == 1 else replace(stage, name=f"{stage.name}-{times}"))
    return named

"""Draft the stages of a plan: which ends share a task, and where a node is better stored."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from hpcflow.meta import Target
from hpcflow.planning.blocks import cost, shaped
from hpcflow.planning.stages import Stage, Write, merged, meta_of, stages
from hpcflow.program.program import Step
from hpcflow.regions import Shape
from hpcflow.sinks.npy import NpyTarget
from hpcflow.spec.flow import Flow

STORING_COST = 4
"""What an element of a stored node costs beyond its write and its reads, in elements made: a disk may be slow."""


@dataclass(frozen=True)
class Draft:
    """What must come out of the plan, and where the flow is cut so far."""

    flow: Flow
    writes: tuple[Write, ...]
    extra: tuple[Step, ...]
    stored: Mapping[str, Target]
    run_dir: Path
    room: int

    def stages(self) -> list[Stage]:
        """Its stages, each with its blocks; without them where not even the smallest fits."""
        return _grouped(stages(self.flow, self.writes, self.extra, self.stored), self.room, self.flow.block)

    def cut(self, name: str) -> Draft:
        """The draft with one more node stored for the stages behind it."""
        own = NpyTarget(str(self.run_dir / "stages" / f"{name}.npy"), meta_of(self.flow, name))
        written = (w.target for w in self.writes if w.node == name and isinstance(w.target, NpyTarget))
        target = next(written, own)
        return replace(self, stored={**self.stored, name: target})

    def cut_where_it_pays(self) -> Draft:
        """Store a node on disk wherever two passes cost clearly less than one, or where one does not fit.

        It pays before an op that must see an axis from end to end, when what is behind it cuts
        that axis, or must see another one: each block would else be made of the whole array.
        And it pays for what two stages would each make, before and after a reduction.
        """
        chosen = self.stages()
        shared = Counter(step.name for stage in chosen for step in stage.program.steps)
        twice = [name for name, times in shared.items() if times > 1]
        meetings = [name for stage in chosen for name in _before_meetings(stage)]
        candidates = [name for name in [*meetings, *twice] if name not in self.stored and name in self.flow.nodes]
        best, least = None, _total(chosen)
        for name in dict.fromkeys(candidates):
            tried = self.cut(name)
            total = _total(tried.stages()) + STORING_COST * meta_of(self.flow, name).size
            if total < least:
                best, least = tried, total
        return self if best is None else best.cut_where_it_pays()


def _before_meetings(stage: Stage) -> Iterator[str]:
    """Steps that are read by an op that sees more than a neighbourhood."""
    made = {step.name for step in stage.program.steps}
    for step in stage.program.steps:
        op = stage.program.ops[step.name]
        if op.whole is not None or op.reaches is not None:
            yield from made.intersection(step.of)


def _total(chosen: Sequence[Stage]) -> float:
    """What the stages cost together; a stage that fits nowhere costs more than anything."""
    return sum(cost(stage, stage.block) if stage.block or not stage.domain else 1e30 for stage in chosen)


def _grouped(ends: Sequence[Stage], room: int, asked: Shape | None) -> list[Stage]:
    """Join stages wherever one task for both costs no more than one for each."""
    chosen: list[Stage] = []
    for end in ends:
        alone = shaped(end, room, asked)
        for i, other in enumerate(chosen):
            both = merged(other, end)
            together = both and shaped(both, room, asked)
            if together is None or alone is None:
                continue
            if cost(together, together.block) <= cost(other, other.block) + cost(alone, alone.block):
                chosen[i] = together
                break
        else:
            chosen.append(alone or end)
    return _named(chosen)


def _named(chosen: Sequence[Stage]) -> list[Stage]:
    """Give stages that end in one node, stored and written, names of their own."""
    seen: dict[str, int] = {}
    named = []
    for stage in chosen:
        times = seen[stage.name] = seen.get(stage.name, 0) + 1
        named.append(stage if times == 1 else replace(stage, name=f"{stage.name}-{times}"))
    return named

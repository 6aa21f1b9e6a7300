"""The small DAG of ops inside one task, and what it must read for any region of its results.

Bounds inference walks the steps backwards, as in Halide: from the wanted regions, each op's
reach gives the regions of its inputs; where several steps read one node, the hull of what
they need is made once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from hpcflow.kernels.cuda import Kernel
from hpcflow.kernels.loops import Loop
from hpcflow.kernels.stencil import Window
from hpcflow.meta import Meta
from hpcflow.operation import Geometry, Op
from hpcflow.regions import Region, hull
from hpcflow.registry import Reach, get_op


@dataclass(frozen=True)
class Step:
    """One op, applied."""

    name: str
    op: str
    of: tuple[str, ...]
    params: Mapping[str, Any]
    meta: Meta
    """Of the result."""
    prepared: Any = None
    """What the op's `prepare` has found, for an op that has one."""


@dataclass(frozen=True)
class Fused:
    """A run of steps that one compiled loop computes."""

    steps: tuple[Step, ...]
    of: tuple[str, ...]
    """A node once for each window onto it, and once without."""
    outputs: tuple[str, ...]
    """The steps whose arrays are needed outside of it."""
    reductions: tuple[str, ...]
    """Whose partials the loop gives as well."""
    reduced: tuple[str, ...]
    """What each of them is of."""
    loop: Loop | Kernel
    windows: Mapping[int, Window] = field(default_factory=dict)
    """Onto those of `of` that filters read, by their place there."""
    apart: tuple[Step | Fused, ...] = ()
    """What makes the same, bit for bit, where not all steps are needed for one region."""

    @cached_property
    def label(self) -> str:
        """Its steps and reductions, joined by ``+``."""
        return "+".join([*(step.name for step in self.steps), *self.reductions])


@dataclass(frozen=True)
class Schedule:
    """What is run one after another to evaluate a program."""

    units: tuple[Step | Fused, ...]

    @cached_property
    def last(self) -> dict[str, int]:
        """The place of the last unit that reads a node."""
        return {name: i for i, unit in enumerate(self.units) for name in unit.of}

    def last_of(self, bounds: Bounds) -> dict[str, int]:
        """The same, of the units that are run within these bounds."""
        return {
            name: i
            for i, unit in enumerate(self.units)
            if isinstance(unit, Fused) or unit.name in bounds.reaches
            for name in unit.of
        }


@dataclass(frozen=True)
class Program:
    """Inputs and steps; every step follows those it reads."""

    inputs: Mapping[str, Meta]
    steps: tuple[Step, ...]

    @cached_property
    def metas(self) -> dict[str, Meta]:
        """The meta of every node."""
        return {**self.inputs, **{step.name: step.meta for step in self.steps}}

    @cached_property
    def ops(self) -> dict[str, Op]:
        """The op of every step."""
        return {step.name: get_op(step.op) for step in self.steps}

    @cached_property
    def geometries(self) -> dict[str, Geometry]:
        """The geometry of every step."""
        return {step.name: self.ops[step.name].geometry(step.meta, step.params) for step in self.steps}

    @cached_property
    def schedule(self) -> Schedule:
        """Step by step."""
        return Schedule(self.steps)

    def __getstate__(self) -> dict[str, Any]:
        # What is cached is derived: workers look the ops up by name.
        return {"inputs": dict(self.inputs), "steps": self.steps}

    def bounds(self, wanted: Mapping[str, Region]) -> Bounds:
        """What each node must hold so that the `wanted` regions can be made.

        Parameters
        ----------
        wanted : mapping of str to Region
            A region inside each of the nodes that are asked for.

        Returns
        -------
        Bounds
            Regions may reach beyond an array's ends where it is continued periodically.
        """
        regions = dict(wanted)
        asked: dict[str, Region] = {}
        reaches: dict[str, Reach] = {}
        for step in reversed(self.steps):
            if step.name not in regions:
                continue
            op = self.ops[step.name]
            geometry = self.geometries[step.name]
            out = _within(regions[step.name], step.meta, geometry.periodic)
            reach = op.reach(out, step.meta, [self.metas[name] for name in step.of], step.params, geometry)
            asked[step.name], reaches[step.name] = out, reach
            regions[step.name] = reach.made
            for name, need in zip(step.of, reach.needs, strict=True):
                if need is not None:
                    regions[name] = hull(regions[name], need) if name in regions else need
        return Bounds(regions, reaches, asked)


@dataclass(frozen=True)
class Bounds:
    """The answer of bounds inference; nodes that are not needed are left out."""

    regions: Mapping[str, Region]
    """What each node holds."""
    reaches: Mapping[str, Reach]
    """What each step reads and makes."""
    asked: Mapping[str, Region]
    """What of each step is needed, of what it makes."""


def _within(region: Region, meta: Meta, periodic: tuple[bool, ...]) -> Region:
    """The region, or the whole of each axis that it leaves and that cannot be continued."""
    if all(periodic):
        return region
    return tuple(
        (a, b) if continued or (a >= 0 and b <= n) else (0, n)
        for (a, b), n, continued in zip(region, meta.shape, periodic, strict=True)
    )

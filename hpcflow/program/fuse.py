"""Runs of elementwise steps, the filters before and the reductions behind them, as one compiled loop each.

Steps join a run where they have one shape and nothing but elementwise steps lies between them; a
short linear filter joins it that reads what was there before.
Each op is run once on traced values (`kernels.trace`); one that does something else than a loop
is sure to do alike stays a step of its own, as does a run too short to gain anything.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from hpcflow.errors import Mismatch
from hpcflow.kernels import cuda, loops
from hpcflow.kernels.stencil import windows
from hpcflow.kernels.trace import Names, Node, Traced, Untraceable, kinds_of, traced_input
from hpcflow.meta import Meta
from hpcflow.operation import Op
from hpcflow.program.program import Fused, Program, Schedule, Step


@dataclass(frozen=True)
class Reduction:
    """What a program's values are reduced to, tile by tile."""

    node: str
    of: str
    op: Op
    params: Mapping[str, Any]


LONGEST = 100
"""Steps of one loop: to compile a long one takes far more than twice as long as to compile its halves."""
LEAST_OPERATIONS = 2
"""A loop of fewer is what NumPy has ready."""


def fused(program: Program, kept: Iterable[str], reductions: Sequence[Reduction], device: str = "cpu") -> Schedule:
    """The schedule of a program with its runs of elementwise steps fused.

    Parameters
    ----------
    program : Program
    kept : iterable of str
        The nodes whose arrays are wanted.
    reductions : sequence of Reduction
        A loop gives their partials where it can; others are left to whoever holds the array.
    device : str
        What runs it: ``"cpu"`` by Numba's loops, ``"cuda"`` by kernels of its own.
    """
    writer = loops if device == "cpu" else cuda
    simple = {step.name for step in program.steps if _traceable(program, step, writer)}
    filters = {name for name in simple if program.ops[name].depth is not None}
    levels = _levels(program, simple, filters)
    runs = _runs(program, simple, filters, levels)
    ends = [one for one in reductions if _reduced(one, program.metas[one.of]) is not None]
    needed = {*kept, *(one.of for one in reductions if one not in ends)}
    for step in program.steps:
        needed.update(name for name in step.of if step.name not in runs or runs.get(name) != runs[step.name])
    units: list[Step | Fused] = []
    for level in range(max(levels.values(), default=-1) + 1):
        here = [step for step in program.steps if levels[step.name] == level]
        # What is no run reads runs of its own level, and never the other way round.
        for run in dict.fromkeys(runs[step.name] for step in here if step.name in runs):
            chain = [step for step in here if runs.get(step.name) == run]
            units += _fused(program, chain, needed, ends, writer)
        units += [step for step in here if step.name not in runs]
    made = {name for unit in units if isinstance(unit, Fused) for name in unit.reductions}
    for one in ends:
        if one.of not in runs and one.node not in made:
            units += _fused(program, [], needed, [one], writer)
    compiled = [unit for unit in units if isinstance(unit, Fused)]
    if writer is loops and all(len(one.steps) == 1 and one.windows and not one.reductions for one in compiled):
        return program.schedule  # filters by themselves are as quick with their library, and need no compiler
    return Schedule(tuple(units))


def _traceable(program: Program, step: Step, writer: ModuleType) -> bool:
    op = program.ops[step.name]
    if (op.depth is not None and not op.stencil) or op.reaches is not None:
        return False
    if op.whole is not None and any(op.axes_seen_whole(step.meta, step.params)):
        return False
    inputs = [(program.metas[name]) for name in step.of]
    try:
        node = _traced(step, op, [traced_input(i, meta.dtype, meta.ndim) for i, meta in enumerate(inputs)])
    except Untraceable:
        return False
    filters = "neighbour" in kinds_of(node)
    return node.dtype == step.meta.dtype and filters == (op.depth is not None) and bool(writer.able(node))


def _traced(step: Step, op: Op, inputs: list[Traced]) -> Node:
    """What a step does to its inputs."""
    try:
        made = op(inputs, step.params, Names())  # type: ignore[arg-type]
    except (Mismatch, TypeError, ValueError, AttributeError) as error:
        raise Untraceable(str(error)) from error
    if not isinstance(made, Traced):
        raise Untraceable(step.op)
    return made.node


def _reduced(one: Reduction, meta: Meta, node: Node | None = None) -> Node | None:
    """What a reduction does to a value; `None` where it is more than one sum, minimum or maximum of all."""
    try:
        value = traced_input(0, meta.dtype, meta.ndim) if node is None else Traced(node, meta.ndim)
        partial = one.op([value], one.params, Names())  # type: ignore[arg-type]
    except (Untraceable, Mismatch, TypeError, ValueError, AttributeError):
        return None
    whole = isinstance(partial, tuple) and len(partial) == 1 and isinstance(partial[0], Traced)
    return partial[0].node if whole and partial[0].node.kind in ("sum", "min", "max") else None


def _levels(program: Program, simple: set[str], filters: set[str]) -> dict[str, int]:
    """How many times a chain that ends in a step left the steps of one shape that a loop can hold.

    A filter reads what is there already: what a loop makes has no neighbours yet.
    """
    levels: dict[str, int] = {}
    for step in program.steps:
        level = 0
        for name in step.of:
            if name in program.inputs:
                continue
            same = name in simple and step.name not in filters and program.metas[name].shape == step.meta.shape
            level = max(level, levels[name] + (step.name in simple and not same))
        levels[step.name] = level
    return levels


def _runs(program: Program, simple: set[str], filters: set[str], levels: Mapping[str, int]) -> dict[str, str]:
    """The run of each step that a loop can hold, named after one of its steps.

    Steps of one level and shape are of one run where one reads the other, or both read the same.
    A filter is only in the run of those that read it: others may need another region.
    """
    runs: dict[str, str] = {}
    readers: dict[tuple[str, int, Any], str] = {}
    for step in program.steps:
        if step.name not in simple:
            continue
        runs[step.name] = step.name
        for name in (step.name, *(() if step.name in filters else step.of)):
            place = name, levels[step.name], step.meta.shape
            other = runs.get(readers.setdefault(place, step.name), step.name)
            if other != step.name:
                mine = runs[step.name]
                runs.update({one: other for one, run in runs.items() if run == mine})
    counted = Counter[str]()
    for name, run in runs.items():
        runs[name] = f"{run}#{counted[run] // LONGEST}"
        counted[run] += 1
    return runs


def _fused(
    program: Program, steps: list[Step], needed: set[str], ends: Sequence[Reduction], writer: ModuleType
) -> list[Step | Fused]:
    """The steps as one loop, with the reductions of what they make; as they are where that gains nothing."""
    names = {step.name for step in steps}
    taken = [one for one in ends if one.of in names or not steps]
    # Filters that continue an array alike look at it through one window.
    modes = {step.name: _modes(program, step) for step in steps}
    outside = [(name, modes[step.name]) for step in steps for name in step.of if name not in names]
    read = list(dict.fromkeys(outside or [(one.of, ()) for one in taken]))
    of = tuple(name for name, _ in read)
    metas = [program.metas[name] for name in of]
    inputs = {one: traced_input(i, m.dtype, m.ndim) for i, (one, m) in enumerate(zip(read, metas, strict=True))}
    values = {name: value for (name, mode), value in inputs.items() if not mode}
    for step in steps:
        given = [inputs.get((name, modes[step.name]), values.get(name)) for name in step.of]
        values[step.name] = Traced(_traced(step, program.ops[step.name], given), step.meta.ndim)  # type: ignore[arg-type]
    outputs = tuple(step.name for step in steps if step.name in needed)
    reduced = [_reduced(one, program.metas[one.of], values[one.of].node) for one in taken]
    made = [values[name].node for name in outputs], [node for node in reduced if node is not None]
    loop = writer.write([(m.dtype, m.size == 1 and bool(steps)) for m in metas], *made)
    if not taken and loop.operations < LEAST_OPERATIONS:
        return list(steps)
    apart: list[Step | Fused] = []
    for step in steps:
        # A filter on its own is a loop as well, for another library rounds otherwise.
        alone = modes[step.name] and (taken or len(steps) > 1)
        apart += _fused(program, [step], {step.name}, [], writer) if alone else [step] * (not modes[step.name])
    return [
        Fused(
            tuple(steps),
            of,
            outputs,
            reductions=tuple(one.node for one in taken),
            reduced=tuple(one.of for one in taken),
            loop=loop,
            windows=windows([*made[0], *made[1]]),
            apart=tuple(apart),
        )
    ]


def _modes(program: Program, step: Step) -> tuple[str, ...]:
    """How a filter continues its input along each axis; nothing for what is no filter."""
    if program.ops[step.name].depth is None:
        return ()
    meta = program.metas[step.of[0]]
    return windows([_traced(step, program.ops[step.name], [traced_input(0, meta.dtype, meta.ndim)])])[0].modes

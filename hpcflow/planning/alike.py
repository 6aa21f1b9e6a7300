"""Stages that differ in names and formulas alone: of those, one need be given its blocks."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import fields, is_dataclass

from hpcflow.meta import Meta
from hpcflow.operation import call
from hpcflow.planning.stages import Stage
from hpcflow.program.program import Step
from hpcflow.registry import get_op


def likeness(stage: Stage) -> Hashable:
    """All that the choice of blocks depends on: the same for stages whose nodes have other names."""
    program = stage.program
    numbers: dict[str, int] = {}
    for name in program.metas:
        numbers[name] = len(numbers)
    inputs = tuple((name, type(stage.sources[name])) for name in program.inputs)
    steps = tuple((_work(step, program.metas), step.meta, *(numbers[of] for of in step.of)) for step in program.steps)
    writes = tuple((numbers[write.node], _target(write.target)) for write in stage.writes)
    reduces = tuple((numbers[one.of], one.op, repr(dict(one.params)), one.meta, one.items) for one in stage.reduces)
    return stage.domain, inputs, steps, writes, reduces


def _work(step: Step, metas: Mapping[str, Meta]) -> Hashable:
    """An op with its parameters; of one that works element by element, what it needs instead of these."""
    op = get_op(step.op)
    if op.depth is not None or op.whole is not None or op.reaches is not None or callable(op.work):
        return step.op, repr(dict(step.params))
    if not callable(op.scratch):
        return step.op, op.scratch
    given = [metas[name] for name in step.of]
    return step.op, call(op.scratch, given, {**step.params, "shapes": [meta.shape for meta in given]})


def _target(target: object) -> Hashable:
    """All of a target but where it is."""
    if not is_dataclass(target):
        return id(target)
    names = [one.name for one in fields(target) if one.compare and one.name != "path"]
    return type(target), tuple(repr(getattr(target, name)) for name in names)

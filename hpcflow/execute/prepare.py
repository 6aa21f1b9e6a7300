"""What ops do once before a stage's first block: a network is exported, or calibrated on some of its input."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from hpcflow.errors import BadItem, HpcflowError
from hpcflow.execute.block import Failure
from hpcflow.execute.reading import Reader
from hpcflow.namespace import Array
from hpcflow.operation import accepted
from hpcflow.planning.stages import Stage
from hpcflow.program.evaluate import StepError, evaluate
from hpcflow.program.program import Program
from hpcflow.regions import Region


def needs_preparing(stage: Stage) -> bool:
    """Whether any of its ops has something to do before the first block."""
    return any(op.prepare is not None for op in stage.program.ops.values())


def prepare(stage: Stage) -> dict[str, Any] | Failure:
    """What each of the stage's ops has found, by step; run on a worker."""
    found: dict[str, Any] = {}
    for step in stage.program.steps:
        prepares = stage.program.ops[step.name].prepare
        if prepares is None:
            continue
        # Steps before this one are prepared by now: they may be what its sample is made by.
        so_far = with_prepared(stage, found)

        def read(region: Region, stage: Stage = so_far, node: str = step.of[0]) -> Array:
            wanted = {node: region}
            bounds = stage.program.bounds(wanted)
            return evaluate(stage.program, wanted, Reader(stage, bounds, None), bounds=bounds)[node]

        metas = [stage.program.metas[name] for name in step.of]
        try:
            found[step.name] = prepares(read, *metas, **accepted(prepares, step.params))
        except StepError as error:
            return Failure(error.node, error.message)
        except (HpcflowError, OSError) as error:
            item = error.item if isinstance(error, BadItem) else None
            return Failure(step.name, str(error), item)
    return found


def with_prepared(stage: Stage, found: Mapping[str, Any]) -> Stage:
    """The stage whose steps know what was found for them."""
    steps = tuple(replace(s, prepared=found[s.name]) if s.name in found else s for s in stage.program.steps)
    return replace(stage, program=Program(stage.program.inputs, steps))

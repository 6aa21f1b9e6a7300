"""What ops do once before a stage's first block: a network is exported, or calibrated on some of its input."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from hpcflow.digests import digest_json
from hpcflow.errors import BadItem, HpcflowError
from hpcflow.execute.block import Failure
from hpcflow.execute.reading import Reader, state_of
from hpcflow.execute.receipts import stage_key
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

        metas = [stage.program.metas[name] for name in step.of]
        try:
            found[step.name] = prepares(_Input(so_far, step.of[0]), *metas, **accepted(prepares, step.params))
        except StepError as error:
            return Failure(error.node, error.message)
        except (HpcflowError, OSError) as error:
            item = error.item if isinstance(error, BadItem) else None
            return Failure(step.name, str(error), item)
    return found


@dataclass(frozen=True)
class _Input:
    """A step's first input."""

    stage: Stage
    node: str

    def __call__(self, region: Region) -> Array:
        """The part in this region."""
        wanted = {self.node: region}
        bounds = self.stage.program.bounds(wanted)
        return evaluate(self.stage.program, wanted, Reader(self.stage, bounds, None), bounds=bounds)[self.node]

    def state(self, region: Region) -> str:
        """What tells, without reading it, that this part is as it was."""
        needed = self.stage.program.bounds({self.node: region}).regions
        return digest_json([self._key, [state_of(self.stage, name, needed) for name in self.stage.sources]])

    @cached_property
    def _key(self) -> str:
        return stage_key(self.stage)


def with_prepared(stage: Stage, found: Mapping[str, Any]) -> Stage:
    """The stage whose steps know what was found for them."""
    steps = tuple(replace(s, prepared=found[s.name]) if s.name in found else s for s in stage.program.steps)
    return replace(stage, program=Program(stage.program.inputs, steps))

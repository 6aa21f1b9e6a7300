"""What a block holds in the memory of a device, and in the host's beside it.

On a device a block is not cut into tiles: a kernel works on as much as there is. All that a
block reads is there at once, steps let each array go after its last use, and results are copied
back when they are done.
"""

from __future__ import annotations

from dataclasses import dataclass

from hpcflow.meta import Meta
from hpcflow.planning.memory import Held, middle, partial_bytes, reduction_scratch, step_rows
from hpcflow.planning.stages import Stage
from hpcflow.regions import Shape, size_of

MIB = 2**20
AT_ONCE = 2
"""Blocks of a worker that are on its device: while one is computed, another is copied."""
CONTEXT = 600 * MIB
"""What CUDA and its libraries keep of a device for each process: an allowance, not measured."""
SHARE = 1.1
"""What the pool keeps of arrays that are gone, and cannot fill."""
USABLE = 0.95
"""Of a device's memory; its screen and other processes have some."""
DTYPES = "?bBhHiIlLqQefdFD"
"""NumPy's characters of what a device computes with, in any byte order."""


@dataclass(frozen=True)
class Gpu:
    """The device that each worker has."""

    memory: int | None = None
    """Bytes of the smallest one; `None` where nobody knows."""
    threads: int = 1
    """Of each worker."""

    @property
    def budget(self) -> int | None:
        """Bytes that a worker may use of it."""
        return None if self.memory is None else int(USABLE * self.memory)

    def peak(self, stage: Stage) -> int:
        """Bytes that a worker has on it while a stage runs."""
        on_it = min(stage.tasks, self.threads, AT_ONCE) * stage.device_memory
        return 0 if stage.device == "cpu" else CONTEXT + on_it

    def holds(self, stage: Stage) -> bool:
        """Whether a worker's tasks have room on it."""
        return self.budget is None or self.peak(stage) <= self.budget


def computes(stage: Stage) -> bool:
    """Whether a device computes with all that a stage reads; its results may be records."""
    return all(_computable(meta) for meta in stage.program.inputs.values())


def _computable(meta: Meta) -> bool:
    return meta.dtype.char in DTYPES


def device_memory(stage: Stage, block: Shape) -> int:
    """The most bytes of a device that a task of this stage takes."""
    return int(SHARE * max((row.total for row in device_rows(stage, block)), default=0))


def device_rows(stage: Stage, block: Shape) -> list[Held]:
    """What is on the device, step by step, for a block that no edge cuts short."""
    program = stage.program
    wanted = stage.wanted(middle(stage.domain, block))
    bounds = program.bounds(wanted)
    nbytes = {name: size_of(region) * program.metas[name].dtype.itemsize for name, region in bounds.regions.items()}
    read = sum(nbytes.get(name, 0) for name in program.inputs)
    rows = [Held("moved there", read, 0, 0, 0), *step_rows(program, bounds, wanted, {})]
    ends = sum(nbytes[name] for name in stage.ends)
    for reduce in stage.reduces:
        region = wanted[reduce.of]
        given, scratch = nbytes[reduce.of], reduction_scratch(reduce, region)
        rows.append(Held(reduce.node, given, partial_bytes(reduce, region), scratch, ends - given))
    return rows


def halved(stage: Stage, tile: Shape) -> Shape | None:
    """A tile of half the size, cut where that saves most; `None` where no cut saves a tenth."""
    now = device_memory(stage, tile)
    tried = [(*tile[:i], -(-n // 2), *tile[i + 1 :]) for i, n in enumerate(tile) if n > 1]
    least = min(((device_memory(stage, one), one) for one in tried), default=None)
    return None if least is None or least[0] > 0.9 * now else least[1]

"""What the processes of a run hold besides its tasks: code, the scheduler, results on their way.

The figures are resident memory on Linux with CPython 3.11, in MiB, each a little above the most
that was seen; `docs/memory.md` says how they were measured.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import ceil, log2, prod
from typing import Any

import psutil

from hpcflow.kernels import lines
from hpcflow.kernels.resample import MANY
from hpcflow.operation import call
from hpcflow.planning.memory import partial_bytes
from hpcflow.planning.stages import Reduce, Stage, meta_of
from hpcflow.registry import get_op
from hpcflow.spec.flow import Flow, Node

MIB = 2**20
DRIVER = 62
"""Python, NumPy, and what a run imports."""
SCHEDULER = 42
"""Dask's scheduler and its dashboard, in the driver."""
WORKER = 78
"""A worker process before its first task."""
STEP = 16 * MIB
SPARE = 8
"""A driver that is no larger than this beyond its figure is taken for one of that size."""
TRACKER = 13
"""The process that multiprocessing keeps beside the driver."""
BLOCK_FLAG = 1
"""Bytes of the driver for each block: whether it is done."""
FILTERS = 36
"""What SciPy's and OpenCV's filters add to a process."""
COMPILED = 2**27
"""Elements of an array from which on its elementwise steps are compiled."""
COMPILER = 140
"""Numba imported and a loop compiled."""
PACKAGES = {"zarr": 18, "PIL": 6, "pyarrow": 42}
"""What importing a package adds to a process, and a little of its use."""
PACKAGES_OF = {"zarr": ("zarr",), "images": ("PIL",), "png": ("PIL",), "parquet": ("pyarrow",), "csv": ("pyarrow",)}
"""Which of them sources and sinks import."""


@dataclass(frozen=True)
class Base:
    """Bytes that a run holds before its first task."""

    driver: int
    worker: int
    """Of each worker process; 0 where tasks run in the driver."""
    workers: int
    rest: int = 0
    """Of helper processes."""

    @property
    def total(self) -> int:
        """All processes together."""
        return self.driver + self.workers * self.worker + self.rest


def base(flow: Flow, workers: int, *, processes: bool, loops: bool = True) -> Base:
    """What the processes hold before the first task.

    Parameters
    ----------
    flow : Flow
    workers : int
    processes : bool
        Whether workers are processes of their own, under Dask's scheduler.
    loops : bool
        Whether steps of large arrays are compiled, as far as is known.
    """
    sources = {
        name for node in flow.nodes.values() if node.source is not None for name in PACKAGES_OF.get(node.use, ())
    }
    sinks = {name for sink in flow.sinks.values() for name in PACKAGES_OF.get(sink.use, ())}
    ops = sum(dict(_held(flow, node) for node in flow.nodes.values() if node.source is None).values())
    if any(_needs_compiler(node) or (loops and _large(flow, node)) for node in flow.nodes.values()):
        ops += COMPILER * MIB
    if not processes:
        return Base(_own(DRIVER + _sum(sources | sinks)) + ops, 0, 0)
    worker = (WORKER + _sum(sources | (sinks & {"zarr"}))) * MIB + ops
    return Base(_own(DRIVER + SCHEDULER + _sum(sources | sinks)), worker, workers, TRACKER * MIB)


def _large(flow: Flow, node: Node) -> bool:
    """Whether loops that an op is part of are compiled; filters by themselves do without."""
    if node.source is not None or get_op(node.use).depth is not None:
        return False
    return max(meta_of(flow, name).size for name in (node.name, *node.of)) >= COMPILED


def _needs_compiler(node: Node) -> bool:
    """Whether what a node calls is compiled, for so much of it."""
    if node.meta is None:
        return False
    if node.use == "images":
        return node.meta.shape[0] >= MANY
    return node.use == "gaussian" and lines.takes(node.meta)


def _held(flow: Flow, node: Node) -> tuple[Any, int]:
    """What an op keeps in a process, and a name for it: it is kept once."""
    op = get_op(node.use)
    if callable(op.base):
        metas = [meta_of(flow, name) for name in node.of]
        return (node.use, repr(dict(node.params))), call(op.base, metas, node.params)
    return ("filters", FILTERS * MIB + op.base) if op.depth is not None else (node.use, op.base)


def _sum(packages: Iterable[str]) -> int:
    return sum(PACKAGES[name] for name in packages)


def _own(driver: int) -> int:
    """The driver, or this very process where it is a larger one: a notebook, a test."""
    held = psutil.Process().memory_info().rss
    # In steps, so that a plan does not change with every import.
    return max(driver * MIB, ceil(held / STEP) * STEP if held > (driver + SPARE) * MIB else 0)


def driver_memory(stage: Stage, slots: int) -> int:
    """Bytes that the driver, and results on their way to it, hold while a stage runs.

    Parameters
    ----------
    stage : Stage
        With its blocks.
    slots : int
        How many of its tasks run at once.
    """
    waiting = sum(_waiting(stage, reduce, slots) for reduce in stage.reduces)
    return stage.tasks * BLOCK_FLAG + waiting


def _waiting(stage: Stage, reduce: Reduce, slots: int) -> int:
    """Partials that wait for their neighbours, and those of a window of blocks under way."""
    each = partial_bytes(reduce, stage.wanted(stage.region(0))[reduce.of])
    met = [axis for axis in reduce.axes if axis < len(stage.domain)]
    leaves = prod(stage.grid[axis] for axis in met)
    # Blocks come in C order: what is kept along a later axis than the first reduced one waits side by side.
    opened = prod(n for axis, n in enumerate(stage.grid) if met and axis > min(met) and axis not in met)
    window = 2 * slots + 1
    return each * (min(opened * (1 + ceil(log2(leaves))) if leaves > 1 else 1, stage.tasks) + 3 * window)

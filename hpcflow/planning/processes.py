"""What the processes of a run hold besides its tasks: code, the scheduler, results on their way.

What imports hold is measured on this machine (`imports.py`). What using them adds does not differ so much: those
figures are in MiB, each a little above the most that was seen on Linux with CPython 3.11 and 3.13.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, log2, prod
from typing import Any

import psutil

from hpcflow.kernels import lines
from hpcflow.kernels.resample import MANY
from hpcflow.meta import ArraySink
from hpcflow.operation import call
from hpcflow.planning.imports import MIB, Modules, measured
from hpcflow.planning.memory import partial_bytes
from hpcflow.planning.stages import Reduce, Stage, meta_of
from hpcflow.registry import declared, get_op
from hpcflow.spec.flow import Flow, Node

DRIVER = ("hpcflow.cli.run", "hpcflow.api", "hpcflow.display", "hpcflow.clusters.threads", "jinja2")
"""What a run imports, and its page."""
SCHEDULER = (
    "hpcflow.clusters.local",
    "distributed.dashboard.scheduler",
    "distributed.http.scheduler.info",
    "cryptography.x509",
)
"""Dask's scheduler, its dashboard and its certificates, in the driver."""
WORKER = ("hpcflow.execute.block", "distributed.nanny", "distributed.worker", "hpcflow.clusters.local")
"""A worker process before its first task."""
KNOWN = {DRIVER: 58, DRIVER + SCHEDULER: 110, WORKER: 80}
"""What they hold, where no process can be started that says so."""
RUNNING = {DRIVER: 8, DRIVER + SCHEDULER: 12, WORKER: 10}
"""What running adds: threads, connections, what is known of tasks."""
STEP = 16 * MIB
SPARE = 8 * MIB
"""A driver that is no larger than this beyond its figure is taken for one of that size."""
TRACKER = 14 * MIB
"""The process that multiprocessing keeps beside the driver."""
BLOCK_FLAG = 1
"""Bytes of the driver for each block: whether it is done."""
FILTERS = ("scipy.ndimage", "cv2")
"""What filters import."""
COMPILED = 2**27
"""Elements of an array from which on its elementwise steps are compiled."""
COMPILER, COMPILING = ("numba",), 76 * MIB
"""What compiles loops, and what it takes for one."""


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


Needs = dict[Any, tuple[Modules, int]]
"""What is imported, and the bytes that its use adds, by a name for it: it is there once."""


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
    opened: Needs = {node.use: _opened(node) for node in flow.nodes.values() if node.source is not None}
    arrays: Needs = {}
    documents: Needs = {}
    for sink in flow.sinks.values():
        (arrays if isinstance(sink.sink, ArraySink) else documents)[sink.use] = declared("sinks", sink.use)
    ops: Needs = dict(_held(flow, node) for node in flow.nodes.values() if node.source is None)
    if any(_needs_compiler(node) or (loops and _large(flow, node)) for node in flow.nodes.values()):
        ops["loops"] = COMPILER, COMPILING
    parts = (DRIVER + SCHEDULER, WORKER) if processes else (DRIVER,)
    packages = {names for needs in (opened, arrays, documents, ops) for names, _ in needs.values() if names}
    found = measured(parts, packages)

    def of(*needs: Needs) -> int:
        """What all of them take together: packages once, however many need them."""
        both = [one for each in needs for one in each.values()]
        return sum(found[names] or 0 for names in {names for names, _ in both if names}) + sum(n for _, n in both)

    driver, *worker = ((found[part] or KNOWN[part] * MIB) + RUNNING[part] * MIB for part in parts)
    if not worker:
        return Base(_own(driver + of(opened, arrays, documents, ops)), 0, 0)
    return Base(_own(driver + of(opened, arrays, documents)), worker[0] + of(opened, arrays, ops), workers, TRACKER)


def _opened(node: Node) -> tuple[Modules, int]:
    """What a source imports, which may depend on the file that it found."""
    packages, extra = declared("sources", node.use)
    return getattr(node.source, "packages", packages), extra


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


def _held(flow: Flow, node: Node) -> tuple[Any, tuple[Modules, int]]:
    """What an op keeps in a process, and a name for it: it is kept once."""
    op = get_op(node.use)
    metas = [meta_of(flow, name) for name in node.of]
    packages: Sequence[str] = call(op.packages, metas, node.params) if callable(op.packages) else op.packages
    if callable(op.base):
        return (node.use, repr(dict(node.params))), (tuple(packages), call(op.base, metas, node.params))
    return node.use, (tuple(packages) or (FILTERS if op.depth is not None else ()), op.base)


def _own(driver: int) -> int:
    """The driver, or this very process where it is a larger one: a notebook, a test."""
    here = psutil.Process().memory_info().rss
    # In steps, so that a plan does not change with every import.
    return max(driver, ceil(here / STEP) * STEP if here > driver + SPARE else 0)


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

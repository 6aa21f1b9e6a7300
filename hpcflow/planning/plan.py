"""The plan of a run: frozen, countable, printable. Touches metadata only, starts nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from math import prod
from pathlib import Path
from typing import Any

from hpcflow.errors import Fault, FlowError
from hpcflow.meta import ArraySink, DocumentSink, Meta, Target
from hpcflow.planning.blocks import smallest
from hpcflow.planning.draft import Draft
from hpcflow.planning.memory import DRIVER_BASE, WORKER_BASE
from hpcflow.planning.stages import Stage, Write, is_reduction, meta_of
from hpcflow.program.program import Step
from hpcflow.regions import block_region, size_of
from hpcflow.registry import call, get_op
from hpcflow.sinks.npy import NpyTarget
from hpcflow.spec.flow import Flow, Node, Sink


@dataclass(frozen=True)
class Document:
    """A sink that is made at the end from arrays that the stages wrote."""

    sink: Sink
    render: DocumentSink
    columns: tuple[tuple[str, Target], ...]
    """Each input: its node, and where its array stands."""


@dataclass(frozen=True)
class Output:
    """What the run leaves behind under one name."""

    name: str
    path: str
    meta: Meta
    chunks: tuple[int, ...]

    def to_json(self) -> dict[str, Any]:
        """As `plan --json` gives it."""
        return {
            "name": self.name,
            "path": self.path,
            "shape": list(self.meta.shape),
            "dtype": str(self.meta.dtype),
            "chunks": list(self.chunks),
        }


@dataclass(frozen=True)
class Plan:
    """Everything that a run will do."""

    flow: Flow
    stages: tuple[Stage, ...]
    documents: tuple[Document, ...]
    targets: tuple[Target, ...]
    """What is created before the first block, and finished after the last."""
    outputs: tuple[Output, ...]
    run_dir: Path
    workers: int
    threads: int
    """Of every worker."""
    budget: int
    """Bytes for the whole run on one machine."""

    @property
    def tasks(self) -> int:
        """How many blocks, over all stages."""
        return sum(stage.tasks for stage in self.stages)

    @property
    def task_memory(self) -> int:
        """Bytes that the largest task holds."""
        return max((stage.task_memory for stage in self.stages), default=0)

    @property
    def base_memory(self) -> int:
        """Bytes that driver and workers hold without any task."""
        return base_memory(self.flow, self.workers)

    @property
    def peak_memory(self) -> int:
        """Bytes that the run holds at its peak: driver, workers and a task on every thread."""
        busy = max(
            (min(stage.tasks, self.workers * self.threads) * stage.task_memory for stage in self.stages), default=0
        )
        return self.base_memory + busy

    @property
    def bytes_read(self) -> int:
        """Bytes that the blocks ask of the flow's sources, halos counted as often as they are read."""
        return sum(bytes_read(stage) for stage in self.stages)

    @property
    def bytes_written(self) -> int:
        """Bytes of every array that is written, before compression."""
        return sum(write.target.meta.nbytes for stage in self.stages for write in stage.writes)

    def to_json(self) -> dict[str, Any]:
        """As `plan --json` prints it."""
        memory = {"per_task": self.task_memory, "peak": self.peak_memory, "budget": self.budget}
        return {
            "flow": self.flow.name,
            "tasks": self.tasks,
            "bytes_read": self.bytes_read,
            "bytes_written": self.bytes_written,
            "memory": memory,
            "stages": [_stage_json(stage) for stage in self.stages],
            "outputs": [output.to_json() for output in self.outputs],
            "workers": self.workers,
            "threads": self.threads,
        }

    def __str__(self) -> str:
        head = f"{self.flow.name}: {count(self.tasks, 'block')} in {count(len(self.stages), 'stage')}"
        lines = [f"{head}, reads {size(self.bytes_read)}, writes {size(self.bytes_written)}"]
        for stage in self.stages:
            at = "\N{MULTIPLICATION SIGN}".join(map(str, stage.block)) or "one value"
            lines.append(f"  {stage.name}: {count(stage.tasks, 'block')} of {at}, {size(stage.task_memory)} each")
            lines.append("    " + " \N{RIGHTWARDS ARROW} ".join([*stage.sources, *stage.steps]))
            if any(halo(stage)):
                lines.append(f"    halo {', '.join(map(str, halo(stage)))}")
        lines.append(
            f"memory: {size(self.peak_memory)} at the peak of {size(self.budget)} allowed "
            f"({size(self.base_memory)} for {count(self.workers, 'worker')} and the driver, "
            f"{count(self.workers * self.threads, 'task')} at once)"
        )
        lines += [f"  {output.name} \N{RIGHTWARDS ARROW} {output.path}: {output.meta}" for output in self.outputs]
        return "\n".join(lines)


def make_plan(flow: Flow, *, run_dir: Path, workers: int, threads: int, budget: int) -> Plan:
    """Plan a run of `flow` within `budget` bytes.

    Raises
    ------
    FlowError
        Where nothing fits, with the arithmetic.
    """
    stored: dict[str, Target] = {
        name: NpyTarget(str(run_dir / "stages" / f"{name}.npy"), node.meta)
        for name, node in flow.nodes.items()
        if node.meta is not None and is_reduction(flow, name)
    }
    writes: dict[str, Write] = {}
    extra: list[Step] = []
    documents, outputs = [], []
    for sink in flow.sinks.values():
        metas = [meta_of(flow, name) for name in sink.of]
        if isinstance(sink.sink, ArraySink):
            target = sink.sink.target(metas[0])
            writes[target.path] = Write(sink.of[0], target)
            outputs.append(Output(sink.name, str(sink.params["path"]), metas[0], _chunks(target)))
            continue
        columns = []
        for name, meta, view in zip(sink.of, metas, sink.sink.views(metas), strict=True):
            write = _staged(name, meta, view, run_dir, extra)
            if name in stored and view == meta:
                columns.append((name, stored[name]))
                continue
            writes[write.target.path] = write
            columns.append((name, write.target))
        documents.append(Document(sink, sink.sink, tuple(columns)))
        outputs.append(Output(sink.name, str(sink.params["path"]), metas[0], metas[0].shape))
    room = max(budget - base_memory(flow, workers), 0) // (workers * threads)
    drafted = Draft(flow, tuple(writes.values()), tuple(extra), stored, run_dir, room).cut_where_it_pays()
    chosen = drafted.stages()
    too_large = [stage for stage in chosen if not stage.block and stage.domain]
    if too_large:
        raise FlowError(*(_refusal(flow, stage, budget, workers, threads) for stage in too_large))
    targets = {target.path: target for target in [*(w.target for w in writes.values()), *drafted.stored.values()]}
    return Plan(
        flow,
        tuple(chosen),
        tuple(documents),
        tuple(targets.values()),
        tuple(outputs),
        run_dir,
        workers,
        threads,
        budget,
    )


def _chunks(target: Target) -> tuple[int, ...]:
    chunks: tuple[int, ...] = getattr(target, "chunks", target.meta.shape)
    return chunks


def _staged(name: str, meta: Meta, view: Meta, run_dir: Path, extra: list[Step]) -> Write:
    """A document's input as an array in the run's folder; documents that need the same share it."""
    if view.shape == meta.shape:
        return Write(name, NpyTarget(str(run_dir / "stages" / f"{name}.npy"), meta))
    step = f"{name}[:{view.shape[0]}]"
    if step not in {one.name for one in extra}:
        extra.append(Step(step, "isel", (name,), {"indexers": {0: [0, view.shape[0]]}}, view))
    return Write(step, NpyTarget(str(run_dir / "stages" / f"{name}-{view.shape[0]}.npy"), view))


def _refusal(flow: Flow, stage: Stage, budget: int, workers: int, threads: int) -> Fault:
    least = smallest(stage)
    base = base_memory(flow, workers)
    node = flow.nodes.get(stage.name) or flow.nodes[stage.ends[0].split("[")[0]]
    return Fault(
        node.location,
        f"expected the stage `{stage.name}` to fit {size(budget)}, found that its smallest block takes {size(least)}: "
        f"{size(base)} for the processes + {workers * threads} tasks \N{MULTIPLICATION SIGN} {size(least)} "
        f"= {size(base + workers * threads * least)}",
        f"give `--memory {size(base + workers * threads * least)}`, or fewer threads: `--threads 1` takes "
        f"{size(base + workers * least)}",
    )


def base_memory(flow: Flow, workers: int) -> int:
    """Bytes of the driver and of every worker before its first task."""
    # Steps that share a library count it twice: rather too much than too little.
    return DRIVER_BASE + workers * (WORKER_BASE + sum(_base(flow, node) for node in flow.nodes.values()))


def _base(flow: Flow, node: Node) -> int:
    if node.source is not None:
        return 0
    base = get_op(node.use).base
    each: int = base if isinstance(base, int) else call(base, [meta_of(flow, n) for n in node.of], node.params)
    return each


def bytes_read(stage: Stage) -> int:
    """Bytes that all blocks of a stage ask of its sources.

    Blocks between the first and the last along an axis read alike, so one stands for them all.
    """
    total = 0
    metas = stage.program.metas
    for index, times in _kinds_of_block(stage):
        bounds = stage.program.bounds(stage.wanted(block_region(index, stage.domain, stage.block)))
        each = sum(size_of(bounds.regions[n]) * metas[n].dtype.itemsize for n in stage.sources if n in bounds.regions)
        total += each * times
    return total


def _kinds_of_block(stage: Stage) -> Iterator[tuple[tuple[int, ...], int]]:
    axes = [[(i, 1) for i in range(n)] if n <= 4 else [(0, 1), (1, n - 2), (n - 1, 1)] for n in stage.grid]
    for kinds in product(*axes):
        yield tuple(i for i, _ in kinds), prod(times for _, times in kinds)


def halo(stage: Stage) -> list[int]:
    """How far the stage reaches beyond a block of its domain, per axis, over all its steps."""
    ndim = len(stage.domain)
    reach = dict.fromkeys(stage.program.metas, [0] * ndim)
    for step in reversed(stage.program.steps):
        depth = stage.program.ops[step.name].halo(step.meta, step.params)
        sides = [max(pair) for pair in depth[:ndim]] + [0] * (ndim - len(depth))
        for name in step.of:
            reach[name] = [max(old, r + d) for old, r, d in zip(reach[name], reach[step.name], sides, strict=True)]
    return [max(axis) for axis in zip(*(reach[name] for name in stage.program.inputs), strict=True)]


def _stage_json(stage: Stage) -> dict[str, Any]:
    return {
        "name": stage.name,
        "steps": list(stage.steps),
        "tasks": stage.tasks,
        "block": list(stage.block),
        "tile": list(stage.tile),
        "halo": halo(stage),
        "task_memory": stage.task_memory,
    }


def size(nbytes: float) -> str:
    """Bytes for a reader: ``1.5GiB``, as `--memory` takes them back."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if nbytes < 1000 or unit == "GiB":
            return f"{nbytes:.3g}{unit}" if nbytes < 100 else f"{nbytes:.0f}{unit}"
        nbytes /= 1024
    raise AssertionError


def count(number: int, noun: str) -> str:
    """``1 block``, ``2 blocks``."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")

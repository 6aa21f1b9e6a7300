"""The plan of a run: frozen, countable, printable. Touches metadata only, starts nothing."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from hpcflow.errors import Fault, FlowError
from hpcflow.meta import ArraySink, DocumentSink, Meta, Target, stored_bytes
from hpcflow.planning.advice import advice, advice_json
from hpcflow.planning.blocks import needed
from hpcflow.planning.describe import bytes_read, columns, count, stage_json, stage_lines
from hpcflow.planning.device import Gpu
from hpcflow.planning.draft import Draft
from hpcflow.planning.graph import branches, endings, graph
from hpcflow.planning.imports import MIB
from hpcflow.planning.processes import Base, base
from hpcflow.planning.refusal import Limits, fewer_threads, fits, no_block, no_document, no_room
from hpcflow.planning.stages import Stage, Write, is_reduction, meta_of
from hpcflow.program.program import Fused, Step
from hpcflow.report.diagram import svg
from hpcflow.sinks.npy import NpyTarget
from hpcflow.sizes import show_size
from hpcflow.spec.flow import Flow, Sink

ELSEWHERE = "every path of the flow, and the run's folder, must be on a file system that they share"


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
    """All that is written, and what stages leave for one another."""
    outputs: tuple[Output, ...]
    run_dir: Path
    workers: int
    threads: int
    """Of every worker."""
    budget: int
    """Bytes for the whole run; on one machine, or on all whose workers it has."""
    base: Base
    """Bytes that the processes hold before the first task."""
    elsewhere: bool = False
    """Whether the workers are on other machines."""
    scratch: tuple[Target, ...] = ()
    """Nodes that are stored between two stages, and removed when the run is complete."""
    gpu: Gpu | None = None
    """The device that each worker has, if blocks are computed on one."""
    advice: tuple[Fault, ...] = ()
    """What would make the run smaller or quicker."""

    @property
    def tasks(self) -> int:
        """How many blocks, over all stages."""
        return sum(stage.tasks for stage in self.stages)

    @property
    def slots(self) -> int:
        """How many tasks run at once."""
        return self.workers * self.threads

    @property
    def task_memory(self) -> int:
        """Bytes that the largest task holds."""
        return max((stage.task_memory for stage in self.stages), default=0)

    @property
    def worker_memory(self) -> int:
        """Bytes that a worker holds at its peak; where tasks run in the driver, what they take of it."""
        busy = (min(stage.tasks, self.threads) * stage.task_memory for stage in self.stages)
        return self.base.worker + max(busy, default=0)

    @property
    def peak_memory(self) -> int:
        """Bytes that the run holds at its peak: its processes, a task on every thread, results on their way."""
        busy = max((needed(stage, self.slots) for stage in self.stages), default=0)
        rendered = max((document_memory(document) for document in self.documents), default=0)
        return self.base.total + max(busy, rendered)

    @property
    def device_memory(self) -> int:
        """Bytes that each worker has on its device at its peak; 0 without one."""
        return max((self.gpu.peak(stage) for stage in self.stages), default=0) if self.gpu else 0

    @property
    def scratch_disk(self) -> int:
        """Bytes on disk of what stages leave for one another and for documents, in the run's folder."""
        return sum(need for path, need in self.disk_needed().items() if Path(path).is_relative_to(self.run_dir))

    def disk_needed(self) -> dict[str, int]:
        """Bytes that each file or folder will take, by its path; before compression."""
        return {target.path: stored_bytes(target) for target in self.targets}

    @property
    def bytes_read(self) -> int:
        """Bytes that the blocks ask of the flow's sources, halos counted as often as they are read."""
        return sum(bytes_read(stage) for stage in self.stages)

    @property
    def bytes_written(self) -> int:
        """Bytes of every array that is written, before compression."""
        return sum(stored_bytes(write.target) for stage in self.stages for write in stage.writes)

    def to_json(self) -> dict[str, Any]:
        """As `plan --json` prints it."""
        return {
            "flow": self.flow.name,
            "tasks": self.tasks,
            "bytes_read": self.bytes_read,
            "bytes_written": self.bytes_written,
            "memory": {
                "per_task": self.task_memory,
                "peak": self.peak_memory,
                "budget": self.budget,
                "driver": self.base.driver + self.base.rest,
                "worker": self.worker_memory,
                "base": self.base.total,
                "device": self._device_json(),
            },
            "stages": [stage_json(stage) for stage in self.stages],
            "outputs": [output.to_json() for output in self.outputs],
            "warnings": [str(one) for one in self.flow.warnings],
            "workers": self.workers,
            "threads": self.threads,
            "elsewhere": self.elsewhere,
            "disk": self.disk_needed(),
            "scratch_disk": self.scratch_disk,
            "advice": [advice_json(one) for one in self.advice],
        }

    def _device_json(self) -> dict[str, int | None] | None:
        if self.gpu is None:
            return None
        each = max((stage.device_memory for stage in self.stages), default=0)
        return {"per_task": each, "peak": self.device_memory, "budget": self.gpu.budget}

    def _repr_html_(self) -> str:
        return f"{svg(graph(self))}<pre>{escape(str(self))}</pre>"

    def __str__(self) -> str:
        drawn = graph(self)
        lines = [self.head()]
        for number, stage in enumerate(self.stages):
            lines += ["", *stage_lines(stage, branches(drawn, number))]
        return "\n".join([*lines, *self.rest(drawn)])

    def head(self) -> str:
        """Its size, in a line."""
        head = f"{self.flow.name}: {count(self.tasks, 'block')} in {count(len(self.stages), 'stage')}"
        return f"{head}, reads {show_size(self.bytes_read)}, writes {show_size(self.bytes_written)}"

    def rest(self, drawn: Mapping[str, Any]) -> list[str]:
        """What there is to say beyond its stages: documents, memory, outputs, advice."""
        lines = ["", *endings(drawn)] if endings(drawn) else []
        lines += ["", *columns(self._memory_rows())]
        lines += ["", *(f"{one.name} \N{RIGHTWARDS ARROW} {one.path}: {one.meta}" for one in self.outputs)]
        if self.elsewhere:
            lines += ["", f"the workers are on other machines: {ELSEWHERE}"]
        if self.scratch:
            used = show_size(sum(stored_bytes(target) for target in self.scratch))
            lines.append(f"{used} in {self.run_dir / 'stages'} between the stages, removed at the end")
        return lines + [text for one in self.advice for text in ("", str(one))]

    def _memory_rows(self) -> list[tuple[str, str]]:
        base = self.base
        most = max(self.stages, key=lambda stage: needed(stage, self.slots), default=None)
        tasks = min(most.tasks, self.slots) if most else 0
        each = most.task_memory if most else 0
        rows = [("driver", show_size(base.driver + base.rest))]
        if base.workers:
            rows.append((count(base.workers, "worker"), show_size(base.workers * base.worker)))
        rows.append((f"{count(tasks, 'task')} at once", show_size(tasks * each)))
        left = self.peak_memory - base.total - tasks * each
        rows += [("results on their way", show_size(left))] if left >= MIB else []
        rows += [("at the peak", show_size(self.peak_memory)), ("allowed", show_size(self.budget))]
        if self.gpu is not None:
            allowed = "not known" if self.gpu.budget is None else show_size(self.gpu.budget)
            rows += [("on each device", show_size(self.device_memory)), ("allowed there", allowed)]
        return rows


def make_plan(
    flow: Flow,
    *,
    run_dir: Path,
    workers: int,
    threads: int,
    budget: int,
    processes: bool = True,
    gpu: Gpu | None = None,
    elsewhere: bool = False,
) -> Plan:
    """Plan a run of `flow`.

    Parameters
    ----------
    flow : Flow
    run_dir : Path
    workers, threads : int
        How many workers, and how many tasks each runs at once.
    budget : int
        Bytes for the whole run on one machine, or for each worker on another.
    processes : bool
        Whether workers are processes of their own.
    gpu : Gpu, optional
        The device that each worker has, if blocks are computed on one.
    elsewhere : bool
        Whether the workers are on other machines, so that the driver takes none of their memory.

    Raises
    ------
    FlowError
        Where nothing fits, with the arithmetic.
    """
    _expect_apart(flow, run_dir)
    # Both before anything is planned, which may make this process, which they measure, a larger one.
    held, without = (base(flow, workers, processes=processes, loops=loops) for loops in (True, False))
    if elsewhere:
        budget = held.driver + held.rest + workers * budget
    limits = Limits(held, budget, workers, threads, gpu)
    ends = _ends(flow, run_dir)
    writes, extra = tuple(ends.writes.values()), tuple(ends.extra)
    draft = Draft(flow, writes, extra, ends.reduced, run_dir, limits.room, limits.slots, gpu)
    if not limits.room:
        raise FlowError(no_room(flow, limits, base(flow, 1, processes=False), draft))
    too_long = [one for one in ends.documents if document_memory(one) > limits.room]
    if too_long:
        raise FlowError(*(no_document(one.sink, document_memory(one), limits) for one in too_long))
    drafted, chosen = draft.cut_where_it_pays()
    if too_large := [stage for stage in chosen if not stage.block and stage.domain]:
        fewer = threads
        while fewer > 1 and not fits(draft, replace(limits, threads=fewer)):
            fewer //= 2
        if not fits(draft, replace(limits, threads=fewer)):
            # One of them: what would fit is said for the whole flow.
            raise FlowError(no_block(flow, too_large[0], replace(limits, threads=1), draft))
        limits = replace(limits, threads=fewer)
        drafted, chosen = replace(draft, slots=limits.slots).cut_where_it_pays()
    loops = any(isinstance(unit, Fused) for stage in chosen for unit in stage.schedule.units)
    targets = {target.path: target for target in [*(w.target for w in draft.writes), *drafted.stored.values()]}
    return Plan(
        flow=drafted.flow,
        stages=tuple(chosen),
        documents=tuple(ends.documents),
        targets=tuple(targets.values()),
        outputs=tuple(ends.outputs),
        run_dir=run_dir,
        workers=workers,
        threads=limits.threads,
        budget=budget,
        base=held if loops else without,
        elsewhere=elsewhere,
        scratch=tuple(one for one in targets.values() if one.path not in {*ends.writes, *_paths(ends.reduced)}),
        gpu=gpu,
        advice=(*fewer_threads(flow, limits, threads), *advice(drafted.flow, chosen)),
    )


OWN = ("receipts", "stages", "manifests", "report.json", "report.html", "history.json", "run.json", "flow.yaml")
"""Names within the folder of a run."""


def _expect_apart(flow: Flow, run_dir: Path) -> None:
    """Refuse outputs where a run keeps what is its own; beside that they may stand."""
    faults = []
    for sink in flow.sinks.values():
        inside = os.path.relpath(os.path.realpath(sink.sink.path), os.path.realpath(run_dir))
        if inside == "." or inside.split("/")[0] in OWN:
            what = f"expected a path for the output, found one where the run keeps what is its own, `{run_dir}`"
            faults.append(Fault(sink.places.get("path", sink.location), what))
    if faults:
        raise FlowError(*faults)


@dataclass
class _Ends:
    """What must come out of the plan, gathered sink by sink."""

    reduced: dict[str, Target]
    """Where each reduction's result goes."""
    writes: dict[str, Write] = field(default_factory=dict)
    extra: list[Step] = field(default_factory=list)
    documents: list[Document] = field(default_factory=list)
    outputs: list[Output] = field(default_factory=list)


def _ends(flow: Flow, run_dir: Path) -> _Ends:
    ends = _Ends(
        {
            name: NpyTarget(str(run_dir / "stages" / f"{name}.npy"), meta_of(flow, name), private=True)
            for name in flow.nodes
            if is_reduction(flow, name)
        }
    )
    for sink in flow.sinks.values():
        metas = [meta_of(flow, name) for name in sink.of]
        if isinstance(sink.sink, ArraySink):
            target = sink.sink.target(metas[0])
            ends.writes[target.path] = Write(sink.of[0], target)
            ends.outputs.append(Output(sink.name, str(sink.params["path"]), metas[0], _chunks(target)))
            continue
        columns = []
        for name, meta, view in zip(sink.of, metas, sink.sink.views(metas), strict=True):
            if name in ends.reduced and view == meta:
                columns.append((name, ends.reduced[name]))
                continue
            write = _staged(name, meta, view, run_dir, ends.extra)
            ends.writes[write.target.path] = write
            columns.append((name, write.target))
        ends.documents.append(Document(sink, sink.sink, tuple(columns)))
        ends.outputs.append(Output(sink.name, str(sink.params["path"]), metas[0], metas[0].shape))
    return ends


def _paths(targets: Mapping[str, Target]) -> list[str]:
    return [target.path for target in targets.values()]


def _chunks(target: Target) -> tuple[int, ...]:
    chunks: tuple[int, ...] = getattr(target, "chunks", target.meta.shape)
    return chunks


def _staged(name: str, meta: Meta, view: Meta, run_dir: Path, extra: list[Step]) -> Write:
    """A document's input as an array in the run's folder; documents that need the same share it."""
    if view.shape == meta.shape:
        return Write(name, NpyTarget(str(run_dir / "stages" / f"{name}.npy"), meta, private=True))
    step = f"{name}[:{view.shape[0]}]"
    if step not in {one.name for one in extra}:
        extra.append(Step(step, "isel", (name,), {"indexers": {0: f":{view.shape[0]}"}}, view))
    return Write(step, NpyTarget(str(run_dir / "stages" / f"{name}-{view.shape[0]}.npy"), view, private=True))


def document_memory(document: Document) -> int:
    """Bytes that the driver holds while it makes a document, of which one that does not say holds all it is made of."""
    metas = [target.meta for _, target in document.columns]
    held = getattr(document.render, "held", None)
    return int(held(metas)) if held else 2 * sum(meta.nbytes for meta in metas)

"""One block, on a worker: read, evaluate tile by tile, write, and say what happened.

Nothing is raised: a failure is a value, so that the driver decides what becomes of it and no
scheduler logs a traceback.
"""

from __future__ import annotations

import os
import re
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from hpcflow import ceilings
from hpcflow.clusters._limits import threads_here
from hpcflow.clusters.base import installed
from hpcflow.errors import BadItem
from hpcflow.execute.faults import full, passes, starved
from hpcflow.execute.layers import Layers, turn_to
from hpcflow.execute.offload import offload
from hpcflow.execute.partials import Partials
from hpcflow.execute.reading import Reader, digests, state
from hpcflow.execute.receipts import Receipt, append
from hpcflow.execute.running import noting
from hpcflow.meta import Bad, ItemSource, Stream
from hpcflow.namespace import Array
from hpcflow.planning.stages import Stage, Write
from hpcflow.program.evaluate import StepError, evaluate
from hpcflow.regions import Region, shape_of, size_of, slices, tiles
from hpcflow.registry import Partial
from hpcflow.secrets import redact
from hpcflow.stopwatch import lap, watching

_PEAK = re.compile(rb"^VmHWM:\s*(\d+) kB", re.MULTILINE)


@dataclass(frozen=True)
class Failure:
    """What went wrong in a block; the driver knows the flow's line."""

    node: str
    message: str
    item: str | None = None
    """The file, where one is to blame."""
    passes: bool = False
    """Whether trying again may help: a disk or a server was away."""
    starved: bool = False
    """Whether there was no memory for it, so that it may help to try it once with nothing beside it."""
    full: bool = False
    """Whether a disk is full, so that nothing else could be written either."""


@dataclass(frozen=True)
class Trace:
    """How one task went: the blocks that a thread ran one after another."""

    worker: str
    """Host, process and thread."""
    began: float
    """In seconds of the worker's clock."""
    seconds: float
    blocks: int
    bytes_read: int
    bytes_written: int
    spent: dict[str, float]
    """Seconds by node, as a `Stopwatch` names them."""
    held: int = 0
    """The most bytes that its process was ever seen to hold; 0 where the system does not say."""


@dataclass(frozen=True)
class BlockResult:
    """What a worker tells the driver about one block."""

    number: int
    partials: dict[str, Partial] = field(default_factory=dict)
    bad: tuple[Bad, ...] = ()
    bytes_read: int = 0
    bytes_written: int = 0
    seconds: float = 0.0
    failure: Failure | None = None
    mark: int = 0
    """Of its receipt."""
    trace: Trace | None = None
    """Of its task, on the task's last block."""
    notes: tuple[str, ...] = ()
    """What whoever runs it may want to know."""


@dataclass(frozen=True)
class Job:
    """A stage as workers run it."""

    stage: Stage
    receipts: str
    """The folder of this run's receipts."""
    run: str
    """Tells this run from others."""
    gone: frozenset[str] = frozenset()
    """Targets that a complete run has removed, since only its own stages needed them."""

    @cached_property
    def layers(self) -> Layers:
        """What this process keeps of the stage's sources from one block to the next."""
        return Layers(self.stage.shared, threads_here())

    def __getstate__(self) -> dict[str, Any]:
        return {one.name: getattr(self, one.name) for one in fields(self)}


def run_blocks(key: str, numbers: Sequence[int]) -> list[BlockResult]:
    """Run some blocks of the job installed under `key`, one after another, and leave their receipts."""
    job: Job = installed(key)
    receipts: list[Receipt] = []
    results = []
    began = time.time()
    ceilings.begin(job.run)
    turn_to(job.layers)
    try:
        with noting(job.receipts) as note, watching() as watch:
            for number in numbers:
                note(number)
                results.append(run_block(job.stage, number, receipts, job.layers))
        results[-1] = replace(results[-1], trace=_trace(began, results, watch.spent))
        marks = iter(append(job.receipts, receipts) if receipts else [])
    except OSError as error:
        node = job.stage.ends[0]
        failure = Failure(node, f"could not note what is done: {error}", passes=passes(error), full=full(error))
        return [BlockResult(number, failure=failure) for number in numbers]
    return [result if result.failure else replace(result, mark=next(marks)) for result in results]


def _trace(began: float, results: Sequence[BlockResult], spent: dict[str, float]) -> Trace:
    return Trace(
        worker=f"{socket.gethostname()}:{os.getpid()}:{threading.get_ident()}",
        began=began,
        seconds=time.time() - began,
        blocks=len(results),
        bytes_read=sum(result.bytes_read for result in results),
        bytes_written=sum(result.bytes_written for result in results),
        spent=spent,
        held=most_held(),
    )


def most_held() -> int:
    """The most bytes of memory that this process has held; 0 where the system does not say."""
    try:
        found = _PEAK.search(Path("/proc/self/status").read_bytes())
    except OSError:
        return 0
    return int(found[1]) * 1024 if found else 0


def check_blocks(key: str, receipts: Sequence[Receipt]) -> list[Receipt]:
    """Those of some receipts whose block need not be computed again."""
    job: Job = installed(key)
    return [receipt for receipt in receipts if holds(job.stage, receipt, job.gone)]


def holds(stage: Stage, receipt: Receipt, gone: frozenset[str] = frozenset()) -> bool:
    """Whether a block's bytes are still those of its receipt, and its inputs as they were."""
    region = stage.region(receipt.number)
    wanted = stage.wanted(region)
    if {write.target.path for write in stage.writes} != set(receipt.outputs):
        return False
    try:
        for write in stage.writes:
            if write.target.path in gone:
                continue
            if write.target.digest(wanted[write.node]) != receipt.outputs[write.target.path]:
                return False
        if all(receipt.inputs[name][0] == state(stage, name, region) for name in stage.sources):
            return True
        now = digests(stage, region)
        return all(now[name] and now[name] == receipt.inputs[name][1] for name in stage.sources)
    except (OSError, KeyError, StepError, BadItem):
        return False


def run_block(stage: Stage, number: int, receipts: list[Receipt], layers: Layers) -> BlockResult:
    """Run one block of a stage; its receipt, if it has come to its end, is added to `receipts`."""
    begun = time.perf_counter()
    bad: list[Bad] = []
    try:
        result, receipt = _run(stage, number, bad, layers)
        receipts.append(receipt)
    except StepError as error:
        failure = Failure(error.node, error.message, passes=passes(error), starved=starved(error), full=full(error))
        result = BlockResult(number, failure=failure)
    except BadItem as error:
        nodes = [name for name, source in stage.sources.items() if isinstance(source, ItemSource)]
        result = BlockResult(number, failure=Failure(nodes[0], error.reason, error.item))
    except Exception as error:  # noqa: BLE001  (an add-on's target may raise anything)
        result = BlockResult(number, failure=Failure(stage.ends[0], f"{type(error).__name__}: {error}"))
    if result.failure is not None:
        # Where a credential was revealed, it is known, and can be struck out.
        result = replace(result, failure=replace(result.failure, message=redact(result.failure.message)))
    return replace(result, bad=tuple(bad), seconds=time.perf_counter() - begun, notes=ceilings.take_notes())


def _run(stage: Stage, number: int, bad: list[Bad], layers: Layers) -> tuple[BlockResult, Receipt]:
    region = stage.region(number)
    wanted = stage.wanted(region)
    # The state comes first: an input that is changed meanwhile is then seen to have changed.
    states = {name: state(stage, name, region) for name in stage.sources}
    streams: list[tuple[Write, Stream]] = []
    with ExitStack() as stack:
        for write in stage.writes:
            if write.node in stage.streamed:
                with _writing(write):
                    streams.append((write, stack.enter_context(write.target.open())))  # type: ignore[attr-defined]
        made = make(stage, region, bad, streams, layers)
    outputs = {write.target.path: stream.digest for write, stream in streams}
    for write in stage.writes:
        if write.node not in stage.streamed:
            with _writing(write):
                outputs[write.target.path] = write.target.write(wanted[write.node], made.arrays[write.node])
    metas = stage.program.metas
    written = sum(size_of(wanted[node]) * metas[node].dtype.itemsize for node in {w.node for w in stage.writes})
    inputs = {name: (states[name], content) for name, content in made.inputs.items()}
    receipt = Receipt(number, outputs, inputs, made.partials, tuple(bad))
    return BlockResult(number, made.partials, bytes_read=made.bytes_read, bytes_written=written), receipt


@contextmanager
def _writing(write: Write) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StepError(write.node, f"could not write to `{write.target.path}`: {error.strerror or error}") from error
    lap(f"write {write.node}")


@dataclass(frozen=True)
class Made:
    """What a stage gives for one region of its domain."""

    arrays: dict[str, Array]
    """Of every node that is written as a whole."""
    partials: dict[str, Partial]
    """Of every reduction."""
    inputs: dict[str, str]
    """The hash of what was read of each source."""
    bytes_read: int


def make(
    stage: Stage,
    region: Region,
    bad: list[Bad] | None,
    streams: Sequence[tuple[Write, Stream]] = (),
    layers: Layers | None = None,
) -> Made:
    """Evaluate a stage for one region of its domain, tile by tile.

    Bad items that the stage can set apart are appended to `bad`; without it they are errors.
    Tiles of a node that has `streams` go there as they are made, and are not gathered. What the
    stage's blocks share is kept in `layers`.
    """
    wanted = stage.wanted(region)
    bounds = stage.program.bounds(wanted)
    read = Reader(stage, bounds, bad, layers)
    if stage.device != "cpu":
        return Made(*offload(stage, region, bounds, read), read.digests, read.bytes_read)
    metas = stage.program.metas
    streamed = {write.node for write, _ in streams}
    nodes = dict.fromkeys(write.node for write in stage.writes if write.node not in streamed)
    # A block that has the stage to itself has the process's threads, too.
    threads = threads_here() if stage.tasks == 1 else 1
    cut = list(tiles(region, stage.tile)) if stage.domain else [()]
    single = len(cut) == 1
    arrays = {} if single else {node: np.empty(shape_of(wanted[node]), metas[node].dtype) for node in nodes}
    folds = {reduce.node: Partials(reduce) for reduce in stage.reduces}
    for tile in cut:
        part = wanted if single else stage.wanted(tile)
        values = evaluate(
            stage.program, part, read, bounds=bounds if single else None, schedule=stage.schedule, threads=threads
        )
        for node in nodes:
            if single:
                arrays[node] = values[node]
            else:
                arrays[node][slices(part[node], wanted[node])] = values[node]
            lap(f"write {node}")
        for write, stream in streams:
            with _writing(write):
                stream.put(part[write.node], values[write.node])
        for reduce in stage.reduces:
            if reduce.node in values:
                folds[reduce.node].take(part[reduce.of], values[reduce.node])
            else:
                folds[reduce.node].add(part[reduce.of], values[reduce.of])
                lap(reduce.node)
        # A view keeps the pages of a mapped file, which the next tile is not to add to.
        del values
    partials = {r.node: folds[r.node].joined(wanted[r.of]) for r in stage.reduces}
    return Made(arrays, partials, read.digests, read.bytes_read)

"""Run a plan: each stage's blocks through a bounded window, then what is made at the end."""

from __future__ import annotations

import functools
import queue
import shutil
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from hpcflow.clusters.base import Pool
from hpcflow.errors import RunError, WorkerLost
from hpcflow.execute.block import BlockResult, Failure, Job, check_blocks
from hpcflow.execute.dispatch import Care, Dispatch, Work
from hpcflow.execute.failures import failed, place, too_many
from hpcflow.execute.faults import full
from hpcflow.execute.fold import Fold
from hpcflow.execute.guard import Guard
from hpcflow.execute.manifest import Done, elsewhere, forget, publish
from hpcflow.execute.prepare import needs_preparing, prepare, with_prepared
from hpcflow.execute.progress import Progress
from hpcflow.execute.provenance import provenance
from hpcflow.execute.receipts import COMPLETE, Marks, Receipt, begin, folder_of, read, stage_key
from hpcflow.execute.scratch import came_back, is_gone, remove
from hpcflow.execute.space import expect_room, no_room
from hpcflow.execute.watch import MemoryWatch
from hpcflow.files import private
from hpcflow.meta import Bad, Column, ItemSource, Signs, Target
from hpcflow.planning.blocks import cost
from hpcflow.planning.plan import Document, Plan
from hpcflow.planning.stages import Stage, gone_mark
from hpcflow.regions import size_of
from hpcflow.registry import Partial
from hpcflow.report.history import History
from hpcflow.report.pace import Expected
from hpcflow.sizes import share_of

T = TypeVar("T")
CHECKED_TOGETHER = 16
"""Receipts that one task checks."""


@dataclass
class Outcome:
    """What has happened so far; the report is made of it, also when the run fails."""

    executed: int = 0
    reused: int = 0
    retried: int = 0
    bytes_read: int = 0
    bytes_written: int = 0
    bad: dict[tuple[str, int], Bad] = field(default_factory=dict)
    printed: list[str] = field(default_factory=list)
    history: History = field(default_factory=History)
    provenance: dict[str, Any] = field(default_factory=dict)
    """What the outputs say of themselves."""


def run_plan(
    plan: Plan,
    pool: Pool,
    outcome: Outcome,
    *,
    max_bad: float,
    progress: Progress,
    fresh: bool = False,
    care: Care | None = None,
    guard: Guard | None = None,
    watch: MemoryWatch | None = None,
) -> None:
    """Run every stage of a plan in turn and publish its outputs.

    Parameters
    ----------
    plan : Plan
    pool : Pool
        Where blocks run.
    outcome : Outcome
        Filled in as the run goes on.
    max_bad : int or float
        Bad items that are set apart before the run fails: an `int` is a number of them, a
        `float` from 0 to 1 a share of all items.
    progress : Progress
    fresh : bool
        Compute every block, also those that an earlier run has finished.
    care : Care, optional
        How often a block is tried, and how long it may take.
    guard : Guard, optional
        Ends workers that hang.
    watch : MemoryWatch, optional
        Ends a run that holds more than it may.

    Raises
    ------
    RunError
    """
    if fresh:
        _drop_receipts(plan, elsewhere(plan))
    doubtful = expect_room(plan)
    outcome.provenance = provenance(plan)
    progress.start([Expected(stage.name, stage.tasks, cost(stage, stage.block)) for stage in plan.stages])
    for text in doubtful:
        progress.note(text)
    care, guard, watch = care or Care(), guard or Guard(), watch or MemoryWatch()
    run = _Run(plan, pool, outcome, _allowed(plan, max_bad), progress, care, guard, watch)
    done = [run_stage(run, stage) for stage in plan.stages]
    for document in plan.documents:
        watch.begin(f"the document `{document.sink.name}` was made", document.sink.location)
        _render(plan, document, outcome)
    watch.check()
    publish(plan, done, outcome.provenance)
    _clear(plan, done)
    remove(plan)


@dataclass(frozen=True)
class _Run:
    """What all stages of one run share."""

    plan: Plan
    pool: Pool
    outcome: Outcome
    allowed: int
    """Bad items."""
    progress: Progress
    care: Care
    guard: Guard
    watch: MemoryWatch
    id: str = field(default_factory=lambda: uuid.uuid4().hex[:12])
    absent: dict[str, Stage] = field(default_factory=dict)
    """What a complete run has removed, and the stage that would make it again."""


def _allowed(plan: Plan, max_bad: int | float) -> int:  # noqa: PYI041  (they mean different things)
    items = sum(len(n.source.items) for n in plan.flow.nodes.values() if isinstance(n.source, ItemSource))
    return share_of(max_bad, items)


def run_stage(run: _Run, stage: Stage, *, again: bool = False) -> Done:
    """Run the blocks of one stage that no earlier run has finished.

    What a complete run has removed behind it is only made `again` where something needs it.
    """
    run.watch.begin(f"the stage `{stage.name}` ran", place(run.plan, stage))
    stage = _prepared(run.plan, stage, run.pool)
    key = stage_key(stage)
    folder = folder_of(run.plan.run_dir, stage, key)
    private(folder)
    owned = _owned(stage, key, run)
    work = Work(owned, f"{stage.name}-{run.id}{'-again' * again}", folder / run.id)
    targets = [write.target for write in owned.writes]
    gone = frozenset() if again else is_gone(run.plan, targets)
    run.pool.install(work.key, Job(owned, str(work.folder), run.id, gone))
    run.progress.stage(stage.name, stage.tasks)
    account = _Account(run, owned)
    # All of them are asked: each takes over what was left of it.
    there = [_touch(target, target.adopt) for target in targets if target.path not in gone]
    if all(there):
        for receipt in _still_good(run.pool, work, folder):
            account.reuse(receipt)
    if account.done < stage.tasks:
        if gone:
            run.outcome.reused -= account.done
            return run_stage(run, stage, again=True)
        _make_sources(run, stage)
        for target in targets:
            forget(run.plan, target.path)
            _touch(target, target.reopen if account.done else target.create)
        begin(folder, run.id)
    reused = account.done
    run.progress.stage(stage.name, stage.tasks, reused)
    given: dict[str, Any] = {"care": run.care, "guard": run.guard, "progress": run.progress}
    traced = functools.partial(run.outcome.history.task, stage.name)
    dispatch = Dispatch(run.pool, work, account.finished, traced=traced, **given)
    for result in dispatch.results():
        run.outcome.retried += dispatch.take_retried()
        account.add(result)
    account.check()
    for target in [*targets, *(reduce.target for reduce in owned.reduces)]:
        if target.path not in gone:
            _touch(target, target.finish)
            came_back(target.path)
    run.absent.update(dict.fromkeys(gone, stage))
    if reused < stage.tasks or not (folder / COMPLETE).exists():
        _gather(account, folder, stage)
    return Done(stage, key, folder / COMPLETE)


def _make_sources(run: _Run, stage: Stage) -> None:
    """Make what a stage reads and a complete run has removed."""
    for source in stage.sources.values():
        made_by = run.absent.pop(str(source.identity.get("path")), None)
        if made_by is not None:
            run.outcome.reused -= made_by.tasks
            run_stage(run, made_by, again=True)


def _owned(stage: Stage, key: str, run: _Run) -> Stage:
    """The stage with its targets under names of this run, and signed by it."""

    def own(target: Target) -> Target:
        owned = target.owned(key, run.id)
        return owned.signed(run.outcome.provenance) if isinstance(owned, Signs) else owned

    writes = tuple(replace(write, target=own(write.target)) for write in stage.writes)
    reduces = tuple(replace(reduce, target=own(reduce.target)) for reduce in stage.reduces)
    return replace(stage, writes=writes, reduces=reduces)


def _gather(account: _Account, folder: Path, stage: Stage) -> None:
    missing = account.marks.gather(folder)
    if missing:
        raise RunError(
            f"expected a receipt for every block of the stage `{stage.name}` in `{folder}`, found {missing} missing\n"
            "  hint: something else has removed them; run the same command again"
        )


def _clear(plan: Plan, done: Sequence[Done]) -> None:
    """Remove what earlier runs with other parameters have left in the run's folder, but for receipts of outputs."""
    _drop_receipts(plan, elsewhere(plan) | {one.receipts.parent.name for one in done})
    stages = plan.run_dir / "stages"
    kept = {name for target in plan.targets for name in (Path(target.path).name, gone_mark(target.path).name)}
    for file in stages.iterdir() if stages.is_dir() else ():
        if file.name not in kept:
            file.unlink(missing_ok=True)


def _drop_receipts(plan: Plan, keep: set[str]) -> None:
    folder = plan.run_dir / "receipts"
    for one in folder.iterdir() if folder.is_dir() else ():
        if one.name not in keep:
            shutil.rmtree(one, ignore_errors=True)


def _prepared(plan: Plan, stage: Stage, pool: Pool) -> Stage:
    """The stage, once its ops are ready for their first block; a worker sees to that."""
    if not needs_preparing(stage):
        return stage
    prepared = pool.submit(f"{stage.name}-prepare", prepare, stage).result()
    if isinstance(prepared, Failure):
        location = plan.flow.nodes[prepared.node].location
        raise RunError(f"{location}: error: `{prepared.node}` could not be prepared\n  {prepared.message}")
    return with_prepared(stage, prepared)


class _Account:
    """What is done of one stage."""

    def __init__(self, run: _Run, stage: Stage) -> None:
        self.run = run
        self.stage = stage
        self.finished = bytearray(stage.tasks)
        self.marks = Marks(stage.tasks)
        self.failed: list[BlockResult] = []
        self.done = 0
        self.folds = {reduce.node: Fold(stage, reduce) for reduce in stage.reduces}
        for reduce in stage.reduces:
            _touch(reduce.target, reduce.target.create)

    def reuse(self, receipt: Receipt) -> None:
        """Take in a block that an earlier run has finished."""
        if not self.finished[receipt.number]:
            self.run.outcome.reused += 1
            self.marks[receipt.number] = receipt.mark
            self._take(receipt.number, receipt.bad, receipt.partials, 0, 0)

    def add(self, result: BlockResult) -> None:
        """Take in a block that was computed, or failed for good."""
        self.run.watch.check()
        if result.failure is not None:
            self.failed.append(result)
            return
        self.run.outcome.executed += 1
        self.run.outcome.bytes_read += result.bytes_read
        self.run.outcome.bytes_written += result.bytes_written
        self.marks[result.number] = result.mark
        self._take(result.number, result.bad, result.partials, result.bytes_read, result.bytes_written)

    def check(self) -> None:
        """Raise an error that names every block that failed."""
        if self.failed:
            raise failed(self.run.plan, self.stage, sorted(self.failed, key=lambda result: result.number))

    def _take(self, number: int, bad: Sequence[Bad], partials: Mapping[str, Partial], read: int, written: int) -> None:
        outcome = self.run.outcome
        self.finished[number] = True
        self.done += 1
        outcome.bad.update({(one.source, one.index): one for one in bad})
        if len(outcome.bad) > self.run.allowed:
            raise too_many(self.run.plan, list(outcome.bad.values()), self.run.allowed)
        for name, partial in partials.items():
            self.folds[name].add(number, partial)
        self.run.progress.block(self.stage.name, self.done, read, written, len(outcome.bad))


def _touch(target: Target, act: Callable[[], T]) -> T:
    try:
        return act()
    except OSError as error:
        raise (
            no_room(target, error) if full(error) else RunError(f"could not write to `{target.path}`: {error}")
        ) from error


def _still_good(pool: Pool, work: Work, folder: Path) -> Iterator[Receipt]:
    """The receipts of an earlier run whose blocks are as they were, checked on the workers."""
    receipts = (one for one in read(folder) if one.number < work.stage.tasks)

    def batches() -> Iterator[list[Receipt]]:
        while taken := list(islice(receipts, CHECKED_TOGETHER)):
            yield taken

    for good in _windowed(pool, f"{work.stage.name}-check", work.key, batches()):
        yield from good


def _windowed(pool: Pool, name: str, key: str, batches: Iterator[list[Receipt]]) -> Iterator[list[Receipt]]:
    """What holds of each batch, as they are checked; never more than a window of them under way."""
    done: queue.SimpleQueue[Future[Any]] = queue.SimpleQueue()
    under_way: set[Future[Any]] = set()
    window = 2 * pool.info.workers * pool.info.threads + 1
    try:
        while True:
            for batch in islice(batches, window - len(under_way)):
                future = pool.submit(name, check_blocks, key, batch)
                under_way.add(future)
                future.add_done_callback(done.put)
            if not under_way:
                return
            future = done.get()
            under_way.discard(future)
            # What a dead worker was to check is computed again.
            with suppress(WorkerLost):
                yield future.result()
    finally:
        for future in under_way:
            future.cancel()


def _render(plan: Plan, document: Document, outcome: Outcome) -> None:
    columns = [_column(plan, name, target, outcome.bad) for name, target in document.columns]
    forget(plan, document.sink.sink.path)
    try:
        made = document.render
        text = (made.signed(outcome.provenance) if isinstance(made, Signs) else made).render(columns)
    except OSError as error:
        where = document.sink.location
        raise RunError(f"{where}: error: could not write `{document.render.path}`: {error}") from error
    if text is not None:
        outcome.printed.append(text)


def _column(plan: Plan, name: str, target: Target, bad: Mapping[tuple[str, int], Bad]) -> Column:
    meta = target.meta
    # An array of one value cannot be mapped; any other may be large.
    array = np.load(target.path, mmap_mode="r" if size_of(tuple((0, n) for n in meta.shape)) > 1 else None)
    if meta.items is None:
        return Column(name, meta, array)
    source = plan.flow.nodes[meta.items].source
    assert isinstance(source, ItemSource)
    indices = frozenset(index for origin, index in bad if origin == meta.items)
    return Column(name, meta, array, source.items[: meta.shape[0]], indices)

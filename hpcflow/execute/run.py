"""Run a plan: each stage's blocks through a bounded window, then what is made at the end."""

from __future__ import annotations

import queue
import shutil
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from itertools import islice
from math import floor
from pathlib import Path
from typing import Any

import numpy as np

from hpcflow.clusters.base import Pool
from hpcflow.errors import BlockError, RunError
from hpcflow.execute.block import BlockResult, Failure, Job, check_blocks, run_blocks
from hpcflow.execute.fold import Fold
from hpcflow.execute.prepare import needs_preparing, prepare, with_prepared
from hpcflow.execute.progress import Progress
from hpcflow.execute.receipts import Receipt, read, stage_key
from hpcflow.meta import Bad, Column, ItemSource, Target
from hpcflow.planning.plan import Document, Plan
from hpcflow.planning.stages import Stage
from hpcflow.regions import size_of, unravel
from hpcflow.registry import Partial

BATCH_SECONDS = 0.05
"""Blocks shorter than this go several to a task: a task costs about a millisecond."""
LARGEST_BATCH = 512
CHECKED_TOGETHER = 16
"""Receipts that one task checks."""


@dataclass
class Outcome:
    """What has happened so far; the report is made of it, also when the run fails."""

    executed: int = 0
    reused: int = 0
    bytes_read: int = 0
    bytes_written: int = 0
    bad: dict[tuple[str, int], Bad] = field(default_factory=dict)
    printed: list[str] = field(default_factory=list)


def run_plan(
    plan: Plan, pool: Pool, outcome: Outcome, *, max_bad: float, progress: Progress, fresh: bool = False
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

    Raises
    ------
    RunError
    """
    allowed = _allowed(plan, max_bad)
    if fresh:
        shutil.rmtree(plan.run_dir / "receipts", ignore_errors=True)
    progress.start([(stage.name, stage.tasks) for stage in plan.stages])
    for stage in plan.stages:
        run_stage(plan, stage, pool, outcome, allowed=allowed, progress=progress)
    for document in plan.documents:
        _render(plan, document, outcome)


def _allowed(plan: Plan, max_bad: int | float) -> int:  # noqa: PYI041  (they mean different things)
    if isinstance(max_bad, int):
        return max_bad
    items = sum(len(n.source.items) for n in plan.flow.nodes.values() if isinstance(n.source, ItemSource))
    return floor(max_bad * items)


def run_stage(plan: Plan, stage: Stage, pool: Pool, outcome: Outcome, *, allowed: int, progress: Progress) -> None:
    """Run the blocks of one stage that no earlier run has finished, a bounded number at a time."""
    stage = _prepared(plan, stage, pool)
    folder = plan.run_dir / "receipts" / f"{stage.name}-{stage_key(stage)}"
    run = uuid.uuid4().hex[:12]
    key = f"{stage.name}-{run}"
    pool.install(key, Job(stage, str(folder.absolute()), run))
    account = _Account(plan, stage, outcome, allowed, progress)
    progress.stage(stage.name, stage.tasks)
    targets = [write.target for write in stage.writes]
    if folder.is_dir() and all(target.found() for target in targets):
        for receipt in _still_good(pool, stage, key, folder):
            account.reuse(receipt)
    if account.done < stage.tasks:
        for target in targets:
            _touch(target, target.reopen if account.done else target.create)
    for result in _results(pool, stage, key, account.finished):
        account.add(result)
    for target in [*targets, *(reduce.target for reduce in stage.reduces)]:
        _touch(target, target.finish)


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

    def __init__(self, plan: Plan, stage: Stage, outcome: Outcome, allowed: int, progress: Progress) -> None:
        self.plan = plan
        self.stage = stage
        self.outcome = outcome
        self.allowed = allowed
        self.progress = progress
        self.finished = bytearray(stage.tasks)
        self.done = 0
        self.folds = {reduce.node: Fold(stage, reduce) for reduce in stage.reduces}
        for reduce in stage.reduces:
            _touch(reduce.target, reduce.target.create)

    def reuse(self, receipt: Receipt) -> None:
        """Take in a block that an earlier run has finished."""
        if not self.finished[receipt.number]:
            self.outcome.reused += 1
            self._take(receipt.number, receipt.bad, receipt.partials, 0, 0)

    def add(self, result: BlockResult) -> None:
        """Take in a block that was computed."""
        if result.failure is not None:
            raise _failed(self.plan, self.stage, result, result.failure)
        self.outcome.executed += 1
        self.outcome.bytes_read += result.bytes_read
        self.outcome.bytes_written += result.bytes_written
        self._take(result.number, result.bad, result.partials, result.bytes_read, result.bytes_written)

    def _take(self, number: int, bad: Sequence[Bad], partials: Mapping[str, Partial], read: int, written: int) -> None:
        self.finished[number] = True
        self.done += 1
        self.outcome.bad.update({(one.source, one.index): one for one in bad})
        if len(self.outcome.bad) > self.allowed:
            raise _too_many(self.plan, self.outcome, self.allowed)
        for name, partial in partials.items():
            self.folds[name].add(number, partial)
        self.progress.block(self.stage.name, self.done, read, written, len(self.outcome.bad))


def _touch(target: Target, act: Callable[[], None]) -> None:
    try:
        act()
    except OSError as error:
        raise RunError(f"could not write to `{target.path}`: {error}") from error


def _still_good(pool: Pool, stage: Stage, key: str, folder: Path) -> Iterator[Receipt]:
    """The receipts of an earlier run whose blocks are as they were, checked on the workers."""
    receipts = (one for one in read(folder) if one.number < stage.tasks)

    def batches() -> Iterator[list[Receipt]]:
        while taken := list(islice(receipts, CHECKED_TOGETHER)):
            yield taken

    for good in _windowed(pool, ((f"{stage.name}-check", check_blocks, key, taken) for taken in batches())):
        yield from good


def _results(pool: Pool, stage: Stage, key: str, finished: bytearray) -> Iterator[BlockResult]:
    """The result of every block that is not finished, as they come."""
    numbers = (number for number in range(stage.tasks) if not finished[number])
    size = _Batch(2 * pool.info.workers * pool.info.threads, stage.tasks - sum(finished))

    def calls() -> Iterator[tuple[Any, ...]]:
        while taken := list(islice(numbers, size.next())):
            yield f"{stage.name}-{taken[0]}", run_blocks, key, taken

    for results in _windowed(pool, calls()):
        size.saw(results)
        yield from results


class _Batch:
    """How many blocks go into a task: one, or more where blocks are too short to be worth one each."""

    def __init__(self, shares: int, left: int) -> None:
        self.size = 1
        self.shares = shares
        self.left = left

    def next(self) -> int:
        """How many to take now; every thread gets its share of the last ones."""
        taken = max(1, min(self.size, self.left // self.shares))
        self.left -= taken
        return taken

    def saw(self, results: Sequence[BlockResult]) -> None:
        """Learn from blocks that are done; grow slowly."""
        each = sum(result.seconds for result in results) / len(results)
        self.size = max(1, min(int(BATCH_SECONDS / max(each, 1e-6)), 2 * self.size, LARGEST_BATCH))


def _windowed(pool: Pool, calls: Iterator[tuple[Any, ...]]) -> Iterator[Any]:
    """What the calls return, as they end; never more than a window of them under way."""
    done: queue.SimpleQueue[Future[Any]] = queue.SimpleQueue()
    under_way: set[Future[Any]] = set()
    window = 2 * pool.info.workers * pool.info.threads + 1
    try:
        while True:
            for call in islice(calls, window - len(under_way)):
                future = pool.submit(*call)
                under_way.add(future)
                future.add_done_callback(done.put)
            if not under_way:
                return
            future = done.get()
            under_way.discard(future)
            yield future.result()
    finally:
        for future in under_way:
            future.cancel()


def _failed(plan: Plan, stage: Stage, result: BlockResult, failure: Failure) -> BlockError:
    node = failure.node.split("[")[0]
    location = plan.flow.nodes[node].location if node in plan.flow.nodes else None
    index = list(unravel(result.number, stage.grid))
    region = ", ".join(f"{a}:{b}" for a, b in stage.region(result.number))
    lines = [f"{location}: error: `{node}` failed in block {index} [{region}] of the stage `{stage.name}`"]
    if failure.item is not None:
        lines = [f"{location}: error: `{failure.item}` could not be read: {failure.message}"]
        lines.append(f"  in block {index} [{region}] of the stage `{stage.name}`")
        lines.append("  hint: the flow mixes items, so none of them can be set apart; take it out of the source")
    else:
        lines.append(f"  {failure.message}")
        lines += [f"  read from `{path}`" for path in _files(plan, node)]
    return BlockError("\n".join(lines))


def _files(plan: Plan, node: str) -> list[str]:
    """The files behind a failed node."""
    if node not in plan.flow.nodes:
        return []
    one = plan.flow.nodes[node]
    if one.source is not None:
        return [str(one.params["path"])] if "path" in one.params else []
    return [path for name in one.of for path in _files(plan, name)]


def _too_many(plan: Plan, outcome: Outcome, allowed: int) -> RunError:
    bad = list(outcome.bad.values())
    location = plan.flow.nodes[bad[0].source].location
    counted = f"{len(bad)} item" + ("" if len(bad) == 1 else "s")
    lines = [f"{location}: error: {counted} could not be read, {allowed} allowed"]
    lines += [f"  {one.item}: {one.reason}" for one in bad[:20]]
    lines.append("  hint: mend or remove them, or set some apart with `--max-bad 10%`")
    return RunError("\n".join(lines))


def _render(plan: Plan, document: Document, outcome: Outcome) -> None:
    columns = [_column(plan, name, target, outcome.bad) for name, target in document.columns]
    try:
        text = document.render.render(columns)
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

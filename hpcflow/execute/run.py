"""Run a plan: each stage's blocks through a bounded window, then what is made at the end."""

from __future__ import annotations

import queue
import uuid
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from math import floor
from typing import Any

import numpy as np

from hpcflow.clusters.base import Pool, Ticket
from hpcflow.errors import BlockError, RunError
from hpcflow.execute.block import BlockResult, Failure, run_blocks
from hpcflow.execute.fold import Fold
from hpcflow.execute.progress import Progress
from hpcflow.meta import Bad, Column, ItemSource, Target
from hpcflow.planning.plan import Document, Plan
from hpcflow.planning.stages import Stage
from hpcflow.regions import size_of, unravel

BATCH_SECONDS = 0.05
"""Blocks shorter than this go several to a task: a task costs about a millisecond."""
LARGEST_BATCH = 512


@dataclass
class Outcome:
    """What has happened so far; the report is made of it, also when the run fails."""

    executed: int = 0
    bytes_read: int = 0
    bytes_written: int = 0
    bad: dict[tuple[str, int], Bad] = field(default_factory=dict)
    printed: list[str] = field(default_factory=list)
    previews: dict[str, Any] = field(default_factory=dict)


def run_plan(plan: Plan, pool: Pool, outcome: Outcome, *, max_bad: float, progress: Progress) -> None:
    """Run every stage of a plan in turn and publish its outputs.

    Parameters
    ----------
    plan : Plan
    pool : Pool
        Where blocks run.
    outcome : Outcome
        Filled in as the run goes on.
    max_bad : float
        Bad items that are set apart before the run fails: a number of them if at least 1,
        else a fraction of all items.
    progress : Progress

    Raises
    ------
    RunError
    """
    allowed = _allowed(plan, max_bad)
    for target in plan.targets:
        _create(target)
    progress.start([(stage.name, stage.tasks) for stage in plan.stages])
    for stage in plan.stages:
        run_stage(plan, stage, pool, outcome, allowed=allowed, progress=progress)
        for target in [w.target for w in stage.writes] + [r.target for r in stage.reduces]:
            target.finish()
    for document in plan.documents:
        _render(plan, document, outcome)


def _allowed(plan: Plan, max_bad: float) -> int:
    if max_bad >= 1:
        return int(max_bad)
    items = sum(len(n.source.items) for n in plan.flow.nodes.values() if isinstance(n.source, ItemSource))
    return floor(max_bad * items)


def _create(target: Target) -> None:
    try:
        target.create()
    except OSError as error:
        raise RunError(f"could not create `{target.path}`: {error}") from error


def run_stage(plan: Plan, stage: Stage, pool: Pool, outcome: Outcome, *, allowed: int, progress: Progress) -> None:
    """Run the blocks of one stage, a bounded number of them at a time."""
    key = f"{stage.name}-{uuid.uuid4().hex[:8]}"
    pool.install(key, stage)
    folds = {reduce.node: Fold(stage, reduce) for reduce in stage.reduces}
    progress.stage(stage.name, stage.tasks)
    for done, result in enumerate(_results(pool, stage, key), 1):
        if result.failure is not None:
            raise _failed(plan, stage, result, result.failure)
        outcome.executed += 1
        outcome.bytes_read += result.bytes_read
        outcome.bytes_written += result.bytes_written
        outcome.bad.update({(bad.source, bad.index): bad for bad in result.bad})
        if len(outcome.bad) > allowed:
            raise _too_many(plan, outcome, allowed)
        for name, partial in result.partials.items():
            folds[name].add(result.number, partial)
        progress.block(stage.name, done, result.bytes_read, result.bytes_written, len(outcome.bad))


def _results(pool: Pool, stage: Stage, key: str) -> Iterator[BlockResult]:
    """The result of every block, as they come; never more than a window of them under way."""
    numbers = iter(range(stage.tasks))
    done: queue.SimpleQueue[Ticket] = queue.SimpleQueue()
    under_way: set[Ticket] = set()
    window = 2 * pool.info.workers * pool.info.threads + 1
    batch = 1
    try:
        while True:
            while len(under_way) < window and (taken := list(islice(numbers, batch))):
                ticket = pool.submit(f"{stage.name}-{taken[0]}", run_blocks, key, taken)
                under_way.add(ticket)
                ticket.add_done_callback(done.put)
            if not under_way:
                return
            ticket = done.get()
            under_way.discard(ticket)
            results: list[BlockResult] = ticket.result()
            yield from results
            each = sum(result.seconds for result in results) / len(results)
            # Grow slowly, and leave every thread its share of what is left.
            left = max((stage.tasks - results[-1].number) // window, 1)
            batch = max(1, min(int(BATCH_SECONDS / max(each, 1e-6)), 2 * batch, LARGEST_BATCH, left))
    finally:
        for ticket in under_way:
            with suppress(Exception):
                ticket.cancel()


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

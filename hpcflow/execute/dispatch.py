"""The blocks of a stage through a bounded window, whatever becomes of the workers.

What passes by itself (a disk or a server that is away) is tried again after a while; what finds
no memory once more at the very end, with nothing beside it. When a worker dies, the blocks that it
had not begun go elsewhere as if nothing had happened; those that it was at are run once more at
the very end, one by one with nothing beside them: the one that kills its worker again is to
blame. A block far beyond its time has its worker ended, which is one death more; so has one that
holds blocks that long and is at none. The other blocks of the stage are finished in any case.
"""

from __future__ import annotations

import queue
import random
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass, replace
from heapq import heappop, heappush
from itertools import islice
from pathlib import Path
from typing import Any

from hpcflow.clusters.base import Pool, Process
from hpcflow.clusters.profiles import ELSEWHERE
from hpcflow.errors import RunError, WorkerLost
from hpcflow.execute.block import BlockResult, Failure, Trace, run_blocks
from hpcflow.execute.guard import Guard
from hpcflow.execute.progress import Progress
from hpcflow.execute.running import Running, running
from hpcflow.planning.stages import Stage

BATCH_SECONDS = 0.05
"""Blocks shorter than this go several to a task: a task costs about a millisecond."""
LARGEST_BATCH = 512
MOST_FAILED = 10
"""Blocks that fail for good before no more are begun: all the rest would most likely fail too."""
DEATHS = 2
"""Of a worker while it was at one block, until that block is to blame."""
LOSSES = 10
"""Of a block that no worker had begun, until the cluster is to blame."""
FIRST_DELAY, LONGEST_DELAY = 0.5, 30.0


@dataclass(frozen=True)
class Care:
    """What is done for a block before it is given up."""

    retries: int = 3
    """How often it is tried again after a fault of a disk, a file system or a server."""
    deadline: float | None = None
    """Seconds that a block may take; by default far more than any other block took."""

    def allows(self, slowest: float) -> float:
        """Seconds that a block may take, where the slowest so far took this long."""
        return self.deadline or (max(300.0, 30 * slowest) if slowest else 3600.0)


@dataclass(frozen=True)
class Work:
    """A stage as it is run: what the dispatch needs to know of it."""

    stage: Stage
    key: str
    """Under which the workers find it."""
    folder: Path
    """Where the run's receipts are left."""


@dataclass(frozen=True)
class _Task:
    """What a worker was given."""

    numbers: Sequence[int]
    since: float


class Dispatch:
    """Runs the blocks of a stage that are not finished; `results` gives what became of each."""

    def __init__(
        self,
        pool: Pool,
        work: Work,
        finished: bytearray,
        *,
        care: Care,
        guard: Guard,
        progress: Progress,
        traced: Callable[[Trace], None] = lambda _: None,
    ) -> None:
        self.traced = traced
        self.pool, self.work, self.care, self.guard, self.progress = pool, work, care, guard, progress
        self.fresh: Iterator[int] = (number for number, done in enumerate(finished) if not done)
        self.batch = _Batch(2 * pool.info.workers * pool.info.threads, len(finished) - sum(finished))
        self.window = 2 * pool.info.workers * pool.info.threads + 1
        self.under_way: dict[Future[Any], _Task] = {}
        self.idle: set[Process] = set()
        self.done: queue.SimpleQueue[Future[Any]] = queue.SimpleQueue()
        self.again: list[tuple[float, int]] = []
        self.suspects: deque[int] = deque()
        self.alone: set[int] = set()
        self.tries, self.deaths, self.losses = Counter[int](), Counter[int](), Counter[int]()
        self.why: dict[int, str] = {}
        self.said: set[str] = set()
        self.slowest = 0.0
        self.failed = 0
        self.retried = 0
        self.looked = time.monotonic()

    def results(self) -> Iterator[BlockResult]:
        """What became of each block, as they end."""
        try:
            while self._admit():
                future = self._next()
                if future is not None:
                    for result in self._ended(self.under_way.pop(future).numbers, future):
                        self._count(result)
                        yield result
        finally:
            for future in self.under_way:
                future.cancel()

    def take_retried(self) -> int:
        """How many times blocks were run once more since the last call."""
        taken, self.retried = self.retried, 0
        return taken

    def _admit(self) -> bool:
        """Submit what the window takes; whether there is anything to wait for."""
        while len(self.under_way) < self.window and (numbers := self._take()):
            self._submit(numbers)
        if self.suspects and not self.under_way and not self.again:
            self._submit([self.suspects.popleft()])
        return bool(self.under_way or self.again)

    def _take(self) -> list[int]:
        if self.again and self.again[0][0] <= time.monotonic():
            return [heappop(self.again)[1]]
        return list(islice(self.fresh, self.batch.next()))

    def _submit(self, numbers: Sequence[int]) -> None:
        work = self.work
        future = self.pool.submit(f"{work.stage.name}-{numbers[0]}", run_blocks, work.key, list(numbers))
        self.under_way[future] = _Task(numbers, time.monotonic())
        future.add_done_callback(self.done.put)

    def _next(self) -> Future[Any] | None:
        """The next call that ends; `None` where something else is to be done first."""
        pause = min(15.0, self.care.allows(self.slowest) / 4)
        until = min([self.looked + pause, *(when for when, _ in self.again[:1])])
        try:
            return self.done.get(timeout=max(0.0, until - time.monotonic()))
        except queue.Empty:
            if time.monotonic() >= self.looked + pause:
                self._look()
            return None

    def _ended(self, numbers: Sequence[int], future: Future[Any]) -> Iterator[BlockResult]:
        try:
            results = future.result()
        except WorkerLost:
            yield from self._lost(numbers)
            return
        except CancelledError:
            raise RunError(
                "the cluster has gone away\n  hint: the same command goes on where this one stopped"
            ) from None
        self.batch.saw(results)
        for result in results:
            self._note(result.notes)
            self.slowest = max(self.slowest, result.seconds)
            if result.trace is not None:
                self.traced(result.trace)
            if not self._tried_again(result):
                yield self._counted(result)

    def _note(self, notes: Sequence[str]) -> None:
        for text in notes:
            if text not in self.said:
                self.said.add(text)
                self.progress.note(text)

    def _count(self, result: BlockResult) -> None:
        if result.failure is None:
            return
        self.failed += 1
        if result.failure.full or self.failed >= MOST_FAILED:
            self.fresh = iter(())
            self.again.clear()
            self.suspects.clear()

    def _tried_again(self, result: BlockResult) -> bool:
        """Whether a block that failed gets another try, after a pause that grows."""
        number, failure = result.number, result.failure
        if failure is None or self.tries[number] >= self.care.retries:
            return False
        if failure.starved:
            return self._tried_alone(number, failure)
        if not failure.passes:
            return False
        # Spread, so that many workers do not come back to a weak server at one moment.
        delay = min(LONGEST_DELAY, FIRST_DELAY * 2 ** self.tries[number]) * random.uniform(0.5, 1)  # noqa: S311
        self.tries[number] += 1
        self._once_more(number, delay)
        counted = f"{self.tries[number]} of {self.care.retries}"
        self.progress.note(f"block {number} of `{self.work.stage.name}`: {failure.message}; tried again ({counted})")
        return True

    def _tried_alone(self, number: int, failure: Failure) -> bool:
        """Put a block that found no memory at the very end; whether it was not there yet."""
        if number in self.alone:
            return False
        self.alone.add(number)
        self.tries[number] += 1
        self.retried += 1
        self.suspects.append(number)
        self.progress.note(
            f"block {number} of `{self.work.stage.name}`: {failure.message}; tried again at the end, alone"
        )
        return True

    def _counted(self, result: BlockResult) -> BlockResult:
        failure, tries = result.failure, self.tries[result.number]
        if failure is None or not tries:
            return result
        return replace(result, failure=replace(failure, message=f"{failure.message} (tried {tries + 1} times)"))

    def _once_more(self, number: int, delay: float = 0.0) -> None:
        self.retried += 1
        heappush(self.again, (time.monotonic() + delay, number))

    def _lost(self, numbers: Sequence[int]) -> Iterator[BlockResult]:
        """Tell what a dead worker was at from what only waited for it."""
        noted: dict[int, Running] = {one.number: one for one in running(self.work.folder)}
        for number in numbers:
            if number in noted:
                yield from self._died(number, noted[number])
            elif self.losses[number] >= LOSSES:
                yield self._given_up(number, f"its worker process died {LOSSES} times before it began")
            else:
                self.losses[number] += 1
                self._once_more(number)

    def _died(self, number: int, at: Running) -> Iterator[BlockResult]:
        at.path.unlink(missing_ok=True)
        self.deaths[number] += 1
        self.why[number] = self.guard.reasons.get(Process(at.host, at.process)) or self._likely()
        if self.deaths[number] >= DEATHS:
            yield self._given_up(number, f"its worker process died {DEATHS} times over it: {self.why[number]}")
            return
        self.retried += 1
        self.suspects.append(number)
        self.progress.note(f"a worker died at block {number} of `{self.work.stage.name}`: {self.why[number]}")

    def _likely(self) -> str:
        job = "its job ended, " if self.pool.info.kind in ELSEWHERE else ""
        return f"it crashed, {job}or the system had no memory left for it"

    def _given_up(self, number: int, message: str) -> BlockResult:
        return BlockResult(number, failure=Failure(self.work.stage.ends[0], message))

    def _look(self) -> None:
        """End the workers whose block takes far longer than any other did, and those that begin none."""
        self.looked = time.monotonic()
        allowed = self.care.allows(self.slowest)
        calls = {number: call for call, task in self.under_way.items() for number in task.numbers}
        at = [one for one in running(self.work.folder) if one.number in calls]
        for one in at:
            took = time.time() - one.since
            if took > allowed:
                process = Process(one.host, one.process)
                reason = f"it had not ended after {took:.0f} s, {allowed:.0f} s allowed"
                if not self._end(calls[one.number], process, reason):
                    self.progress.note(f"block {one.number} of `{self.work.stage.name}` has run for {took:.0f} s")
        self._look_for_idle({Process(one.host, one.process) for one in at}, allowed)

    def _look_for_idle(self, busy: set[Process], allowed: float) -> None:
        """A worker may stop before it begins a block, or between two: it has noted none, and its blocks wait."""
        late = [call for call, task in self.under_way.items() if self.looked - task.since > allowed]
        held = {process: call for call, process in self.pool.holders(late).items()} if late else {}
        # Twice in a row: between two blocks, every worker is at none for a moment.
        for process in held.keys() & self.idle - busy:
            if not self._end(held[process], process, f"it had begun no block for {allowed:.0f} s"):
                self.progress.note(f"process {process.number} on {process.host} holds blocks and begins none")
        self.idle = held.keys() - busy

    def _end(self, call: Future[Any], process: Process, reason: str) -> bool:
        if process in self.guard.reasons:  # what it was at is not taken back yet
            return True
        if not self.guard.end(process, reason) and not self.pool.end(call):
            return False
        self.guard.reasons[process] = reason
        return True


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

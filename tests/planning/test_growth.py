"""Neither plan nor driver grows with the number of blocks."""

from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np
import psutil
import pytest

from hpcflow.clusters.base import ClusterInfo
from hpcflow.execute.block import BlockResult
from hpcflow.execute.progress import Silent
from hpcflow.execute.run import Outcome, run_plan


class Instant:
    """A pool whose blocks are done at once: what is left is what the driver does."""

    info = ClusterInfo("instant", 1, 2)

    def install(self, key, value):
        self.installed = key

    def submit(self, name, function, key, numbers):
        future = Future()
        future.set_result([BlockResult(number, {"s": (np.ones((1, 1)),)}, seconds=0.01) for number in numbers])
        return future


@pytest.mark.timeout(120)
def test_the_driver_holds_a_few_bytes_for_each_block(sparse, planned, flow):
    steps, sink = ["s: {op: sum, of: x}"], "s: {to: json, of: s, path: OUT/s.json}"
    held = []
    # In a process of its own, where no other test has left memory free.
    with ProcessPoolExecutor(1, get_context("spawn")) as process:
        for rows in (1_000, 100_000):
            plan = planned(flow(sparse((rows, 16)), steps, [sink], more="block: [1]"))
            assert plan.tasks == rows
            held.append(process.submit(held_after, plan).result())
    assert held[1] - held[0] < 25 * 99_000


def held_after(plan):
    run_plan(plan, Instant(), Outcome(), max_bad=0, progress=Silent())
    return psutil.Process().memory_info().rss

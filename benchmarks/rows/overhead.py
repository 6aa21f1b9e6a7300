"""What a block costs beyond its elements."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

from benchmarks import data
from benchmarks.declare import SINGLE, Case, Once, Reach, Row
from benchmarks.ours import by_hpcflow, number, write
from benchmarks.rows._peers import dask_file, on_threads

THREADS, LOCAL = "dask.array, threads", "dask.array, LocalCluster"
OURS, PLAN = "hpcflow, local", "hpcflow.plan"
ONCE = "NumPy whole"

row = Row(
    name="overhead",
    title="Overhead of a block",
    about="(x + 1) × 2, summed, in {blocks} blocks of {block} float32",
    sizes={
        "full": {"blocks": 100_000, "block": 256, "tenth": 10_000},
        "quick": {"blocks": 5_000, "block": 256, "tenth": 1_000},
        "toy": {"blocks": 20, "block": 256, "tenth": 20},
    },
    inputs=lambda size: {
        "x": data.npy((size.blocks * size.block,)),
        "tenth": data.npy((size.tenth * size.block,)),
    },
    reference=ONCE,
    reaches=(Reach(1, PLAN, "at most"), Reach(2, THREADS), Reach(2, LOCAL, ours=OURS)),
    share=2.5,
)
ROWS = (row,)


def flow(case: Case) -> dict[str, Any]:
    return {
        "flow": "overhead",
        "block": [case.size.block],
        "sources": {"x": {"from": "npy", "path": case.inputs.x}},
        "steps": {
            "one": {"op": "expr", "expr": "x + 1"},
            "two": {"op": "expr", "expr": "one * 2"},
            "total": {"op": "sum", "of": "two"},
        },
        "sinks": {"total": {"to": "json", "of": "total", "path": case.out / "total.json"}},
    }


by_hpcflow(row, flow, number("total.json"))
by_hpcflow(row, flow, number("total.json"), name=OURS, cluster="local", command=False)


@row.limit(PLAN, tolerance=float("inf"))
def plan(case: Case) -> Once:
    """Reading the flow and planning it: to be done within a second."""
    import hpcflow

    path = write(flow, case)
    return lambda: float(hpcflow.plan(path, cluster="threads").tasks)


def total(case: Case) -> Any:
    """The lazy sum over a tenth: a file of its own, so that nothing is built that is not summed."""
    x = dask_file(case.inputs.tenth, case.size.block)
    return ((x + 1) * 2).sum(dtype=np.float64)


@row.limit(ONCE)
def whole(case: Case) -> Once:
    """The same sum in no blocks at all, which the others are held against."""
    return lambda: float(((np.load(case.inputs.x) + 1) * 2).sum(dtype=np.float64))


def part(size: SimpleNamespace) -> float:
    """A tenth of the blocks stands for all: its graph is the cheaper one for each block."""
    return float(size.blocks / size.tenth)


@row.peer(THREADS, "dask", env=SINGLE, scale=part, tolerance=float("inf"))
def on_dask_threads(case: Case) -> Once:
    """Of the sum of a tenth, only the time counts."""
    on_threads(case)
    return lambda: total(case).compute()


@row.peer(LOCAL, "distributed", env=SINGLE, scale=part, tolerance=float("inf"))
def on_dask_local(case: Case) -> Once:
    """Of the sum of a tenth, only the time counts."""
    from distributed import Client, LocalCluster

    cluster = LocalCluster(n_workers=1, threads_per_worker=case.cores, dashboard_address=None)
    case.stack.enter_context(cluster)
    case.stack.enter_context(Client(cluster))
    return lambda: total(case).compute()

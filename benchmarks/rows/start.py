"""What it takes to begin: a whole process for a megabyte of data."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

from benchmarks import data
from benchmarks.declare import SINGLE, Case, Once, Reach, Row
from benchmarks.ours import by_hpcflow, number

SCRIPT = """
import dask.array as da, json, numpy as np, sys
from distributed import Client, LocalCluster
if __name__ == "__main__":
    with LocalCluster(n_workers=1, threads_per_worker=int(sys.argv[3])) as cluster, Client(cluster):
        x = da.from_array(np.load(sys.argv[1], mmap_mode="r"), chunks=65536)
        json.dump(float((da.sqrt(x) + x**2).sum(dtype="float64").compute()), open(sys.argv[2], "w"))
"""
DASK = "five lines of Dask"

row = Row(
    name="start",
    title="Start",
    about="sum(√x + x²) of 1 MiB, whole processes, each with a local cluster",
    sizes={size: {"mib": 1} for size in ("full", "quick", "toy")},
    inputs=lambda size: {"x": data.npy((size.mib * 2**18,))},
    reference=DASK,
    reaches=(Reach(1, DASK, ours="hpcflow, command"),),
    share=0.7,
)
ROWS = (row,)


def flow(case: Case) -> dict[str, Any]:
    return {
        "flow": "start",
        "sources": {"x": {"from": "npy", "path": case.inputs.x}},
        "steps": {"mapped": {"op": "expr", "expr": "sqrt(x) + x**2"}, "total": {"op": "sum", "of": "mapped"}},
        "sinks": {"total": {"to": "json", "of": "total", "path": case.out / "total.json"}},
    }


by_hpcflow(row, flow, number("total.json"), cluster="local")


@row.peer(DASK, "distributed", env=SINGLE)
def script(case: Case) -> Once:
    path = case.folder / "script.py"
    path.write_text(SCRIPT, encoding="utf-8")

    def once() -> Any:
        out = case.out / "total.json"
        subprocess.run([sys.executable, str(path), case.inputs.x, str(out), str(case.cores)], check=True)
        return number("total.json")(case)

    return once


@row.limit("python -c 'import numpy, dask.array'", "dask", tolerance=float("inf"))
def imports(case: Case) -> Once:
    """An interpreter and the libraries."""

    def once() -> Any:
        subprocess.run([sys.executable, "-c", "import numpy, dask.array"], check=True)
        return 0.0

    return once

"""One number from an array larger than a cache."""

from __future__ import annotations

import multiprocessing
from typing import Any

import numpy as np

from benchmarks import data
from benchmarks.declare import SINGLE, Case, Once, Reach, Row
from benchmarks.ours import by_hpcflow, number
from benchmarks.rows._peers import dask_file, on_threads, pieces

FUSED = "one fused Numba loop"
SLAB = 2**22

row = Row(
    name="map_reduce",
    title="Map and reduce",
    about="sum(√x + x²) of {mib} MiB float32, a memory-mapped `.npy`",
    sizes={"full": {"mib": 4096}, "quick": {"mib": 512}, "toy": {"mib": 1}},
    inputs=lambda size: {"x": data.npy((size.mib * 2**18,))},
    reference="NumPy",
    reaches=(Reach(5, "dask.array"), Reach(0.7, FUSED)),
)
ROWS = (row,)


def flow(case: Case) -> dict[str, Any]:
    return {
        "flow": "map_reduce",
        "sources": {"x": {"from": "npy", "path": case.inputs.x}},
        "steps": {"mapped": {"op": "expr", "expr": "sqrt(x) + x**2"}, "total": {"op": "sum", "of": "mapped"}},
        "sinks": {"total": {"to": "json", "of": "total", "path": case.out / "total.json"}},
    }


by_hpcflow(row, flow, number("total.json"))


def part(path: str, first: int, last: int) -> float:
    """The sum over one slab, in NumPy."""
    x = np.load(path, mmap_mode="r")[first:last]
    return float((np.sqrt(x) + x**2).sum(dtype=np.float64))


def spans(case: Case) -> list[tuple[str, int, int]]:
    """Slabs of 16 MiB."""
    return [(case.inputs.x, first, last) for first, last in pieces(case.size.mib * 2**18, SLAB)]


@row.peer("NumPy", env=SINGLE)
def whole_numpy(case: Case) -> Once:
    """Slab by slab: the temporaries of a whole call would fill the memory."""
    return lambda: sum(part(*span) for span in spans(case))


@row.peer("multiprocessing.Pool", env=SINGLE)
def processes(case: Case) -> Once:
    """A process for each core, started once, each given slabs to read by itself."""
    workers = case.stack.enter_context(multiprocessing.get_context("spawn").Pool(case.cores))
    return lambda: sum(workers.starmap(part, spans(case)))


@row.peer("dask.array", "dask", env=SINGLE)
def dask_array(case: Case) -> Once:
    import dask.array as da

    on_threads(case)

    def once() -> Any:
        x = dask_file(case.inputs.x, SLAB)
        return (da.sqrt(x) + x**2).sum(dtype=np.float64).compute()

    return once


@row.peer("numexpr", "numexpr")
def numexpr(case: Case) -> Once:
    """Its own sum adds float32 up in float32, and is wrong: NumPy sums each slab."""
    import numexpr as ne

    ne.set_num_threads(case.cores)
    out = np.empty(SLAB, np.float32)

    def once() -> Any:
        total = 0.0
        for path, first, last in spans(case):
            made = out[: last - first]
            x = np.load(path, mmap_mode="r")[first:last]
            ne.evaluate("sqrt(x) + x**2", {"x": x}, out=made)
            total += float(made.sum(dtype=np.float64))
        return total

    return once


@row.limit(FUSED, "numba")
def fused(case: Case) -> Once:
    """Compiled for this one expression, float64 accumulators, a thread for each core."""
    import numba

    @numba.njit(parallel=True, fastmath=True)
    def total(x: Any) -> float:
        found = 0.0
        for i in numba.prange(x.size):
            found += np.float64(np.sqrt(x[i]) + x[i] * x[i])
        return found

    return lambda: total(np.load(case.inputs.x, mmap_mode="r"))

"""The product of two chunked matrices."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks import data
from benchmarks.declare import SINGLE, Case, Once, Reach, Row
from benchmarks.ours import by_hpcflow
from benchmarks.rows._peers import new_file, on_threads, stored

BLAS = "BLAS whole"

row = Row(
    name="matrix",
    title="Matrix product",
    about="{side}² × {side}² float32 Zarr, uncompressed chunks of {chunk}² → `.npy`",
    sizes={
        "full": {"side": 8192, "chunk": 1024, "written": 4 * 8192**2},
        "quick": {"side": 3072, "chunk": 512, "written": 4 * 3072**2},
        "toy": {"side": 100, "chunk": 40},
    },
    inputs=lambda size: {"a": data.zarr((size.side,) * 2, (size.chunk,) * 2, "float32", codec=False)},
    reference=BLAS,
    reaches=(Reach(0.9, BLAS),),
    tolerance=1e-5,
)
ROWS = (row,)


def flow(case: Case) -> dict[str, Any]:
    return {
        "flow": "matrix",
        "sources": {"a": {"from": "zarr", "path": case.inputs.a}},
        "steps": {"square": {"op": "matmul", "of": ["a", "a"]}},
        "sinks": {"square": {"to": "npy", "of": "square", "path": case.out / "out.npy"}},
    }


by_hpcflow(row, flow, lambda case: np.load(case.out / "out.npy", mmap_mode="r"), needs=("hpcflow.ops.matmul",))


@row.peer("dask.array", "dask", env=SINGLE)
def dask_array(case: Case) -> Once:
    """In larger chunks than those of the files, as its documentation advises."""
    import dask.array as da

    on_threads(case)

    def once() -> Any:
        a = da.from_zarr(case.inputs.a).rechunk(max(1, case.size.side // 4))
        return stored(a @ a, case)

    return once


@row.limit(BLAS)
def blas(case: Case) -> Once:
    import zarr

    def once() -> Any:
        a = zarr.open_array(case.inputs.a, mode="r")[:]
        return np.matmul(a, a, out=new_file(case.out / "out.npy", a))

    return once

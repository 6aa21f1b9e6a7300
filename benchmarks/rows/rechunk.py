"""A stack of planes, stored anew as columns through time, in little memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks import data
from benchmarks.declare import SINGLE, Case, Once, Reach, Row
from benchmarks.ours import by_hpcflow
from benchmarks.rows._peers import one_thread_each

P2P, CUBED, STORE = "dask.array, p2p", "Cubed", "tensorstore"


def stack(frames: int, side: int) -> Path:
    """Planes, each in a chunk of its own."""
    return data.zarr((frames, side, side), (1, side, side), "uint16")


def share(size: Any) -> float:
    """How much more than the first frames there is; those too slow for all of them are timed on these."""
    return float(size.frames / size.part)


row = Row(
    name="rechunk",
    title="Rechunk, planes → columns",
    about="{frames} × {side}² uint16 Zarr, chunks of 1 × {side}² → {frames} × {column}², {memory_mib} MiB of memory, "
    "hpcflow in half of that",
    sizes={
        "full": {"frames": 1024, "part": 128, "side": 2048, "column": 64, "memory_mib": 1024, "written": 2**33},
        "quick": {"frames": 256, "part": 256, "side": 512, "column": 64, "memory_mib": 1024, "written": 2**27},
        "toy": {"frames": 12, "part": 12, "side": 32, "column": 8, "memory_mib": 1024},
    },
    inputs=lambda size: {"stack": stack(size.frames, size.side), "part": stack(size.part, size.side)},
    reference=STORE,
    reaches=(
        Reach(1, P2P),
        Reach(1, CUBED),
        Reach(1, STORE),
        *(Reach(2, other, "memory") for other in (P2P, CUBED, STORE)),
    ),
    tolerance=0,
    differ="bytes",
    share=4.5,
)
ROWS = (row,)


def columns(case: Case) -> list[int]:
    """A chunk of the result."""
    return [case.size.frames, case.size.column, case.size.column]


def memory(size: Any) -> int:
    """Bytes for the whole of it, for the peers."""
    return int(size.memory_mib * 2**20)


def flow(case: Case) -> dict[str, Any]:
    return {
        "flow": "rechunk",
        "sources": {"stack": {"from": "zarr", "path": case.inputs.stack}},
        "sinks": {"columns": {"to": "zarr", "of": "stack", "path": case.out / "out.zarr", "chunks": columns(case)}},
    }


def result(case: Case) -> Any:
    import zarr

    return zarr.open_array(case.out / "out.zarr", mode="r")


by_hpcflow(row, flow, result, memory=lambda size: memory(size) // 2)


def created(case: Case, path: str) -> Any:
    """The Zarr array for the result."""
    import zarr

    planes = zarr.open_array(path, mode="r")
    return zarr.create_array(
        case.out / "out.zarr",
        shape=planes.shape,
        chunks=(planes.shape[0], case.size.column, case.size.column),
        dtype=planes.dtype,
        compressors=data.blosc(),
    )


@row.peer(P2P, "distributed", env=SINGLE, scale=share)
def p2p(case: Case) -> Once:
    """On a cluster of a process for each core, which is what p2p needs.

    Without a limit of memory: Dask would count the pages of files that p2p maps, and end its workers.
    """
    import dask
    import dask.array as da
    from distributed import Client, LocalCluster

    cluster = LocalCluster(
        n_workers=case.cores,
        threads_per_worker=1,
        memory_limit=0,
        dashboard_address=None,
        local_directory=str(case.folder),
    )
    case.stack.enter_context(cluster)
    case.stack.enter_context(Client(cluster))
    case.stack.enter_context(dask.config.set({"array.rechunk.method": "p2p"}))

    def once() -> Any:
        planes, out = da.from_zarr(case.inputs.part), created(case, case.inputs.part)
        da.to_zarr(planes.rechunk(out.chunks), out)
        return result(case)

    return once


@row.peer(CUBED, "cubed", env=SINGLE, scale=share)
def cubed(case: Case) -> Once:
    import cubed as cb

    one_thread_each(case)

    def once() -> Any:
        spec = cb.Spec(
            case.out / "work",
            allowed_mem=memory(case.size) // case.cores,
            executor_name="threads",
            executor_options={"max_workers": case.cores},
        )
        planes = cb.from_zarr(case.inputs.part, spec=spec)
        chunks = (case.size.part, case.size.column, case.size.column)
        cb.to_zarr(cb.rechunk(planes, chunks), str(case.out / "out.zarr"))
        return result(case)

    return once


@row.peer(STORE, "tensorstore")
def tensorstore(case: Case) -> Once:
    """Slabs of whole columns, as many as half the memory holds, each copied by its own threads."""
    import tensorstore as ts

    def opened(path: Any) -> Any:
        context = {"data_copy_concurrency": {"limit": case.cores}, "cache_pool": {"total_bytes_limit": 0}}
        spec = {"driver": "zarr3", "kvstore": {"driver": "file", "path": str(path)}, "context": context}
        return ts.open(spec).result()

    def once() -> Any:
        created(case, case.inputs.stack)
        planes, out = opened(case.inputs.stack), opened(case.out / "out.zarr")
        size = case.size
        row_bytes = 2 * size.frames * size.side * size.column
        rows = max(1, memory(size) // 2 // row_bytes) * size.column
        for first in range(0, size.side, rows):
            span = slice(first, min(first + rows, size.side))
            out[:, span].write(planes[:, span].read().result()).result()
        return result(case)

    return once

"""The two-dimensional Fourier transform of a plane that is chunked along both axes."""

from __future__ import annotations

from typing import Any

from benchmarks import data
from benchmarks.declare import SINGLE, Case, Once, Reach, Row
from benchmarks.ours import by_hpcflow
from benchmarks.rows._peers import new_file, on_threads, stored

WHOLE = "scipy.fft whole"

row = Row(
    name="fourier",
    title="2-D FFT",
    about="{side}² float32 Zarr, uncompressed chunks of {chunk}² → complex64 `.npy`",
    sizes={
        "full": {"side": 8192, "chunk": 1024, "written": 8 * 8192**2},
        "quick": {"side": 3072, "chunk": 512, "written": 8 * 3072**2},
        "toy": {"side": 120, "chunk": 50},
    },
    inputs=lambda size: {"plane": data.zarr((size.side,) * 2, (size.chunk,) * 2, "float32", codec=False)},
    reference=WHOLE,
    reaches=(Reach(3, "dask.array, two passes"), Reach(0.6, WHOLE)),
    share=0.7,
)
ROWS = (row,)


def flow(case: Case) -> dict[str, Any]:
    return {
        "flow": "fourier",
        "sources": {"plane": {"from": "zarr", "path": case.inputs.plane}},
        "steps": {"spectrum": {"op": "fft", "of": "plane", "axes": [0, 1]}},
        "sinks": {"spectrum": {"to": "npy", "of": "spectrum", "path": case.out / "out.npy"}},
    }


def result(case: Case) -> Any:
    import numpy as np

    return np.load(case.out / "out.npy", mmap_mode="r")


by_hpcflow(row, flow, result, needs=("hpcflow.ops.fft",))


@row.peer("dask.array, two passes", "dask", env=SINGLE)
def dask_array(case: Case) -> Once:
    """Rows, then columns: each whole along the axis that is transformed."""
    import dask.array as da
    from dask.array.fft import fft_wrap
    from scipy import fft

    on_threads(case)
    along = fft_wrap(fft.fft, dtype="complex64")  # numpy.fft's twin, in single precision

    def once() -> Any:
        slab = max(1, case.size.chunk // 2)
        rows = along(da.from_zarr(case.inputs.plane).rechunk((slab, -1)), axis=1)
        return stored(along(rows.rechunk((-1, slab)), axis=0), case)

    return once


@row.limit(WHOLE, "scipy")
def whole_scipy(case: Case) -> Once:
    import zarr
    from scipy import fft

    def once() -> Any:
        plane = zarr.open_array(case.inputs.plane, mode="r")[:]
        out = new_file(case.out / "out.npy", plane, "complex64")
        out[:] = fft.fft2(plane, workers=case.cores)
        return out

    return once

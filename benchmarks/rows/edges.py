"""A chain of filters and a sum: uniform, sobel along both axes, magnitude, total."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks import data
from benchmarks.declare import SINGLE, Case, Once, Reach, Row
from benchmarks.ours import by_hpcflow, number
from benchmarks.rows._peers import dask_file, on_threads, one_thread_each, pieces, pool

CHAIN = "map_overlap chain, OpenCV"

row = Row(
    name="edges",
    title="Edge energy",
    about="{side}² float32 `.npy`: uniform → sobel x, y → magnitude → sum",
    sizes={
        "full": {"side": 16384, "chunk": 2048},
        "quick": {"side": 6144, "chunk": 1536},
        "toy": {"side": 300, "chunk": 128},
    },
    inputs=lambda size: {"plane": data.npy((size.side, size.side))},
    reference="SciPy",
    reaches=(Reach(5, CHAIN),),
    share=0.7,
)
ROWS = (row,)


def flow(case: Case) -> dict[str, Any]:
    return {
        "flow": "edges",
        "sources": {"plane": {"from": "npy", "path": case.inputs.plane, "dims": ["y", "x"]}},
        "steps": {
            "smooth": {"op": "uniform", "of": "plane", "size": 3},
            "gx": {"op": "sobel", "of": "smooth", "axis": "x"},
            "gy": {"op": "sobel", "of": "smooth", "axis": "y"},
            "energy": {"op": "expr", "expr": "sqrt(gx**2 + gy**2)"},
            "total": {"op": "sum", "of": "energy"},
        },
        "sinks": {"total": {"to": "json", "of": "total", "path": case.out / "total.json"}},
    }


by_hpcflow(row, flow, number("total.json"))


@row.peer("SciPy", "scipy")
def whole_scipy(case: Case) -> Once:
    from scipy.ndimage import sobel, uniform_filter

    def once() -> Any:
        smooth = uniform_filter(np.load(case.inputs.plane, mmap_mode="r"), 3)
        energy = np.hypot(sobel(smooth, axis=1), sobel(smooth, axis=0))
        return energy.sum(dtype=np.float64)

    return once


@row.peer(CHAIN, "cv2", env=SINGLE)
def chain(case: Case) -> Once:
    import cv2
    import dask.array as da

    on_threads(case)
    blur, sobel_x, sobel_y = _kernels(cv2)

    def once() -> Any:
        how = {"depth": 1, "boundary": "reflect", "dtype": np.float32}
        smooth = dask_file(case.inputs.plane, case.size.chunk).map_overlap(blur, **how)
        gx, gy = smooth.map_overlap(sobel_x, **how), smooth.map_overlap(sobel_y, **how)
        return da.sqrt(gx**2 + gy**2).sum(dtype=np.float64).compute()

    return once


@row.limit("slabs + OpenCV by hand", "cv2", env=SINGLE)
def slabs(case: Case) -> Once:
    """Slabs that stay in cache, the border made by hand, a thread for each core."""
    import cv2

    one_thread_each(case)
    threads = pool(case)
    blur, sobel_x, sobel_y = _kernels(cv2)
    n = case.size.side

    def one(span: tuple[int, int]) -> float:
        first, last = span
        above, below = min(first, 2), min(n - last, 2)
        plane = np.load(case.inputs.plane, mmap_mode="r")[first - above : last + below]
        smooth = blur(plane)
        # Rows of `smooth` beside a cut are wrong; the array's ends are not cuts.
        top, bottom = above - min(above, 1), below - min(below, 1)
        smooth = smooth[top : len(smooth) - bottom]
        energy = cv2.magnitude(sobel_x(smooth), sobel_y(smooth))
        rest = above - top
        return float(energy[rest : rest + last - first].sum(dtype=np.float64))

    return lambda: sum(threads.map(one, pieces(n, 64)))


def _kernels(cv2: Any) -> tuple[Any, Any, Any]:
    border = cv2.BORDER_REFLECT
    return (
        lambda block: cv2.blur(block, (3, 3), borderType=border),
        lambda block: cv2.Sobel(block, cv2.CV_32F, 1, 0, ksize=3, borderType=border),
        lambda block: cv2.Sobel(block, cv2.CV_32F, 0, 1, ksize=3, borderType=border),
    )

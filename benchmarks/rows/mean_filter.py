"""The mean of every 3 by 3 neighbourhood of a plane."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from benchmarks import data
from benchmarks.declare import SINGLE, Case, Once, Reach, Row
from benchmarks.ours import by_hpcflow
from benchmarks.rows._peers import dask_file, new_file, on_threads, one_thread_each, pieces, pool, stored

BY_HAND = "slabs + OpenCV by hand"


def inputs(size: SimpleNamespace) -> dict[str, Path]:
    return {"plane": data.npy((size.side, size.side))}


row = Row(
    name="mean_filter",
    title="Mean filter, 3 × 3",
    about="{side}² float32, `.npy` → `.npy`",
    sizes={
        "full": {"side": 16384, "corner": 1024, "chunk": 2048, "written": 2**30},
        "quick": {"side": 6144, "corner": 256, "chunk": 1536, "written": 144 * 2**20},
        "toy": {"side": 300, "corner": 20, "chunk": 128},
    },
    inputs=inputs,
    reference="SciPy",
    reaches=(Reach(10, "dask-image"), Reach(0.8, BY_HAND)),
    share=0.7,
)
ROWS = (row,)


def flow(case: Case) -> dict[str, Any]:
    return {
        "flow": "mean_filter",
        "sources": {"plane": {"from": "npy", "path": case.inputs.plane}},
        "steps": {"mean": {"op": "uniform", "of": "plane", "size": 3}},
        "sinks": {"mean": {"to": "npy", "of": "mean", "path": case.out / "mean.npy"}},
    }


by_hpcflow(row, flow, lambda case: np.load(case.out / "mean.npy", mmap_mode="r"))


@row.peer("Python loop", scale=lambda size: (size.side / size.corner) ** 2)
def python_loop(case: Case) -> Once:
    """Of a corner: all of it would take hours."""
    n = case.size.corner

    def once() -> Any:
        plane = np.load(case.inputs.plane, mmap_mode="r")[: n + 1, : n + 1].tolist()
        out = np.empty((n, n), np.float32)
        for y in range(n):
            for x in range(n):
                total = 0.0
                for i in (y - 1, y, y + 1):
                    for j in (x - 1, x, x + 1):
                        total += plane[max(i, 0)][max(j, 0)]
                out[y, x] = total / 9
        return out

    return once


@row.peer("SciPy", "scipy")
def whole_scipy(case: Case) -> Once:
    from scipy.ndimage import uniform_filter

    def once() -> Any:
        plane = np.load(case.inputs.plane, mmap_mode="r")
        out = new_file(case.out / "mean.npy", plane)
        uniform_filter(plane, 3, output=out)
        return out

    return once


@row.peer("dask-image", "dask_image", env=SINGLE)
def dask_image(case: Case) -> Once:
    from dask_image.ndfilters import uniform_filter

    on_threads(case)
    return lambda: stored(uniform_filter(dask_file(case.inputs.plane, case.size.chunk), 3), case)


@row.peer("map_overlap + OpenCV", "cv2", env=SINGLE)
def map_overlap(case: Case) -> Once:
    import cv2

    on_threads(case)

    def blur(block: Any) -> Any:
        return cv2.blur(block, (3, 3), borderType=cv2.BORDER_REFLECT)

    def once() -> Any:
        plane = dask_file(case.inputs.plane, case.size.chunk)
        return stored(plane.map_overlap(blur, depth=1, boundary="reflect", dtype=plane.dtype), case)

    return once


@row.limit(BY_HAND, "cv2", env=SINGLE)
def slabs(case: Case) -> Once:
    """Slabs of rows with a row more on either side, a thread for each core."""
    import cv2

    one_thread_each(case)
    threads = pool(case)

    def once() -> Any:
        plane = np.load(case.inputs.plane, mmap_mode="r")
        out = new_file(case.out / "mean.npy", plane)

        def one(span: tuple[int, int]) -> None:
            first, last = span
            above = max(first - 1, 0)
            slab = cv2.blur(plane[above : last + 1], (3, 3), borderType=cv2.BORDER_REFLECT)
            out[first:last] = slab[first - above : last - above]

        list(threads.map(one, pieces(case.size.side, 64)))
        return out

    return once


@row.limit("memory copy", tolerance=float("inf"))
def copy(case: Case) -> Once:
    """The file's bytes to another, a thread for each core."""
    threads = pool(case)

    def once() -> Any:
        plane = np.load(case.inputs.plane, mmap_mode="r")
        out = new_file(case.out / "mean.npy", plane)

        def one(span: tuple[int, int]) -> None:
            out[slice(*span)] = plane[slice(*span)]

        list(threads.map(one, pieces(case.size.side, 64)))
        return out

    return once

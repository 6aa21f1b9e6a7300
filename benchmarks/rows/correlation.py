"""Correlation with a small and with a large kernel."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

from benchmarks import data
from benchmarks.declare import SINGLE, Case, Once, Reach, Row
from benchmarks.ours import by_hpcflow
from benchmarks.rows._peers import dask_file, new_file, on_threads, stored

DASK = "dask-image"
FFT = "scipy.signal.fftconvolve"


def weights(width: int) -> Any:
    """A kernel that is symmetric along no axis."""
    return np.random.default_rng(width).random((width, width)).round(4)


def flow(case: Case) -> dict[str, Any]:
    kernel = weights(case.size.width).tolist()
    return {
        "flow": "correlation",
        "sources": {"plane": {"from": "npy", "path": case.inputs.plane}},
        "steps": {"made": {"op": "correlate", "of": "plane", "weights": kernel}},
        "sinks": {"made": {"to": "npy", "of": "made", "path": case.out / "out.npy"}},
    }


def scale(size: SimpleNamespace) -> float:
    """The corner's share of the whole."""
    return float((size.side / size.corner) ** 2)


def corner(case: Case) -> int:
    """How much of the plane a corner's result depends on."""
    size = case.size
    return int(size.corner + size.width // 2) if size.corner < size.side else int(size.side)


def scipy(case: Case) -> Once:
    from scipy.ndimage import correlate

    kernel, keep = weights(case.size.width), case.size.corner

    def once() -> Any:
        plane = np.load(case.inputs.plane, mmap_mode="r")[: corner(case), : corner(case)]
        out = new_file(case.out / "out.npy", plane)
        correlate(plane, kernel, output=out)
        return out[:keep, :keep]

    return once


def dask_image(case: Case) -> Once:
    from dask_image.ndfilters import correlate

    on_threads(case)
    kernel, keep = weights(case.size.width), case.size.corner

    def once() -> Any:
        plane = dask_file(case.inputs.plane, case.size.chunk)[: corner(case), : corner(case)]
        plane = plane.rechunk(case.size.chunk if keep == case.size.side else -(-corner(case) // case.cores))
        return stored(correlate(plane, kernel), case)[:keep, :keep]

    return once


def fftconvolve(case: Case) -> Once:
    """The whole plane, padded to SciPy's `reflect`, with a transform on every core."""
    from scipy.fft import set_workers
    from scipy.signal import fftconvolve as convolve

    reach = case.size.width // 2
    turned = np.ascontiguousarray(weights(case.size.width)[::-1, ::-1], np.float32)

    def once() -> Any:
        plane = np.load(case.inputs.plane, mmap_mode="r")
        out = new_file(case.out / "out.npy", plane)
        with set_workers(case.cores):
            out[:] = convolve(np.pad(plane, reach, mode="symmetric"), turned, mode="valid")
        return out

    return once


def opencv(case: Case) -> Once:
    """`filter2D` on all cores; with a large kernel it takes a Fourier transform, too."""
    import cv2

    kernel = weights(case.size.width)
    cv2.setNumThreads(case.cores)

    def once() -> Any:
        plane = np.load(case.inputs.plane, mmap_mode="r")
        out = new_file(case.out / "out.npy", plane)
        cv2.filter2D(plane, cv2.CV_32F, kernel, dst=out, borderType=cv2.BORDER_REFLECT)
        return out

    return once


def made(width: int, corners: tuple[int, int, int], reference: str) -> Row:
    """The row for kernels of this width."""
    full, quick, toy = corners
    row = Row(
        name=f"correlation{width}",
        title=f"Correlation, {width} × {width}",
        about="{side}² float32 with a kernel of {width}², `.npy` → `.npy`",
        sizes={
            "full": {"side": 8192, "chunk": 1024, "corner": full, "width": width, "written": 4 * 8192**2},
            "quick": {"side": 3072, "chunk": 768, "corner": quick, "width": width, "written": 4 * 3072**2},
            "toy": {"side": 150, "chunk": 75, "corner": toy, "width": width},
        },
        inputs=lambda size: {"plane": data.npy((size.side, size.side))},
        reference=reference,
        reaches=(Reach(5, DASK),),
        tolerance=2e-6,
    )
    by_hpcflow(row, flow, lambda case: np.load(case.out / "out.npy", mmap_mode="r"))
    row.peer("SciPy", "scipy", scale=scale)(scipy)
    row.peer(DASK, "dask_image", env=SINGLE, scale=scale)(dask_image)
    row.peer(FFT, "scipy")(fftconvolve)
    row.limit("OpenCV by hand", "cv2", tolerance=1e-4)(opencv)
    return row


# SciPy needs minutes for a large kernel: those who use it do a corner.
ROWS = (made(3, (8192, 3072, 150), "SciPy"), made(65, (512, 256, 100), FFT))

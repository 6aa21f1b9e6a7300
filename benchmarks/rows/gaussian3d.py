"""Smooth a volume, from Zarr to Zarr."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np

from benchmarks import data
from benchmarks.declare import SINGLE, Case, Once, Reach, Row
from benchmarks.ours import by_hpcflow
from benchmarks.rows._peers import on_threads, one_thread_each, pieces, pool

DASK, CODECS = "dask-image + to_zarr", "codecs alone"
SIGMA, RADIUS = 2, 8

row = Row(
    name="gaussian3d",
    title="3-D gaussian, σ = 2",
    about="{side}³ uint16, Zarr → Zarr in chunks of {chunk}³, Blosc LZ4 with bitshuffle",
    sizes={
        "full": {"side": 768, "chunk": 128, "written": 2 * 768**3},
        "quick": {"side": 256, "chunk": 64, "written": 2 * 256**3},
        "toy": {"side": 40, "chunk": 16},
    },
    inputs=lambda size: {"volume": data.zarr((size.side,) * 3, (size.chunk,) * 3, "uint16")},
    reference=DASK,
    reaches=(Reach(3, DASK), Reach(3, "Cubed"), Reach(0.85, CODECS)),
    tolerance=3e-4,  # one grey level
    share=1.5,
)
ROWS = (row,)


def flow(case: Case) -> dict[str, Any]:
    chunks = [case.size.chunk] * 3
    return {
        "flow": "gaussian3d",
        "sources": {"volume": {"from": "zarr", "path": case.inputs.volume}},
        "steps": {"smooth": {"op": "gaussian", "of": "volume", "sigma": SIGMA}},
        "sinks": {"smooth": {"to": "zarr", "of": "smooth", "path": case.out / "smooth.zarr", "chunks": chunks}},
    }


def result(case: Case) -> Any:
    import zarr

    return zarr.open_array(case.out / "smooth.zarr", mode="r")


by_hpcflow(row, flow, result)


def created(case: Case) -> Any:
    """The Zarr array for the result."""
    import zarr

    return zarr.create_array(
        case.out / "smooth.zarr",
        shape=(case.size.side,) * 3,
        chunks=(case.size.chunk,) * 3,
        dtype="uint16",
        compressors=data.blosc(),
    )


@row.peer(DASK, "dask_image", env=SINGLE)
def dask_image(case: Case) -> Once:
    import dask.array as da
    from dask_image.ndfilters import gaussian_filter

    on_threads(case)

    def once() -> Any:
        smooth = gaussian_filter(da.from_zarr(case.inputs.volume), SIGMA)
        da.to_zarr(smooth, created(case))
        return result(case)

    return once


@row.peer("Cubed", "cubed", env=SINGLE)
def cubed(case: Case) -> Once:
    import cubed as cb
    from scipy.ndimage import gaussian_filter

    one_thread_each(case)

    last = -(-case.size.side // case.size.chunk) - 1

    def smooth(block: Any, block_id: Any) -> Any:
        # At the volume's ends there is no halo, and the filter's own boundary is right.
        inside = (slice(RADIUS if i else None, -RADIUS if i < last else None) for i in block_id)
        return gaussian_filter(block, SIGMA)[tuple(inside)]

    def once() -> Any:
        spec = cb.Spec(
            case.out / "work",
            allowed_mem="4GB",
            executor_name="threads",
            executor_options={"max_workers": case.cores},
        )
        volume = cb.from_zarr(case.inputs.volume, spec=spec)
        how = {"dtype": volume.dtype, "chunks": volume.chunks, "depth": RADIUS, "boundary": "none"}
        made = cb.map_overlap(smooth, volume, **how)
        cb.to_zarr(made, str(case.out / "smooth.zarr"))
        return result(case)

    return once


@row.limit(CODECS, tolerance=float("inf"))
def codecs(case: Case) -> Once:
    """Every chunk decoded and a smooth one encoded, a thread for each core."""
    import zarr
    from scipy.ndimage import gaussian_filter

    threads = pool(case)
    volume = zarr.open_array(case.inputs.volume, mode="r")
    # What is smooth is smaller when encoded: a chunk of the result stands for all.
    smooth = gaussian_filter(volume[(slice(case.size.chunk),) * 3], SIGMA)

    def once() -> Any:
        out = created(case)
        spans = [slice(*span) for span in pieces(case.size.side, case.size.chunk)]

        def one(region: tuple[slice, ...]) -> None:
            block = volume[region]
            out[region] = smooth[tuple(slice(n) for n in block.shape)]

        list(threads.map(one, product(spans, repeat=3)))
        return np.zeros((1, 1, 1), np.uint16)

    return once

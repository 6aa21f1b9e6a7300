"""Flows of every kind, to hold what a plan says of memory against what a run takes.

Run as a program it makes the table of `docs/memory.md`:  python tests/planning/memory_flows.py
"""

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import zarr

SIZES = {"small": 1 << 20, "medium": 64 << 20, "large": 512 << 20}
"""Bytes of each flow's input."""


@dataclass(frozen=True)
class Case:
    """A flow over an array of any size."""

    name: str
    steps: str
    sink: str
    source: str = "npy"
    ndim: int = 2
    chunks: tuple[int, ...] | None = None
    options: tuple[str, ...] = ()
    dtype: str = "float32"

    def shape(self, nbytes):
        """The shape whose array takes about so many bytes; planes of a stack are 512 or less."""
        items = nbytes // np.dtype(self.dtype).itemsize
        if self.ndim == 1:
            return (items,)
        if self.ndim == 2:
            side = int(items**0.5)
            return (side, side)
        side = min(512, int(items ** (1 / 3)))
        return (items // side**2, side, side)


NPY = "{to: npy, of: y, path: out.npy}"
JSON = "{to: json, of: y, path: out.json}"


def zarr_sink(chunks, more=""):
    return f"{{to: zarr, of: y, path: out.zarr, chunks: {list(chunks)}{more}}}"


CASES = [
    Case("copy by expr", "y: {op: expr, expr: x + 1}", NPY),
    Case("long formula", "y: {op: expr, expr: 'sqrt(x) + x**2 * sin(x) - exp(-x)'}", NPY),
    Case("sum", "y: {op: sum, of: x}", JSON),
    Case("std along y", "y: {op: std, of: x, axis: 0}", "{to: csv, of: y, path: out.csv}"),
    Case("mean of a stack", "y: {op: mean, of: x, axis: 0}", NPY, ndim=3),
    Case("histogram", "y: {op: histogram, of: x, bins: 256, range: [0, 1]}", JSON),
    Case("uniform", "y: {op: uniform, of: x, size: 3}", NPY),
    Case("gaussian to zarr", "y: {op: gaussian, of: x, sigma: 1}", "{to: zarr, of: y, path: out.zarr}"),
    Case("zarr to zarr", "y: {op: uniform, of: x}", zarr_sink((1024, 1024)), source="zarr", chunks=(1024, 1024)),
    Case("small chunks", "y: {op: expr, expr: x * 2}", zarr_sink((256, 256)), source="zarr", chunks=(256, 256)),
    Case("large chunks", "y: {op: expr, expr: x * 2}", zarr_sink((4096, 4096)), source="zarr", chunks=(2048, 2048)),
    Case(
        "shards",
        "y: {op: expr, expr: x * 2}",
        zarr_sink((512, 512), ", shards: [2048, 2048]"),
        source="zarr",
        chunks=(1024, 1024),
    ),
    Case("slabs", "y: {op: gaussian, of: x, sigma: 1}", zarr_sink((16, 512, 512)), "zarr", 3, (16, 512, 512)),
    Case("transpose", "y: {op: transpose, of: x}", NPY),
    Case("transpose to zarr", "y: {op: transpose, of: x}", zarr_sink((1024, 1024)), source="zarr", chunks=(512, 2048)),
    Case("softmax", "y: {op: softmax, of: x, axis: 1}", NPY),
    Case("softmax of columns", "y: {op: softmax, of: x, axis: 0}", NPY),
    Case("median of a stack", "y: {op: maximum, of: x, size: 3}", zarr_sink((16, 256, 256)), ndim=3),
    Case("rechunk", "y: {op: clip, of: x, min: 0}", zarr_sink((10**6, 32, 32)), "zarr", 3, (1, 512, 512)),
    Case("centred", "m: {op: mean, of: x, axis: 0}\n  y: {op: expr, expr: x - m}", NPY, ndim=3),
    Case("whole numbers", "y: {op: astype, of: x, dtype: float64}", NPY, dtype="uint16"),
    Case("threads", "y: {op: uniform, of: x}", NPY, options=("--cluster", "threads")),
    Case("threads, zarr", "y: {op: uniform, of: x}", zarr_sink((1024, 1024)), options=("--cluster", "threads")),
    Case("synchronous", "y: {op: sobel, of: x, axis: 1}", NPY, options=("--cluster", "synchronous")),
    Case(
        "two workers", "y: {op: uniform, of: x}", zarr_sink((1024, 1024)), options=("--workers", "2", "--threads", "1")
    ),
    Case("picture", "y: {op: expr, expr: x + 1}", "{to: png, of: y, path: out.png}"),
    Case("contact sheet", "y: {op: expr, expr: x + 1}", "{to: png, of: y, path: out.png, limit: 400}", ndim=3),
    Case("table", "y: {op: expr, expr: x + 1}", "{to: parquet, of: y, path: out.parquet}", dtype="uint16"),
    Case("table of text", "y: {op: mean, of: x, axis: 0}", "{to: csv, of: y, path: out.csv}", ndim=3),
    Case("numbers", "y: {op: isel, of: x, indexers: {0: [0, 60]}}", JSON),
    Case("netcdf", "y: {op: uniform, of: x}", NPY, source="xarray", chunks=(512, 512)),
    Case("netcdf of planes", "y: {op: expr, expr: x * 2}", zarr_sink((4, 256, 256)), "xarray", 3, (4, 512, 512)),
    Case("netcdf in threads", "y: {op: sum, of: x}", JSON, "xarray", 2, (512, 512), ("--cluster", "threads")),
    Case("tight", "y: {op: uniform, of: x}", zarr_sink((512, 512)), options=("--memory", "400MiB")),
]


def made(case, folder, nbytes):
    """Make a case's input, a gradient with noise, and write its flow; the path of the flow."""
    shape = case.shape(nbytes)
    rows = np.random.default_rng(0).random(shape[1:]) if len(shape) > 1 else np.float64(0.5)
    high = 1000 if case.dtype == "uint16" else 1
    if case.source == "npy":
        array = np.lib.format.open_memmap(folder / "x.npy", "w+", case.dtype, shape)
        step = 64
    elif case.source == "xarray":
        import h5netcdf  # noqa: PLC0415  (only for these)

        file = h5netcdf.File(folder / "x.xarray", "w")
        names = tuple("zyx"[-len(shape) :])
        file.dimensions = dict(zip(names, shape, strict=True))
        chunks = tuple(min(c, n) for c, n in zip(case.chunks, shape, strict=True))
        array = file.create_variable("v", names, "int16", fillvalue=-1, chunks=chunks, compression="gzip")
        array.attrs["scale_factor"], high, step = np.float32(0.01), 1000, 64
    else:
        chunks = tuple(min(c, n) for c, n in zip(case.chunks, shape, strict=True))
        array = zarr.create_array(folder / "x.zarr", shape=shape, dtype=case.dtype, chunks=chunks)
        step = chunks[0]
    for start in range(0, shape[0], step):
        stop = min(start + step, shape[0])
        array[start:stop] = (np.broadcast_to(rows, (stop - start, *shape[1:])) * high).astype(array.dtype)
    if case.source == "xarray":
        file.close()
    del array
    path, more = folder / "flow.yaml", ", variable: v" if case.source == "xarray" else ""
    path.write_text(
        f"flow: memory\nsources:\n  x: {{from: {case.source}, path: x.{case.source}{more}}}\n"
        f"steps:\n  {case.steps}\nsinks:\n  out: {case.sink}\n"
    )
    return path


def measured(case, nbytes, folder):
    """Run a case in processes of its own; its report's figures for memory."""
    flow = made(case, folder, nbytes)
    command = [sys.executable, "-m", "hpcflow", "run", flow.name, "--json", "--quiet", "--threads", "2", *case.options]
    if "synchronous" in case.options or "--threads" in case.options:
        command = [one for i, one in enumerate(command) if not (one in ("--threads", "2") and i < 9)]
    ran = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=600, check=False)
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout)["memory"]


def main():
    """Print the table; `HPCFLOW_CASES` and `HPCFLOW_SIZES` choose."""
    chosen = os.environ.get("HPCFLOW_CASES", "").split(",")
    sizes = os.environ.get("HPCFLOW_SIZES", ",".join(SIZES)).split(",")
    for case in CASES:
        if not any(one in case.name for one in chosen):
            continue
        for size in sizes:
            with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as folder:
                memory = measured(case, SIZES[size], Path(folder))
            projected, peak = memory["projected_peak"] / 2**20, memory["measured_peak"] / 2**20
            sign = "" if peak <= projected <= 1.5 * peak else " !"
            parts = " ".join(f"{key}={value >> 20}" for key, value in memory.items() if key != "budget")
            print(
                f"| {case.name} | {size} | {projected:.0f} | {peak:.0f} | {projected / peak:.2f}{sign} | {parts}",
                flush=True,
            )


if __name__ == "__main__":
    main()

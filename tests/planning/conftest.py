"""Flows over arrays that exist only as headers and holes: planning reads no more."""

from pathlib import Path

import numpy as np
import pytest
import zarr

from hpcflow.planning.plan import make_plan
from hpcflow.spec.validate import loads

MIB = 2**20


@pytest.fixture
def sparse(tmp_path):
    """Make a source of any size that takes no space: its line in a flow."""

    def make(shape, dtype="float32", chunks=None, shards=None, name="x"):
        if chunks is None:
            path = tmp_path / f"{name}.npy"
            with path.open("wb") as file:
                header = {"descr": np.dtype(dtype).str, "fortran_order": False, "shape": tuple(shape)}
                np.lib.format.write_array_header_1_0(file, header)
                file.truncate(file.tell() + int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize)
            return f"{{from: npy, path: {path}}}"
        path = tmp_path / f"{name}.zarr"
        zarr.create_array(path, shape=shape, dtype=dtype, chunks=chunks, shards=shards)
        return f"{{from: zarr, path: {path}}}"

    return make


@pytest.fixture
def planned(tmp_path):
    """Plan a flow given as text; `budget` is what tasks may take beyond the processes."""

    def plan(text, budget=2**40, workers=1, threads=2):
        flow = loads(text.replace("OUT", str(tmp_path)))
        return make_plan(
            flow, run_dir=Path(tmp_path, "run"), workers=workers, threads=threads, budget=budget, processes=False
        )

    return plan


@pytest.fixture
def flow():
    """The text of a flow with a source `x`, some steps and sinks."""

    def text(source, steps, sinks, more=""):
        parts = [f"flow: test\n{more}\nsources:\n  x: {source}"]
        parts += ["steps:", *(f"  {step}" for step in steps)] if steps else []
        return "\n".join([*parts, "sinks:", *(f"  {sink}" for sink in sinks)]) + "\n"

    return text

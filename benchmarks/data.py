"""The rows' inputs: made once, the same on every machine, kept in a folder that `make clean` removes."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil

FOLDER = Path(__file__).parents[1] / ".bench"
SLAB = 2**24
"""Elements made at a time."""
UNFINISHED = "hpcflow-bench-"
"""How the names of what a run removes or renames begin; its process follows."""


def made(name: str, make: Callable[[Path], None]) -> Path:
    """The file or folder of this name; made first where it is not there."""
    path = FOLDER / name
    if not path.exists():
        FOLDER.mkdir(exist_ok=True)
        part = FOLDER / f"{UNFINISHED}{os.getpid()}-{name}"
        make(part)
        part.rename(path)
    return path


def clear_left(folder: Path) -> None:
    """Remove what runs that were killed have left: parts of inputs, results."""
    for part in folder.glob(f"{UNFINISHED}*"):
        process = part.name.removeprefix(UNFINISHED).partition("-")[0]
        if process.isdecimal() and not psutil.pid_exists(int(process)):
            shutil.rmtree(part) if part.is_dir() else part.unlink()


def npy(shape: tuple[int, ...], dtype: str = "float32", seed: int = 0) -> Path:
    """A `.npy` file of numbers between 0 and 1."""

    def make(part: Path) -> None:
        array = np.lib.format.open_memmap(part, "w+", dtype=dtype, shape=shape)
        rng, rows = np.random.default_rng(seed), max(1, SLAB // int(np.prod(shape[1:])))
        for first in range(0, shape[0], rows):
            slab = array[first : first + rows]
            slab[:] = rng.random(slab.shape, np.float32)
        array.flush()

    return made(f"{'x'.join(map(str, shape))}-{dtype}-{seed}.npy", make)


def zarr(shape: tuple[int, ...], chunks: tuple[int, ...], dtype: str, *, codec: bool = True) -> Path:
    """A Zarr array as instruments give it: smooth structure and noise, so that it can be compressed some."""
    import zarr as store

    def make(part: Path) -> None:
        array = store.create_array(
            part, shape=shape, chunks=chunks, dtype=dtype, compressors=blosc() if codec else None, zarr_format=3
        )
        rng = np.random.default_rng(0)
        rows = -(-max(1, SLAB // int(np.prod(shape[1:]))) // chunks[0]) * chunks[0]
        for first in range(0, shape[0], rows):
            last = min(first + rows, shape[0])
            array[first:last] = _scene((last - first, *shape[1:]), first, dtype, rng)

    name = f"{'x'.join(map(str, shape))}-{'x'.join(map(str, chunks))}-{dtype}{'' if codec else '-plain'}.zarr"
    return made(name, make)


def _scene(shape: tuple[int, ...], first: int, dtype: str, rng: np.random.Generator) -> Any:
    scene = rng.random(shape, np.float32)
    if np.dtype(dtype).kind == "f":
        return scene
    scene *= 200
    for axis, length in enumerate(shape):
        along = np.arange(length) + (first if axis == 0 else 0)
        wave = 2000 + 1500 * np.sin(along / 40)
        scene += wave.astype(np.float32).reshape([-1 if a == axis else 1 for a in range(len(shape))])
    return scene.astype(dtype)


def blosc() -> Any:
    """The codec for all arrays that are stored: hpcflow's own choice, given to the peers too."""
    from zarr.codecs import BloscCodec

    return BloscCodec(cname="lz4", clevel=5, shuffle="bitshuffle")

"""What several rows' peers share."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.format import open_memmap

from benchmarks.declare import Case


class File:
    """A `.npy` file for `dask.array.from_array`, which would copy a memory map into memory whole."""

    def __init__(self, path: str) -> None:
        self.path = path
        array = np.load(path, mmap_mode="r")
        self.shape, self.dtype, self.ndim = array.shape, array.dtype, array.ndim

    def __getitem__(self, region: Any) -> Any:
        return np.load(self.path, mmap_mode="r")[region]


def dask_file(path: str, chunks: Any) -> Any:
    """A lazy Dask array over a `.npy` file, unnamed: a name would be a hash of all of it."""
    import dask.array as da

    return da.from_array(File(path), chunks=chunks, name=False)


def on_threads(case: Case) -> None:
    """Dask's threaded scheduler, a thread for each core, one thread in each library."""
    import dask

    case.stack.enter_context(dask.config.set(scheduler="threads", num_workers=case.cores))
    one_thread_each(case)


def one_thread_each(case: Case) -> None:
    """Keep BLAS, OpenMP and OpenCV to the thread that calls them."""
    from threadpoolctl import threadpool_limits

    case.stack.enter_context(threadpool_limits(1))
    try:
        import cv2
    except ImportError:
        return
    cv2.setNumThreads(0)


def new_file(path: Path, like: Any, dtype: Any = None) -> Any:
    """An empty `.npy` file of the same shape."""
    return open_memmap(path, "w+", dtype=dtype or like.dtype, shape=like.shape)


def stored(array: Any, case: Case) -> Any:
    """A Dask array, written to a `.npy` file block by block."""
    import dask.array as da

    out = new_file(case.out / "out.npy", array)
    da.store(array, out, lock=False)
    return out


def pool(case: Case) -> ThreadPoolExecutor:
    """A thread for each core."""
    return case.stack.enter_context(ThreadPoolExecutor(case.cores))


def pieces(length: int, step: int) -> list[tuple[int, int]]:
    """Consecutive ranges."""
    return [(first, min(first + step, length)) for first in range(0, length, step)]

"""Keeps the threads of a process to the number it was given, and its memory warm.

Every task is one thread of Python and may call libraries that start a pool of their own: BLAS,
OpenMP, OpenCV, Numba, torch. Together they would run cores² threads. Environment variables miss
some of these pools and all libraries that are loaded already; some caps hold for the calling
thread alone. So the caps are set by calls, in each thread that computes, again whenever one of
the libraries has been loaded since.
"""

from __future__ import annotations

import ctypes
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from typing import Any

# Importing one of these brings a thread pool into the process.
WATCHED = ("numpy", "scipy.linalg", "scipy.special", "torch", "numba", "cv2", "sklearn")
CAPPED = {
    "torch": ("get_num_threads", "set_num_threads"),
    "numba": ("get_num_threads", "set_num_threads"),
    "cv2": ("getNumThreads", "setNumThreads"),
}
# A worker process gets these before it imports anything: a first task is then capped as well.
ENVIRONMENT = dict.fromkeys(
    (
        "BLIS_NUM_THREADS",
        "MKL_NUM_THREADS",
        "NUMBA_NUM_THREADS",
        "NUMEXPR_NUM_THREADS",
        "OMP_NUM_THREADS",
        "OPENBLAS_NUM_THREADS",
        "OPENCV_FOR_THREADS_NUM",
        "VECLIB_MAXIMUM_THREADS",
    ),
    "1",
)
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3

_thread = threading.local()
_lock = threading.Lock()
_before: dict[str, tuple[Callable[[int], Any], int]] = {}
_generation = 0
_threads = 1
_users = 0


def environment(threads: int) -> dict[str, str]:
    """The variables of a worker process that will run this many tasks at once."""
    return ENVIRONMENT | {"ZARR_THREADING__MAX_WORKERS": str(threads)}


def capped(function: Callable[..., Any], *args: Any) -> Any:
    """Call the function with every library's pool held to the calling thread."""
    cap()
    return function(*args)


def cap() -> None:
    """Hold every library loaded so far to the calling thread."""
    state = (_generation, *(name in sys.modules for name in WATCHED))
    if getattr(_thread, "state", None) == state:
        return
    from threadpoolctl import ThreadpoolController  # noqa: PLC0415  (keeps `--help` quick)

    with _lock:
        for name, (getter, setter) in CAPPED.items():
            if name in sys.modules:
                # Another thread may still be importing it: this waits for that.
                module = import_module(name)
                _set(name, getattr(module, getter)(), getattr(module, setter))
        # After them: what Numba has of OpenMP is loaded when it is asked for its threads.
        for library in ThreadpoolController().lib_controllers:
            _set(library.filepath, library.num_threads, partial(_set_library, library))
    _thread.state = state


def _set_library(library: Any, number: int) -> None:
    # OpenBLAS has one pool for the process, which threadpoolctl lets one thread alone set, the
    # first that did. All that we set is the same number, under a lock.
    clear = getattr(library, "clear_controlling_thread", None)
    if clear is not None:
        clear(force=True)
    library.set_num_threads(number)
    if clear is not None:
        clear(force=True)


def _set(name: str, number: int, setter: Callable[[int], Any]) -> None:
    _before.setdefault(name, (setter, number))
    if number != 1:
        setter(1)


@contextmanager
def settled(threads: int) -> Iterator[None]:
    """Settle this process for a while; the last to leave gives every pool its threads back."""
    global _generation, _users  # noqa: PLW0603
    settle(threads)
    with _lock:
        _users += 1
    try:
        yield
    finally:
        with _lock:
            _users -= 1
            if _users == 0:
                # Threads that live on see by this that their caps are gone.
                _generation += 1
                # The last first: torch, for one, sets OpenMP's threads as well.
                for setter, number in reversed(_before.values()):
                    setter(number)
                _before.clear()


def threads_here() -> int:
    """How many tasks this process runs at once: what one that is alone may use."""
    return _threads


def settle(threads: int) -> None:
    """Prepare a process that will run this many tasks at once."""
    global _threads  # noqa: PLW0603  (one number for the process)
    _threads = threads
    keep_memory()
    # Zarr decodes in a pool of its own, on which the tasks wait.
    os.environ["ZARR_THREADING__MAX_WORKERS"] = str(threads)
    if "zarr" in sys.modules:
        import_module("zarr").config.set({"threading.max_workers": threads})


def keep_memory() -> None:
    """Let malloc keep what a tile frees for the next one.

    Each temporary of a few MB otherwise goes back to the system and is faulted in again page by
    page, which makes a chain of NumPy calls ten times slower. Dask's own setting for its workers
    (MALLOC_TRIM_THRESHOLD_) asks for just that. Larger blocks still go back at once.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return  # not glibc
    mallopt(M_MMAP_THRESHOLD, 32 << 20)
    mallopt(M_TRIM_THRESHOLD, 64 << 20)

"""NumPy or CuPy: which namespace a block lives in, and the libraries that go with it."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import ModuleType
from typing import Any

Array = Any
"""A NumPy or CuPy array."""
Namespace = ModuleType
"""`numpy` or `cupy`; ops get it as `xp` and never choose it."""
_device = "cpu"


def choose(device: str) -> None:
    """Say what the blocks of this process are computed on, ``"cpu"`` or ``"cuda"``; a cluster does, as it starts."""
    global _device  # noqa: PLW0603  (one device for the process)
    _device = device


def chosen() -> str:
    """What the blocks of this process are computed on: ``"cpu"`` or ``"cuda"``."""
    return _device


@contextmanager
def computing_on(device: str) -> Iterator[None]:
    """Choose a device for a while."""
    before = chosen()
    choose(device)
    try:
        yield
    finally:
        choose(before)


def companion(xp: Namespace, name: str) -> ModuleType:
    """The part of SciPy that goes with a namespace.

    Parameters
    ----------
    xp : module
        `numpy` or `cupy`.
    name : str
        Dotted name below SciPy: ``"ndimage"``, ``"fft"``, ``"signal"``.
    """
    root = "cupyx.scipy" if xp.__name__.startswith("cupy") else "scipy"
    return importlib.import_module(f"{root}.{name}")


def host(array: Array) -> Array:
    """The array in host memory: itself, or copied from its device."""
    return array.get() if hasattr(array, "get") else array


def release() -> None:
    """Give a device's memory that is free, and kept for later, back to whoever needs it."""
    if (cupy := sys.modules.get("cupy")) is not None:
        cupy.get_default_memory_pool().free_all_blocks()
    if (torch := sys.modules.get("torch")) is not None:
        torch.cuda.empty_cache()


def sample(shape: Sequence[int], dtype: Any) -> Array:
    """Ones of one element along each axis, to ask a function what dtype it gives."""
    numpy = importlib.import_module("numpy")
    return numpy.ones((1,) * len(shape), dtype)

"""A device beside the processor: its memory, its streams, and how arrays get there and back."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from math import prod
from typing import Any, Protocol

import numpy as np

from hpcflow.errors import MissingPackage
from hpcflow.namespace import Array, Namespace, chosen, release
from hpcflow.planning.device import AT_ONCE


class Device(Protocol):
    """What a block needs of the place where it is computed."""

    @property
    def xp(self) -> Namespace:
        """The namespace that ops compute in there."""

    def staged(self, array: Array) -> Array:
        """A copy of a host array in host memory that the device copies from by itself."""

    def put(self, staged: Array) -> Array:
        """A staged array on the device; its memory is let go when the turn ends."""

    def get(self, array: Array) -> Array:
        """An array of the device in host memory, all of it there."""

    def turn(self) -> Any:
        """A context in which one block is on the device: few are at once, so that they fit."""

    def clear(self) -> None:
        """Give back what is kept of memory that is free."""


class Host:
    """The processor itself, for what was planned for a device and runs without one."""

    xp: Namespace = np

    def staged(self, array: Array) -> Array:
        """The array."""
        return array

    put = get = staged

    @contextmanager
    def turn(self) -> Iterator[None]:
        """At once."""
        yield

    def clear(self) -> None:
        """Nothing is kept."""


class Cuda:
    """The CUDA device that CuPy sees first: the worker's own.

    Blocks of several threads are on it at once, each on its thread's stream, so that the copies
    of one run beside what another computes. Copies go through page-locked host memory: from any
    other the driver copies in pieces, and the thread waits for each.
    """

    def __init__(self, xp: Namespace, at_once: int = AT_ONCE) -> None:
        self.xp = xp
        self._turns = threading.BoundedSemaphore(at_once)
        self._thread = threading.local()

    def staged(self, array: Array) -> Array:
        """A copy in page-locked memory, in C order and the machine's byte order."""
        staged = self._locked(array.shape, array.dtype.newbyteorder("="))
        staged[...] = array
        return staged

    def _locked(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
        memory = self.xp.cuda.alloc_pinned_memory(max(prod(shape) * dtype.itemsize, 1))
        return np.ndarray(shape, dtype, buffer=memory)

    def put(self, staged: Array) -> Array:
        """Begin to copy a staged array; the stream orders what is computed of it."""
        array = self.xp.empty(staged.shape, staged.dtype)
        array.set(staged)
        # Its memory must not be used again before the copy is done.
        self._thread.kept.append(staged)
        return array

    def get(self, array: Array) -> Array:
        """Wait for what is computed, and copy it; an array that is in host memory stays as it is."""
        if not hasattr(array, "get"):
            return array
        result = self._locked(array.shape, array.dtype)
        self.xp.ascontiguousarray(array).get(out=result)
        return result

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Wait until few enough blocks are on the device, and compute on the thread's stream."""
        with self._turns:
            if not hasattr(self._thread, "stream"):
                self._thread.stream, self._thread.kept = self.xp.cuda.Stream(non_blocking=True), []
            stream = self._thread.stream
            with stream:
                try:
                    yield
                finally:
                    stream.synchronize()
                    self._thread.kept.clear()

    def clear(self) -> None:
        """Give CuPy's and torch's free blocks back to the device: each keeps its own."""
        self.xp.get_default_memory_pool().free_all_blocks()
        release()


def _cuda() -> Device:
    try:
        return Cuda(import_module("cupy"))
    except ImportError as error:
        raise MissingPackage(
            f"a GPU needs the package `cupy`, which cannot be imported ({error}): `pip install 'hpcflow[cuda]'`"
        ) from error


KINDS: dict[str, Callable[[], Device]] = {"cpu": Host, "cuda": _cuda}
_made: dict[str, Device] = {}
_making = threading.Lock()


def here() -> Device:
    """The device of this process."""
    kind = chosen()
    with _making:
        if kind not in _made:
            _made[kind] = KINDS[kind]()
        return _made[kind]

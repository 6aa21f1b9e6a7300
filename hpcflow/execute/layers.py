"""Chunks that were decoded for one block, kept in the process for the next one.

`planning/sharing.py` says which these are: layers of chunks along the first axis.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Mapping
from concurrent.futures import Future

import numpy as np

from hpcflow.meta import Source
from hpcflow.namespace import Array
from hpcflow.planning.stages import Shared
from hpcflow.regions import Interval, Region, shape_of, slices, whole


class Layers:
    """The layers that the blocks of one stage share in one process: those used last.

    Parameters
    ----------
    shared : mapping of str to Shared
        By source.
    tasks : int
        How many blocks are under way at once.
    """

    def __init__(self, shared: Mapping[str, Shared], tasks: int) -> None:
        self._shared = shared
        self._most = {name: tasks * each.layers for name, each in shared.items()}
        # The one used last is last.
        self._held: dict[str, dict[int, Future[Array]]] = {name: {} for name in shared}
        self._lock = threading.Lock()

    def read(self, name: str, source: Source, region: Region) -> Array:
        """A region of a source: what other blocks share of it from layers, what lies between by itself."""
        assert source.chunks is not None
        depth, (extent, *others) = source.chunks[0], source.meta.shape
        out = np.empty(shape_of(region), source.meta.dtype)
        (first, stop), *rest = region
        numbers = range(first // depth, -(-stop // depth))
        ends = self._shared[name].layers
        for number in [*numbers[:ends], *numbers[max(ends, len(numbers) - ends) :]]:
            rows = number * depth, min((number + 1) * depth, extent)
            part = ((max(first, rows[0]), min(stop, rows[1])), *rest)
            out[slices(part, region)] = self._layer(name, source, rows)[slices(part, (rows, *whole(others)))]
        if between := numbers[ends:-ends]:
            part = ((between[0] * depth, (between[-1] + 1) * depth), *rest)
            out[slices(part, region)] = source.read(part)
        return out

    def _layer(self, name: str, source: Source, rows: Interval) -> Array:
        """One layer: decoded here, or by whoever was the first to ask for it."""
        held, number = self._held[name], rows[0]
        with self._lock:
            there = held.pop(number, None)
            # Before it is decoded, so that there are never more.
            while there is None and len(held) >= self._most[name]:
                del held[next(iter(held))]
            layer = held[number] = there or Future()
        if there is None:
            try:
                layer.set_result(source.read((rows, *whole(source.meta.shape[1:]))))
            except BaseException as error:  # noqa: BLE001  (all who wait for it must hear of it)
                with self._lock:
                    # It may be there when it is tried again.
                    held.pop(number, None)
                layer.set_exception(error)
        return layer.result()

    def clear(self) -> None:
        """Let go of all."""
        with self._lock:
            for held in self._held.values():
                held.clear()


_current: weakref.ref[Layers] | None = None


def turn_to(layers: Layers) -> None:
    """Begin or go on with the blocks of a stage: what another one has left is let go."""
    global _current  # noqa: PLW0603  (one stage at a time in a process)
    before = _current() if _current is not None else None
    if before is not None and before is not layers:
        before.clear()
    _current = weakref.ref(layers)

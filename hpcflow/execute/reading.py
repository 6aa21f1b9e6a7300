"""How a block gets at its sources, and the hash of what it read of each."""

from __future__ import annotations

import mmap
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial

import numpy as np
import xxhash

from hpcflow.digests import digest_json, update
from hpcflow.execute.layers import Layers
from hpcflow.meta import Bad, ItemSource, Source
from hpcflow.namespace import Array
from hpcflow.planning.stages import Stage
from hpcflow.program.evaluate import read_input
from hpcflow.program.program import Bounds
from hpcflow.regions import Region, inside, size_of, slices, tiles
from hpcflow.secrets import redact
from hpcflow.stopwatch import lap


class Reader:
    """Reads tiles of one block: directly, or from what was decoded once for the whole block.

    Parameters
    ----------
    stage : Stage
    bounds : Bounds
        Of the block.
    bad : list of Bad, optional
        Takes the items that can be set apart; without it a bad item is an error.
    layers : Layers, optional
        What is kept of the sources that the stage's blocks share.
    """

    def __init__(self, stage: Stage, bounds: Bounds, bad: list[Bad] | None, layers: Layers | None = None) -> None:
        self._stage = stage
        self._hashes = {
            name: xxhash.xxh3_128()
            for name, source in stage.sources.items()
            if name in bounds.regions and "path" in source.identity
        }
        self._decoded: dict[str, tuple[Region, Array]] = {}
        self._mapped: dict[str, _Pages] = {}
        self._blocks: dict[str, Region] = {}
        self.bytes_read = 0
        for name, source in stage.sources.items():
            if name not in bounds.regions:
                continue
            region, meta = bounds.regions[name], stage.program.metas[name]
            self.bytes_read += size_of(region) * meta.dtype.itemsize
            if source.chunks is not None:
                read: Callable[[Region], Array] = _by_item(name, source, stage, bad)
                if layers is not None and name in stage.shared:
                    read = partial(layers.read, name, source)
                array = read_input(name, partial(self._hashed, read), region, meta.shape)
                self._decoded[name] = region, array
                lap(name)
            elif hasattr(source, "maps") and inside(region, meta.shape):
                # Else its far side is read tile by tile, as any other part is.
                self._blocks[name] = region

    def __call__(self, name: str, region: Region) -> Array:
        """A region, inside the array, of one source."""
        source = self._stage.sources[name]
        if name in self._blocks and source.maps(region):  # type: ignore[attr-defined]
            block = self._blocks.pop(name)
            array = source.read(block)
            self._decoded[name], self._mapped[name] = (block, array), _Pages(array)
        if name not in self._decoded:
            return self._hashed(source.read, name, region)
        held, array = self._decoded[name]
        shape = self._stage.program.metas[name].shape
        # A block that was read beyond an end holds the far side one extent away.
        shift = [_turns(one, have, n) * n for one, have, n in zip(region, held, shape, strict=True)]
        part = array[slices(tuple((a + s, b + s) for (a, b), s in zip(region, shift, strict=True)), held)]
        if name in self._mapped:
            self._mapped[name].turn_to(part)
            # Nothing of it has been read yet: hashing brings it into the cache, where it is computed with.
            self._hash(name, part)
        return part

    def _hashed(self, read: Callable[[Region], Array], name: str, region: Region) -> Array:
        array = read(region)
        self._hash(name, array)
        return array

    def _hash(self, name: str, array: Array) -> None:
        if name in self._hashes:
            update(self._hashes[name], array)

    @property
    def digests(self) -> dict[str, str]:
        """The hash of what was read so far of each source; empty for one that is computed."""
        return {n: self._hashes[n].hexdigest() if n in self._hashes else "" for n in self._stage.sources}


class _Pages:
    """The pages of a mapped block: those of a tile are given back when the next one is taken.

    They would count as the process's memory until the block is done. What still looks at them
    finds them again: giving back is never wrong, only slow.
    """

    def __init__(self, block: Array) -> None:
        base = block
        while isinstance(base, np.ndarray):
            base = base.base
        self._map = base if isinstance(base, mmap.mmap) else None
        self._start = np.frombuffer(base, np.uint8, 1).ctypes.data if self._map else 0
        self._last = (0, 0)

    def turn_to(self, tile: Array) -> None:
        """Give back the pages of the tile before."""
        if self._map is None:
            return
        first, end = self._last
        if end > first:
            self._map.madvise(mmap.MADV_DONTNEED, first, end - first)
        low, high = np.lib.array_utils.byte_bounds(tile)
        self._last = (low - self._start) // mmap.PAGESIZE * mmap.PAGESIZE, high - self._start


def _by_item(name: str, source: Source, stage: Stage, bad: list[Bad] | None) -> Callable[[Region], Array]:
    if bad is None or name not in stage.quarantine or not isinstance(source, ItemSource):
        return source.read

    def read(region: Region) -> Array:
        array, found = source.read_items(region)
        bad.extend(replace(one, source=name, item=redact(one.item), reason=redact(one.reason)) for one in found)
        return array

    return read


def _turns(want: tuple[int, int], held: tuple[int, int], extent: int) -> int:
    """How many extents an interval must move to lie in what is held."""
    (start, stop), (low, high) = want, held
    if start < low:
        return -(-(low - start) // extent)
    return -(-(stop - high) // extent) * -1 if stop > high else 0


def state(stage: Stage, name: str, region: Region) -> str:
    """What tells, without reading it, that a source's part of a block is as it was."""
    return state_of(stage, name, stage.program.bounds(stage.wanted(region)).regions)


def state_of(stage: Stage, name: str, regions: Mapping[str, Region]) -> str:
    """The same of these regions, by node."""
    source = stage.sources[name]
    key: str | None = getattr(source, "key", None)
    if key is not None:
        return key
    seen: Callable[[Region], str] | None = getattr(source, "state", None)
    if seen is None:
        return digest_json(source.identity)
    needed = regions.get(name)
    if needed is None:
        return ""
    return seen(
        tuple((a, b) if a >= 0 and b <= n else (0, n) for (a, b), n in zip(needed, source.meta.shape, strict=True))
    )


def digests(stage: Stage, region: Region) -> dict[str, str]:
    """The hashes that evaluating a block would give, by reading alone."""
    reader = Reader(stage, stage.program.bounds(stage.wanted(region)), [])
    for tile in tiles(region, stage.tile) if stage.domain else [()]:
        for name, needed in stage.program.bounds(stage.wanted(tile)).regions.items():
            if name in stage.sources:
                read_input(name, reader, needed, stage.program.metas[name].shape)
    return reader.digests

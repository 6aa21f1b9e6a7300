"""One Zarr array in a folder: its metadata, and its chunks or shards as files written whole."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from pathlib import Path
from typing import Any, Literal

import numpy as np

from hpcflow.digests import digest, digest_file
from hpcflow.errors import Mismatch
from hpcflow.meta import Meta
from hpcflow.namespace import Array, host
from hpcflow.regions import Region, Shape, shape_of
from hpcflow.sinks._chunks import auto_chunks, divisor
from hpcflow.sinks._parts import store

Codec = Literal["auto", "lz4", "zstd", "gzip", "none"]


@dataclass(frozen=True)
class Layout:
    """What the metadata of a Zarr array of version 3 says."""

    meta: Meta
    chunks: Shape
    shards: Shape | None = None
    codec: Codec = "auto"

    @property
    def grain(self) -> Shape:
        """The shard, where there are shards: two writers in one would undo each other's work."""
        return self.shards or self.chunks

    def create(self, folder: str) -> None:
        """Write the metadata."""
        import zarr  # noqa: PLC0415  (half a second)

        zarr.create_array(Path(folder), **self._arguments())

    def _arguments(self) -> dict[str, Any]:
        return {
            "shape": self.meta.shape,
            "dtype": self.meta.dtype.newbyteorder("="),
            "chunks": self.chunks,
            "shards": self.shards,
            "compressors": _compressor(self.codec),
            "fill_value": 0,
            "dimension_names": self.meta.dims if any(self.meta.dims) else None,
            "zarr_format": 3,
        }

    def stands(self, folder: str) -> bool:
        """Whether an array with exactly this metadata is in a folder, whatever is said of it there."""
        import zarr  # noqa: PLC0415

        try:
            found = zarr.open_array(Path(folder), mode="r", zarr_format=3).metadata
            return bool(found.update_attributes({}) == _metadata(self).update_attributes({}))
        except (OSError, ValueError, KeyError, TypeError):
            return False

    def restore(self, folder: str) -> None:
        """Write the metadata as it was."""
        import zarr  # noqa: PLC0415

        content = _metadata(self).to_buffer_dict(zarr.core.buffer.default_buffer_prototype())["zarr.json"]
        store(folder, "zarr.json", memoryview(content.to_bytes()))

    def names(self, region: Region) -> list[str]:
        """The files of the chunks or shards that a region is made of, below the folder."""
        counts = [range(a // g, -(-b // g)) for (a, b), g in zip(region, self.grain, strict=True)]
        return ["/".join(["c", *map(str, index)]) for index in product(*counts)]

    def hashes(self, folder: str, region: Region) -> list[bytes]:
        """The hash of each of those files as it is now; raises `OSError` where one is missing."""
        return [digest_file(f"{folder}/{name}").encode() for name in self.names(region)]

    def write(self, folder: str, region: Region, array: Array) -> list[bytes]:
        """Encode and write a region of whole chunks or shards; the hash of each file, as `hashes` gives it."""
        assert array.shape == shape_of(region), f"expected a block of {shape_of(region)}, found {array.shape}"
        for (a, b), g, n in zip(region, self.grain, self.meta.shape, strict=True):
            # A part of a chunk would be a read, a change and a write, which two writers can interleave.
            assert a % g == 0 and (b % g == 0 or b == n), f"expected whole chunks of {self.grain}, found {region}"  # noqa: PT018
        found: dict[str, str] = {}
        opened = _writer(_metadata(self), folder, found)
        opened[tuple(slice(a, b) for a, b in region)] = np.asarray(host(array), self.meta.dtype)
        return [found[name].encode() for name in self.names(region)]


def numeric(meta: Meta) -> None:
    """Refuse what Zarr has no dtype for."""
    if meta.dtype.kind not in "biufc" or meta.dtype.char in "gG":  # Zarr has no long double
        raise Mismatch(
            f"expected numbers to write to Zarr, found {meta.dtype}",
            hint="write records to `parquet` or `csv`" if meta.dtype.names else "convert it with `op: astype`",
        )


def lengths(meta: Meta, given: Mapping[str, Any]) -> None:
    """Refuse parameters that have not one value for each axis."""
    for name, values in given.items():
        if values is not None and len(values) != meta.ndim:
            raise Mismatch(f"expected {meta.ndim} {name} for {meta}, found {len(values)}", parameter=name)


def chunked(meta: Meta, chunks: Shape | None, shards: Shape | None) -> Shape:
    """The chunks of an array, as given or chosen; no longer than a shard, or than the array.

    Raises
    ------
    Mismatch
        Where shards are not made of whole chunks.
    """
    extents = shards or tuple(max(1, n) for n in meta.shape)
    if chunks is None:
        pairs = zip(extents, auto_chunks(meta), strict=True)
        return tuple(divisor(n, side) if shards else side for n, side in pairs)
    if shards and any(s % c for s, c in zip(shards, chunks, strict=True)):
        raise Mismatch(f"expected shards of whole chunks {list(chunks)}, found {list(shards)}", parameter="shards")
    return tuple(min(c, n) for c, n in zip(chunks, extents, strict=True))


def together(hashes: list[bytes]) -> str:
    """The hash of a block, from those of its files."""
    return digest(hashes)


@lru_cache(maxsize=64)
def _metadata(layout: Layout) -> Any:
    """Zarr's metadata, made once in each process."""
    import zarr  # noqa: PLC0415

    return zarr.create_array(zarr.storage.MemoryStore(), **layout._arguments()).metadata  # noqa: SLF001


def _writer(metadata: Any, root: str, hashes: dict[str, str]) -> Any:
    """The array, with each chunk or shard going to its file; and the hash of that into `hashes`."""
    import zarr  # noqa: PLC0415

    # Zarr leaves out chunks of zeros, which could then not be told from chunks never written.
    place = zarr.storage.StorePath(_files()(root, hashes), "")
    return zarr.Array(zarr.AsyncArray(metadata, place, config={"write_empty_chunks": True}))


@lru_cache(maxsize=1)
def _files() -> Any:
    """The store that writes files of this run; made when Zarr is there."""
    from asyncio import to_thread  # noqa: PLC0415

    from zarr.storage import MemoryStore  # noqa: PLC0415

    class Files(MemoryStore):
        """What is written goes to files; nothing is ever there to be read, since chunks are written whole.

        Zarr's own store for folders makes every folder that it misses, also that of a run which
        another has long replaced.
        """

        def __init__(self, root: str, hashes: dict[str, str]) -> None:
            super().__init__()
            self.root = root
            self.hashes = hashes

        def set_sync(self, key: str, value: Any) -> None:
            content = memoryview(value.as_numpy_array()).cast("B")
            self.hashes[key] = digest([content])
            store(self.root, key, content)

        async def set(self, key: str, value: Any, byte_range: Any = None) -> None:
            assert byte_range is None
            await to_thread(self.set_sync, key, value)

    return Files


def _compressor(codec: Codec) -> Any:
    from zarr.codecs import BloscCodec, GzipCodec  # noqa: PLC0415

    if codec == "none":
        return None
    if codec == "gzip":
        return GzipCodec(level=5)
    # Sorting bits by their weight makes smooth numbers compressible to a codec as fast as LZ4.
    if codec == "zstd":
        return BloscCodec(cname="zstd", clevel=1, shuffle="bitshuffle")
    return BloscCodec(cname="lz4", clevel=5, shuffle="bitshuffle")

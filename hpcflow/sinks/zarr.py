"""Zarr arrays, written chunk by chunk or shard by shard."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import product
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np

from hpcflow.digests import digest, digest_file
from hpcflow.errors import Mismatch, RunError
from hpcflow.meta import Meta
from hpcflow.namespace import Array, host
from hpcflow.parameters import PositiveInt
from hpcflow.regions import Region, Shape, shape_of
from hpcflow.registry import sink
from hpcflow.sinks._chunks import auto_chunks, divisor
from hpcflow.sinks._parts import PARTIAL, leftovers, part_of, store, sync, sync_one

Codec = Literal["auto", "lz4", "zstd", "gzip", "none"]


@dataclass(frozen=True)
class ZarrTarget:
    """A Zarr array of version 3 in a folder.

    Until it is finished it stands under another name beside it, and what stood under the name
    before stays as it is.
    """

    path: str
    meta: Meta
    chunks: Shape
    shards: Shape | None = None
    codec: Codec = "auto"
    key: str = field(default="", compare=False)
    run: str = field(default="", compare=False)

    def owned(self, key: str, run: str) -> Self:
        """The same folder, written by one run, from a stage with this key."""
        return replace(self, key=key, run=run)

    @property
    def part(self) -> str:
        """Where it stands until it is finished."""
        return part_of(self.path, self.key, self.run)

    @property
    def grain(self) -> Shape:
        """The shard, where there are shards: two writers in one would undo each other's work."""
        return self.shards or self.chunks

    def create(self) -> None:
        """Write the metadata, in place of whatever an earlier run left unfinished."""
        import zarr  # noqa: PLC0415  (half a second)

        _restore(self.path)
        _replaceable(Path(self.path))
        part = Path(self.part)
        for left in leftovers(self.path):
            _remove(left)
        part.parent.mkdir(parents=True, exist_ok=True)
        zarr.create_array(self.part, **self._layout())

    def _layout(self) -> dict[str, Any]:
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

    def adopt(self) -> bool:
        """Take over what a run cut short left; whether an array like this one is there now."""
        import zarr  # noqa: PLC0415

        _restore(self.path)
        for left in leftovers(self.path, self.key) if self.key else []:
            if str(left) != self.part:
                left.rename(self.part)
        wanted = zarr.create_array(zarr.storage.MemoryStore(), **self._layout()).metadata
        try:
            return bool(zarr.open_array(self._there(), mode="r", zarr_format=3).metadata == wanted)
        except (OSError, ValueError, KeyError, TypeError):
            return False

    def _there(self) -> str:
        return self.part if Path(self.part).is_dir() else self.path

    def reopen(self) -> None:
        """Take the finished folder's name away, so that it is whole or not there."""
        if not Path(self.part).is_dir():
            Path(self.path).rename(self.part)

    def digest(self, region: Region) -> str:
        """The hash of the files of one block's chunks or shards."""
        there = self._there()
        return digest(digest_file(f"{there}/{name}").encode() for name in self._names(region))

    def _names(self, region: Region) -> list[str]:
        """The files of one block's chunks or shards, below the folder."""
        counts = [range(a // g, -(-b // g)) for (a, b), g in zip(region, self.grain, strict=True)]
        return ["/".join(["c", *map(str, index)]) for index in product(*counts)]

    def write(self, region: Region, array: Array) -> str:
        """Encode and write one block of whole chunks or shards."""
        assert array.shape == shape_of(region), f"expected a block of {shape_of(region)}, found {array.shape}"
        for (a, b), g, n in zip(region, self.grain, self.meta.shape, strict=True):
            # A part of a chunk would be a read, a change and a write, which two writers can interleave.
            assert a % g == 0 and (b % g == 0 or b == n), f"expected whole chunks of {self.grain}, found {region}"  # noqa: PT018
        hashes: dict[str, str] = {}
        opened = _writer(_cached(self), self.part, hashes)
        opened[tuple(slice(a, b) for a, b in region)] = np.asarray(host(array), self.meta.dtype)
        return digest(hashes[name].encode() for name in self._names(region))

    def finish(self) -> None:
        """Make sure that every chunk is on the disk, then give the folder its name."""
        if not Path(self.part).is_dir():
            return  # an earlier run has published it
        # Under this name no process of this run, or of any other, writes into it any more.
        done = Path(self.part + "-done") if self.key else Path(self.part)
        Path(self.part).rename(done)
        sync(str(done))
        final = Path(self.path)
        _replaceable(final)
        old = Path(self.path + _OLD)
        if final.exists():
            final.rename(old)
        done.rename(final)
        sync_one(str(final.parent))
        _remove(old)
        for left in leftovers(self.path):
            _remove(left)

    def documents(self) -> dict[str, str]:
        """The hash of what no block holds: the metadata."""
        return {"zarr.json": digest_file(f"{self.path}/zarr.json")}

    def restore(self) -> None:
        """Write the metadata as it was."""
        import zarr  # noqa: PLC0415

        made = zarr.create_array(zarr.storage.MemoryStore(), **self._layout()).metadata
        content = made.to_buffer_dict(zarr.core.buffer.default_buffer_prototype())["zarr.json"]
        store(self.path, "zarr.json", memoryview(content.to_bytes()))


_OLD = ".hpcflow-replaced"


@lru_cache(maxsize=64)
def _cached(target: ZarrTarget) -> Any:
    """The metadata, read once in each process; an equal target has equal metadata."""
    import zarr  # noqa: PLC0415

    return zarr.open_array(target.part, mode="r", zarr_format=3).metadata


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


def _is_array(folder: Path) -> bool:
    """Whether a Zarr array stands in the folder, of either version; a group does not count."""
    if (folder / ".zarray").is_file():
        return True
    try:
        document = json.loads((folder / "zarr.json").read_bytes())
    except (OSError, ValueError):
        return False
    return isinstance(document, dict) and document.get("node_type") == "array"


def _replaceable(folder: Path) -> None:
    """Refuse to replace anything but a Zarr array, an empty folder, or what was left of creating one."""
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise RunError(
            f"expected a folder or nothing at `{folder}`, found a {'link' if folder.is_symlink() else 'file'}"
        )
    if not folder.is_dir() or _is_array(folder):
        return
    if not all(one.match(f"zarr.*{PARTIAL}") for one in folder.iterdir()):
        raise RunError(
            f"expected a Zarr array or an empty folder to replace at `{folder}`, found a folder of other files; "
            "give another path or remove it yourself"
        )


def _remove(folder: Path) -> None:
    _replaceable(folder)
    if folder.exists():
        shutil.rmtree(folder)


def _restore(path: str) -> None:
    """Undo a replacement that was cut short between its two renames."""
    old = Path(path + _OLD)
    if old.is_dir() and _is_array(old):
        if Path(path).exists():
            shutil.rmtree(old)
        else:
            old.rename(path)


@dataclass(frozen=True)
class ZarrSink:
    """A Zarr array to be written."""

    path: str
    chunks: tuple[int, ...] | None
    shards: tuple[int, ...] | None
    codec: Codec
    dims: tuple[str | None, ...] | None

    def target(self, meta: Meta) -> ZarrTarget:
        """The folder, chunks and shards for an array with this meta."""
        if meta.dtype.kind not in "biufc" or meta.dtype.char in "gG":  # Zarr has no long double
            raise Mismatch(
                f"expected numbers to write to Zarr, found {meta.dtype}",
                hint="write records to `parquet` or `csv`" if meta.dtype.names else "convert it with `op: astype`",
            )
        dims = meta.dims if self.dims is None else self.dims
        for name, given in (("chunks", self.chunks), ("shards", self.shards), ("dims", dims)):
            if given is not None and len(given) != meta.ndim:
                raise Mismatch(f"expected {meta.ndim} {name} for {meta}, found {len(given)}", parameter=name)
        if len(set(dims) - {None}) + dims.count(None) < len(dims):
            raise Mismatch(f"expected a different name for each axis, found {list(dims)}", parameter="dims")
        named = Meta(meta.shape, meta.dtype, dims, meta.items)
        return ZarrTarget(self.path, named, self._chunks(meta), self.shards, self.codec)

    def _chunks(self, meta: Meta) -> Shape:
        extents = self.shards or tuple(max(1, n) for n in meta.shape)
        if self.chunks is None:
            pairs = zip(extents, auto_chunks(meta), strict=True)
            return tuple(divisor(n, side) if self.shards else side for n, side in pairs)
        if self.shards and any(s % c for s, c in zip(self.shards, self.chunks, strict=True)):
            raise Mismatch(
                f"expected shards of whole chunks {list(self.chunks)}, found {list(self.shards)}", parameter="shards"
            )
        return tuple(min(c, n) for c, n in zip(self.chunks, extents, strict=True))


@sink
def zarr(
    *,
    path: str,
    chunks: Literal["auto"] | list[PositiveInt] = "auto",
    shards: list[PositiveInt] | None = None,
    codec: Codec = "auto",
    dims: list[str | None] | None = None,
) -> ZarrSink:
    """Write an array to a folder as Zarr, version 3.

    The folder gets its name when the array is complete. A Zarr array that is there already is
    then replaced; any other folder with files in it is left alone, and the run refused.

    Parameters
    ----------
    path : str
        The folder, relative to the working directory.
    chunks : list of int
        The extent of a chunk along each axis; `auto` takes about 4 MiB, as near to a cube as
        the array allows, and whole items where there are items (photos).
    shards : list of int, optional
        The extent of a shard, a file that holds many chunks: a multiple of `chunks`. Without
        it each chunk is a file.
    codec : str
        `lz4` (the default) is fast; `zstd` is smaller and a third as fast; `gzip` is slow, for
        readers that know no other; `none` stores the numbers as they are. `lz4` and `zstd`
        sort the bits first (Blosc's bitshuffle).
    dims : list of str, optional
        A name for each axis, in place of those that the array has.

    Examples
    --------
    smooth: {to: zarr, of: smooth, path: out/smooth.zarr, chunks: [1024, 1024]}
    """
    if "://" in path:
        raise Mismatch(f"expected a local folder, found the URL `{path}`", parameter="path")
    return ZarrSink(
        path=str(Path(path).absolute()),
        chunks=None if chunks == "auto" else tuple(chunks),
        shards=tuple(shards) if shards else None,
        codec=codec,
        dims=tuple(dims) if dims is not None else None,
    )

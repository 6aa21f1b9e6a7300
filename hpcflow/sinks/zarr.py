"""Zarr arrays, written chunk by chunk or shard by shard."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, Self

from hpcflow.digests import digest_file
from hpcflow.errors import Mismatch
from hpcflow.meta import Meta
from hpcflow.namespace import Array
from hpcflow.parameters import PositiveInt
from hpcflow.regions import Region, Shape
from hpcflow.registry import sink
from hpcflow.schemes import local_path
from hpcflow.sinks._consolidated import expect_version_3
from hpcflow.sinks._folders import cleared, published, sign, taken_over, there
from hpcflow.sinks._layout import Codec, Layout, chunked, lengths, numeric, together
from hpcflow.sinks._parts import part_of


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
    provenance: Mapping[str, Any] | None = field(default=None, compare=False)

    def signed(self, provenance: Mapping[str, Any]) -> Self:
        """The same folder, with its provenance among the attributes when it is finished."""
        return replace(self, provenance=provenance)

    def owned(self, key: str, run: str) -> Self:
        """The same folder, written by one run, from a stage with this key."""
        return replace(self, key=key, run=run)

    @property
    def layout(self) -> Layout:
        """What its metadata says."""
        return Layout(self.meta, self.chunks, self.shards, self.codec)

    @property
    def part(self) -> str:
        """Where it stands until it is finished."""
        return part_of(self.path, self.key, self.run)

    @property
    def grain(self) -> Shape:
        """The chunk, or the shard where there are shards."""
        return self.layout.grain

    def create(self) -> None:
        """Write the metadata, in place of whatever an earlier run left unfinished."""
        cleared(self.path, self.part)
        self.layout.create(self.part)

    def adopt(self) -> bool:
        """Take over what a run cut short left; whether an array like this one is there now."""
        taken_over(self.path, self.part, self.key)
        return self.layout.stands(there(self.path, self.part))

    def reopen(self) -> None:
        """Take the finished folder's name away, so that it is whole or not there."""
        if not Path(self.part).is_dir():
            Path(self.path).rename(self.part)

    def digest(self, region: Region) -> str:
        """The hash of the files of one block's chunks or shards."""
        return together(self.layout.hashes(there(self.path, self.part), region))

    def write(self, region: Region, array: Array) -> str:
        """Encode and write one block of whole chunks or shards."""
        return together(self.layout.write(self.part, region, array))

    def finish(self) -> None:
        """Make sure that every chunk is on the disk, then give the folder its name."""
        sign(there(self.path, self.part), self.provenance)
        published(self.path, self.part, fenced=bool(self.key))

    def documents(self) -> dict[str, str]:
        """The hash of what no block holds: the metadata."""
        return {"zarr.json": digest_file(f"{self.path}/zarr.json")}

    def restore(self) -> None:
        """Write the metadata as it was."""
        self.layout.restore(self.path)
        sign(self.path, self.provenance)


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
        numeric(meta)
        dims = meta.dims if self.dims is None else self.dims
        lengths(meta, {"chunks": self.chunks, "shards": self.shards, "dims": dims})
        if len(set(dims) - {None}) + dims.count(None) < len(dims):
            raise Mismatch(f"expected a different name for each axis, found {list(dims)}", parameter="dims")
        named = Meta(meta.shape, meta.dtype, dims, meta.items)
        return ZarrTarget(self.path, named, chunked(meta, self.chunks, self.shards), self.shards, self.codec)


@sink(packages=("zarr",), base=8 * 2**20)
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
    path = local_path(path)
    expect_version_3(path)
    return ZarrSink(
        path=path,
        chunks=None if chunks == "auto" else tuple(chunks),
        shards=tuple(shards) if shards else None,
        codec=codec,
        dims=tuple(dims) if dims is not None else None,
    )

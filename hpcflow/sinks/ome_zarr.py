"""Images at several sizes, for viewers: OME-Zarr, version 0.5 of OME-NGFF."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import prod
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np

from hpcflow.digests import digest_file
from hpcflow.errors import Mismatch
from hpcflow.meta import Meta
from hpcflow.namespace import Array, host
from hpcflow.parameters import Positive, PositiveInt
from hpcflow.regions import Region, Shape, tiles, whole
from hpcflow.registry import sink
from hpcflow.schemes import local_path
from hpcflow.sinks._channels import described
from hpcflow.sinks._consolidated import expect_version_3
from hpcflow.sinks._folders import cleared, published, sign, taken_over, there, unsigned
from hpcflow.sinks._layout import Codec, Layout, chunked, lengths, numeric, together
from hpcflow.sinks._parts import part_of, store
from hpcflow.sinks._pyramid import Method, half, halved, shrunk

VERSION = "0.5"
DIMS = {2: ("y", "x"), 3: ("z", "y", "x"), 4: ("c", "z", "y", "x"), 5: ("t", "c", "z", "y", "x")}
"""The names of axes that have none."""
TYPES = {"t": "time", "time": "time", "c": "channel", "channel": "channel"}
"""What an axis is, by its name; any other is one of space."""
ORDER = ("time", "channel", "space")
SMALLEST = 256
"""Levels are added until the longest halved axis is no longer than this."""
CHUNK = 2**20
"""Bytes of a chunk: smaller than elsewhere, since viewers fetch them one by one."""
ONE_PASS = 32 * 2**20
"""Bytes of a block up to which its levels are made with it; the smaller ones are made of these at the end."""


@dataclass(frozen=True)
class OmeZarrTarget:
    """A group of Zarr arrays, each half the size of the one before it.

    A block owns whole chunks of every level that is made with it: its extents are multiples of
    ``chunk * 2**level``. The levels behind those are made of the last of them when all blocks
    are done.
    """

    path: str
    levels: tuple[Layout, ...]
    axes: tuple[int, ...]
    """Those that are halved."""
    method: Method
    scale: tuple[float, ...]
    units: tuple[str | None, ...]
    name: str
    key: str = field(default="", compare=False)
    run: str = field(default="", compare=False)
    provenance: Mapping[str, Any] | None = field(default=None, compare=False)

    def signed(self, provenance: Mapping[str, Any]) -> Self:
        """The same folder, with its provenance among the attributes when it is finished."""
        return replace(self, provenance=provenance)

    @property
    def meta(self) -> Meta:
        """Of the first level."""
        return self.levels[0].meta

    @property
    def chunks(self) -> Shape:
        """Of the first level."""
        return self.levels[0].chunks

    @property
    def shards(self) -> Shape | None:
        """Of the first level."""
        return self.levels[0].shards

    @property
    def codec(self) -> Codec:
        """Of every level."""
        return self.levels[0].codec

    @property
    def nbytes(self) -> int:
        """Of all levels, uncompressed."""
        return sum(level.meta.nbytes for level in self.levels)

    def owned(self, key: str, run: str) -> Self:
        """The same folder, written by one run, from a stage with this key."""
        return replace(self, key=key, run=run)

    @property
    def part(self) -> str:
        """Where it stands until it is finished."""
        return part_of(self.path, self.key, self.run)

    @property
    def at_once(self) -> int:
        """The last level that is made with the blocks."""
        count = len(self.levels) - 1
        fits = [n for n in range(count + 1) if prod(self._grain(n)) * self.meta.dtype.itemsize <= ONE_PASS]
        return max(fits, default=0)

    def _grain(self, level: int) -> Shape:
        unit = self.levels[0].grain
        return tuple(g << level if i in self.axes else g for i, g in enumerate(unit))

    @property
    def grain(self) -> Shape:
        """What holds whole chunks or shards of every level that is made with the blocks."""
        return self._grain(self.at_once)

    def held(self, region: Region) -> int:
        """Bytes that the levels made of a region take beside it."""
        sizes = [shrunk(region, self.axes, n) for n in range(1, self.at_once + 1)]
        return sum(prod(b - a for a, b in one) for one in sizes) * self.meta.dtype.itemsize

    def create(self) -> None:
        """Write the metadata, in place of whatever an earlier run left unfinished."""
        cleared(self.path, self.part)
        for number, level in enumerate(self.levels):
            level.create(f"{self.part}/{number}")
        store(self.part, "zarr.json", self._document())

    def _document(self, **more: Any) -> memoryview:
        group = {"zarr_format": 3, "node_type": "group", "attributes": {"ome": self._attributes() | more}}
        return memoryview(json.dumps(group, indent=2).encode())

    def _attributes(self) -> dict[str, Any]:
        dims = [str(dim) for dim in self.meta.dims]
        axes = [{"name": dim, "type": TYPES.get(dim, "space")} for dim in dims]
        named = [axis | ({"unit": unit} if unit else {}) for axis, unit in zip(axes, self.units, strict=True)]
        datasets = [
            {"path": str(n), "coordinateTransformations": self._transformations(n)} for n in range(len(self.levels))
        ]
        kind = {"type": self.method} if len(self.levels) > 1 else {}
        return {"version": VERSION, "multiscales": [{"name": self.name, "axes": named, "datasets": datasets, **kind}]}

    def _transformations(self, level: int) -> list[dict[str, Any]]:
        """Where the elements of a level lie: the middle of an element is where that of its window is."""
        factors = [2**level if i in self.axes else 1 for i in range(self.meta.ndim)]
        scale = [s * f for s, f in zip(self.scale, factors, strict=True)]
        # The first element of a window lies where it did.
        moved = self.method == "mean"
        shift = [s * (f - 1) / 2 * moved for s, f in zip(self.scale, factors, strict=True)]
        moves = [{"type": "translation", "translation": shift}] if any(shift) else []
        return [{"type": "scale", "scale": scale}, *moves]

    def adopt(self) -> bool:
        """Take over what a run cut short left; whether a pyramid like this one is there now."""
        taken_over(self.path, self.part, self.key)
        root = there(self.path, self.part)
        try:
            found = unsigned(Path(root, "zarr.json").read_bytes())
            found["attributes"]["ome"].pop("omero", None)
            same = found == unsigned(bytes(self._document()))
        except (OSError, ValueError, AttributeError, KeyError, TypeError):
            return False
        return same and all(level.stands(f"{root}/{number}") for number, level in enumerate(self.levels))

    def reopen(self) -> None:
        """Take the finished folder's name away, so that it is whole or not there."""
        if not Path(self.part).is_dir():
            Path(self.path).rename(self.part)

    def digest(self, region: Region) -> str:
        """The hash of the files of one block, at every level that is made with it."""
        root = there(self.path, self.part)
        made = range(self.at_once + 1)
        return together(
            [one for n in made for one in self.levels[n].hashes(f"{root}/{n}", shrunk(region, self.axes, n))]
        )

    def write(self, region: Region, array: Array) -> str:
        """Encode and write one block, at every level that is made with it."""
        hashes = []
        block = np.asarray(host(array), self.meta.dtype)
        for number in range(self.at_once + 1):
            if number:
                block = half(block, self.axes, self.method)
            place = shrunk(region, self.axes, number)
            hashes += self.levels[number].write(f"{self.part}/{number}", place, block)
        return together(hashes)

    def finish(self) -> None:
        """Make the smallest levels, say how channels are shown, and give the folder its name."""
        if Path(self.part).is_dir():
            self._smaller(self.part)
            self._show_channels(self.part)
        sign(there(self.path, self.part), self.provenance)
        published(self.path, self.part, fenced=bool(self.key))

    def _smaller(self, root: str) -> None:
        """Make the levels that the blocks were too small for, each of the one before it."""
        import zarr  # noqa: PLC0415  (half a second)

        for number in range(self.at_once + 1, len(self.levels)):
            level, before = self.levels[number], self.levels[number - 1].meta.shape
            source = zarr.open_array(Path(root, str(number - 1)), mode="r", zarr_format=3)
            for region in tiles(whole(level.meta.shape), level.grain):
                wider = tuple(
                    (2 * a, min(2 * b, n)) if i in self.axes else (a, b)
                    for i, ((a, b), n) in enumerate(zip(region, before, strict=True))
                )
                block = np.asarray(source[tuple(slice(a, b) for a, b in wider)], level.meta.dtype)
                level.write(f"{root}/{number}", region, half(block, self.axes, self.method))

    def _show_channels(self, root: str) -> None:
        """Add what only the values can tell to the metadata: the range that each channel is shown in."""
        if self.meta.dtype.kind == "c":  # nothing is said there of complex numbers
            return
        axis = next((i for i, dim in enumerate(self.meta.dims) if TYPES.get(str(dim)) == "channel"), None)
        last = len(self.levels) - 1
        store(root, "zarr.json", self._document(omero=described(self.levels[last], f"{root}/{last}", axis)))

    def documents(self) -> dict[str, str]:
        """The hash of what no block holds: the metadata, and the smallest levels."""
        return {name: digest_file(f"{self.path}/{name}") for name in self._names()}

    def _names(self) -> Iterator[str]:
        yield "zarr.json"
        for number, level in enumerate(self.levels):
            yield f"{number}/zarr.json"
            if number > self.at_once:
                yield from (f"{number}/{name}" for name in level.names(whole(level.meta.shape)))

    def restore(self) -> None:
        """Write the metadata as it was, and make the smallest levels again."""
        store(self.path, "zarr.json", self._document())
        sign(self.path, self.provenance)
        for number, level in enumerate(self.levels):
            Path(self.path, str(number)).mkdir(exist_ok=True)
            level.restore(f"{self.path}/{number}")
        try:
            self._smaller(self.path)
            self._show_channels(self.path)
            sign(self.path, self.provenance)
        except Exception:  # noqa: BLE001  (what they are made of is damaged, too: they follow when it is mended)
            return


@dataclass(frozen=True)
class OmeZarrSink:
    """A pyramid to be written."""

    path: str
    chunks: tuple[int, ...] | None
    shards: tuple[int, ...] | None
    codec: Codec
    dims: tuple[str, ...] | None
    levels: int | None
    method: Method
    scale: tuple[float, ...] | None
    units: tuple[str | None, ...] | None

    def target(self, meta: Meta) -> OmeZarrTarget:
        """The levels for an array with this meta."""
        numeric(meta)
        if meta.ndim not in DIMS:
            raise Mismatch(f"expected an array of 2 to 5 axes, found {meta}")
        fallback = DIMS[meta.ndim] if not any(meta.dims) else meta.dims
        lengths(meta, {n: getattr(self, n) for n in ("chunks", "shards", "dims", "scale", "units")})
        named = Meta(meta.shape, meta.dtype, self.dims or fallback, meta.items)
        _check_axes(named)
        axes = tuple(i for i, dim in enumerate(named.dims) if str(dim) not in TYPES)
        return OmeZarrTarget(
            path=self.path,
            levels=tuple(self._levels(named, axes)),
            axes=axes,
            method=self.method,
            scale=self.scale or (1.0,) * meta.ndim,
            units=self.units or (None,) * meta.ndim,
            name=Path(self.path).name.removesuffix(".zarr").removesuffix(".ome"),
        )

    def _levels(self, meta: Meta, axes: Sequence[int]) -> Iterator[Layout]:
        chunks = chunked(meta, self.chunks or (None if self.shards else _chunks(meta, axes)), self.shards)
        longest = max(meta.shape[axis] for axis in axes)
        count = self.levels
        if count is None:
            count = next(n for n in range(64) if halved(longest, n) <= SMALLEST) + 1
        for number in range(count):
            shape = tuple(halved(n, number) if i in axes else n for i, n in enumerate(meta.shape))
            one = replace(meta, shape=shape)
            yield Layout(one, chunked(one, chunks, self.shards), self.shards, self.codec)


def _chunks(meta: Meta, axes: Sequence[int]) -> Shape:
    """One plane or volume of about 1 MiB: viewers ask for one time and one channel."""
    most = CHUNK // meta.dtype.itemsize
    side = 2 ** int(np.log2(most) / len(axes))
    return tuple(side if i in axes else 1 for i in range(meta.ndim))


def _check_axes(meta: Meta) -> None:
    """Hold the axes against what OME-NGFF allows."""
    if None in meta.dims or len(set(meta.dims)) < meta.ndim:
        raise Mismatch(f"expected a different name for each axis, found {list(meta.dims)}", parameter="dims")
    kinds = [TYPES.get(str(dim), "space") for dim in meta.dims]
    spaces = kinds.count("space")
    if spaces not in (2, 3) or max(kinds.count("time"), kinds.count("channel")) > 1:
        raise Mismatch(
            f"expected two or three axes of space, at most one `t` and one `c`; found {list(meta.dims)}",
            parameter="dims",
            hint="name the axes: `dims: [t, c, z, y, x]`",
        )
    if kinds != sorted(kinds, key=ORDER.index):
        raise Mismatch(
            f"expected time before channel before space, found the axes {list(meta.dims)}",
            parameter="dims",
            hint="`op: transpose` puts them in order",
        )


@sink(packages=("zarr",), base=8 * 2**20)
def ome_zarr(
    *,
    path: str,
    chunks: Literal["auto"] | list[PositiveInt] = "auto",
    shards: list[PositiveInt] | None = None,
    codec: Codec = "auto",
    dims: list[str] | None = None,
    levels: Literal["auto"] | PositiveInt = "auto",
    method: Method = "mean",
    scale: list[Positive] | None = None,
    units: list[str | None] | None = None,
) -> OmeZarrSink:
    """Write an image or volume to a folder as OME-Zarr: at several sizes, for viewers.

    The folder is a group with the arrays `0`, `1`, …, each half the size of the one before it
    along the axes of space, as OME-NGFF 0.5 describes. An axis named `t` or `time` is one of
    time, `c` or `channel` one of channels, any other one of space. For viewers, each channel (an
    image without that axis is one) has a colour, and the range of its values in the smallest level.

    Each level is made of the one before it. `mean` takes the mean of each window of two
    elements along every axis of space (fewer at an odd end); of integers it is rounded to the
    nearest, halves up. `nearest` takes the window's first element, as labels need it.

    Parameters
    ----------
    path : str
        The folder, relative to the working directory; its name often ends in `.ome.zarr`.
    chunks : list of int
        The extent of a chunk along each axis, at every level; `auto` takes about 1 MiB of one
        time and channel.
    shards : list of int, optional
        The extent of a shard, a file that holds many chunks: a multiple of `chunks`.
    codec : str
        As for `zarr`: `lz4` (the default), `zstd`, `gzip` or `none`.
    dims : list of str, optional
        A name for each axis, in place of those that the array has; without any they are the
        last of t, c, z, y, x.
    levels : int
        How many, the whole image included; `auto` halves until no axis is longer than 256.
    method : str
        How a level is made of the one before it.
    scale : list of float
        How far apart elements are along each axis, in `units`; 1 by default.
    units : list of str
        The unit of each axis: `micrometer`, `second`; `null` where it has none.

    Examples
    --------
    image: {to: ome_zarr, of: smooth, path: out/smooth.ome.zarr, scale: [2, 0.5, 0.5]}
    """
    path = local_path(path)
    expect_version_3(path)
    return OmeZarrSink(
        path=path,
        chunks=None if chunks == "auto" else tuple(chunks),
        shards=tuple(shards) if shards else None,
        codec=codec,
        dims=tuple(dims) if dims is not None else None,
        levels=None if levels == "auto" else levels,
        method=method,
        scale=tuple(scale) if scale else None,
        units=tuple(units) if units else None,
    )

"""What is known of an array before any of it is read, and what gives and takes arrays.

`Source` and `Target` are the two ends of every block's way: a source is read region by
region, a target is written region by region, both on a worker. Both are small frozen
values that pickle by reference to a path, and never hold an array or an open file.
"""

from __future__ import annotations

import mmap
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from math import prod
from typing import Any, Protocol, Self, runtime_checkable

import numpy as np

from hpcflow.namespace import Array
from hpcflow.regions import Region, Shape


@dataclass(frozen=True)
class Meta:
    """Shape, dtype and names of the axes of an array that need not exist yet."""

    shape: Shape
    dtype: np.dtype[Any]
    dims: tuple[str | None, ...] = ()
    """A name for each axis; `None` where it has none. Filled with `None` when left out."""
    items: str | None = None
    """The source whose items (photos) run along the first axis, if they still do."""
    classes: int | None = field(default=None, compare=False, repr=False)
    """Of records of `top_k`, how many classes they tell apart."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", tuple(int(n) for n in self.shape))
        object.__setattr__(self, "dtype", np.dtype(self.dtype))
        if not self.dims:
            object.__setattr__(self, "dims", (None,) * len(self.shape))
        if len(self.dims) != len(self.shape):
            raise ValueError(f"expected {len(self.shape)} dims for shape {self.shape}, found {self.dims}")

    @property
    def ndim(self) -> int:
        """How many axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """How many elements."""
        return prod(self.shape)

    @property
    def nbytes(self) -> int:
        """How many bytes in memory."""
        return self.size * self.dtype.itemsize

    def __str__(self) -> str:
        names = [f"{d}: {n}" if d else str(n) for d, n in zip(self.dims, self.shape, strict=True)]
        return f"({', '.join(names)}) {self.dtype}"


@dataclass(frozen=True)
class Bad:
    """An item that could not be read, and why."""

    source: str
    """The node's name; the runner fills it in."""
    index: int
    """Where it stands along the first axis."""
    item: str
    """Its path or URL."""
    reason: str


@runtime_checkable
class Source(Protocol):
    """An array somewhere else, read region by region on a worker."""

    @property
    def meta(self) -> Meta:
        """Shape, dtype and dims."""

    @property
    def chunks(self) -> Shape | None:
        """Storage chunks that are decoded whole; `None` where any region can be read directly."""

    @property
    def identity(self) -> dict[str, Any]:
        """What the content depends on (path, size, mtime, …), as JSON values."""

    def read(self, region: Region) -> Array:
        """The elements in `region`, which lies inside the array; a view where that is free."""


@runtime_checkable
class ItemSource(Source, Protocol):
    """A source whose first axis counts items, any of which may turn out to be bad."""

    @property
    def items(self) -> Sequence[str]:
        """The path or URL of each item."""

    def read_items(self, region: Region) -> tuple[Array, list[Bad]]:
        """As `read`, but a bad item is zeros and one `Bad`, where `read` raises `BadItem`."""


@runtime_checkable
class Target(Protocol):
    """An array to be written, region by region, on workers; whole storage units at a time."""

    @property
    def path(self) -> str:
        """Where it will stand when it is finished."""

    @property
    def meta(self) -> Meta:
        """Shape, dtype and dims."""

    @property
    def grain(self) -> Shape:
        """Blocks are cut at multiples of this (a chunk or a shard), so each has one writer."""

    def owned(self, key: str, run: str) -> Self:
        """The same target, written by one run, from a stage with this key.

        Until it is finished it stands under a name that holds both: nothing that another run
        left behind, and that wakes up later, may find it.
        """

    def create(self) -> None:
        """Make the storage, once, before any block is written; what other runs left is removed."""

    def adopt(self) -> bool:
        """Take over what a run of the same key, cut short, has left under its own name.

        Returns whether an array of exactly this meta is there now, finished or not.
        """

    def reopen(self) -> None:
        """Make what is there ready to be written again, in place of `create`."""

    def write(self, region: Region, array: Array) -> str:
        """Write the elements of one block: whole grains, or up to the array's end.

        Returns the hash of what was stored.
        """

    def digest(self, region: Region) -> str:
        """The hash of what is stored of one block; raises `OSError` where nothing is."""

    def finish(self) -> None:
        """Publish, after every block is written; nothing where that was done already."""

    def documents(self) -> dict[str, str]:
        """The hash of each part of the finished output that no block holds, by its name: metadata."""

    def restore(self) -> None:
        """Write those parts of the finished output as they were."""


def stored_bytes(target: Target) -> int:
    """Bytes that a target takes on a disk, uncompressed: those of its array, or of all its levels."""
    return int(getattr(target, "nbytes", target.meta.nbytes))


class Stream(Protocol):
    """One block on its way into a target."""

    def put(self, region: Region, array: Array) -> None:
        """Write the next elements of the block."""

    @property
    def digest(self) -> str:
        """The hash of what was stored, after the last of them; what `Target.write` returns."""


@runtime_checkable
class Streamed(Target, Protocol):
    """A target that takes a block piece by piece, in the order in which its elements lie."""

    def open(self) -> AbstractContextManager[Stream]:
        """Begin with a block."""


@runtime_checkable
class Signs(Protocol):
    """A target, or a document, that can hold where it came from."""

    def signed(self, provenance: Mapping[str, Any]) -> Self:
        """The same, with this in its metadata: JSON values, without credentials.

        A block's bytes do not depend on it; two targets that differ in it are equal.
        """


@dataclass(frozen=True)
class Column:
    """A finished array on its way into a document: a table, a number, a picture."""

    name: str
    """The node it came from."""
    meta: Meta
    array: Array
    """A memmap; read it piece by piece where it may be large, and `let_go` of it between two."""
    items: Sequence[str] = ()
    """The items along the first axis, where it has them."""
    bad: frozenset[int] = field(default_factory=frozenset)
    """Indices along the first axis that are quarantined: mark them, never show their values."""


def let_go(array: Array) -> None:
    """Give back what was read of a mapped file: it comes again from the system's cache, if it is asked for again."""
    pages = getattr(array, "_mmap", None)
    if isinstance(pages, mmap.mmap) and hasattr(pages, "madvise") and not array.flags.writeable:
        pages.madvise(mmap.MADV_DONTNEED)


@runtime_checkable
class ArraySink(Protocol):
    """A sink that blocks are written into directly (`zarr`, `npy`)."""

    path: str

    def target(self, meta: Meta) -> Target:
        """Where an array with this meta goes; raises `Mismatch` if it cannot. Touches no disk."""


@runtime_checkable
class DocumentSink(Protocol):
    """A sink made at the end from finished arrays (`parquet`, `csv`, `json`, `png`).

    One that works piece by piece says so by `held(metas)`: the bytes it holds at most for `views` of these metas.
    Any other is taken to hold all of its inputs.
    """

    path: str

    def views(self, metas: Sequence[Meta]) -> list[Meta]:
        """The leading part of each input that is needed (all of it, or the first items of it).

        Raises `Mismatch` if the inputs cannot go into this document.
        """

    def render(self, columns: Sequence[Column]) -> str | None:
        """Write the document, to a temporary name and renamed; what it returns is printed."""

"""Arrays that lie in one file as they would in memory: what `npy` and `raw` have in common."""

from __future__ import annotations

import mmap
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from math import prod
from typing import Any, Literal

import numpy as np

from hpcflow.digests import digest_json
from hpcflow.errors import Mismatch, RunError
from hpcflow.files import regular_file
from hpcflow.meta import Meta
from hpcflow.namespace import Array
from hpcflow.regions import Region, Shape, shape_of, size_of, spanned
from hpcflow.scalars import show

Dims = list[str | None] | None
"""A name for each axis (`null` for none), or no names at all."""
Order = Literal["C", "F"]
STRETCH = 2**23
"""Bytes up to which what lies in one stretch is read, not mapped: into memory that is in the cache already."""
SMALL = 2**16
"""The same of what has gaps, which are read too."""


def named(shape: Sequence[int], dtype: Any, dims: Sequence[str | None] | None) -> Meta:
    """The meta of a source, with its `dims` held against its shape."""
    names = [name for name in dims or () if name is not None]
    if dims is not None and len(dims) != len(shape):
        raise Mismatch(f"expected {len(shape)} dims for shape {tuple(shape)}, found {len(dims)}", parameter="dims")
    if any(not name.isprintable() for name in names):
        raise Mismatch(
            f"expected names of axes without control characters, found {', '.join(map(ascii, names))}",
            parameter="dims",
        )
    if len(set(names)) < len(names) or "" in names:
        raise Mismatch(f"expected a different name for each axis, found {show(list(dims or ()))}", parameter="dims")
    return Meta(tuple(shape), np.dtype(dtype).newbyteorder("="), tuple(dims or ()))


def numbers(dtype: np.dtype[Any], parameter: str) -> None:
    """Refuse a dtype that is not one of plain numbers."""
    if dtype.kind not in "biufc":
        what = "Python objects" if dtype.hasobject else "records" if dtype.names else f"`{dtype}`"
        raise Mismatch(
            f"expected an array of numbers, found one of {what}",
            parameter=parameter,
            hint="objects are never unpickled: save the array with a numeric dtype" if dtype.hasobject else "",
        )


@dataclass(frozen=True)
class FlatSource:
    """A file whose bytes from `offset` on are the array's."""

    path: str
    """Absolute, since a worker may run in another folder."""
    meta: Meta
    """With the dtype in this machine's byte order: few libraries compute in another."""
    stored: np.dtype[Any]
    offset: int
    order: Order
    size: int
    """Of the file, in bytes, when it was opened."""
    mtime_ns: int
    ctime_ns: int = 0
    """When the system last saw it change: whoever writes to a file can set the other time back, not this one."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What a user is told: how much of the file the array leaves out, and what would read it."""
        end, itemsize = self.offset + self.meta.nbytes, self.stored.itemsize
        left = self.size - end
        if left <= 0:
            return ()
        rest = prod(self.meta.shape[1:]) * itemsize if self.meta.ndim and self.order == "C" else 0
        remedy = "check `shape`, `dtype` and `offset`"
        if rest and left % rest == 0:
            remedy = f"`shape: {[self.meta.shape[0] + left // rest, *self.meta.shape[1:]]}` reads them"
        return (
            f"expected an array that fills its file, found {left} bytes behind its {end} that are not read: {remedy}",
        )

    @property
    def chunks(self) -> Shape | None:
        """None: any region is read directly."""
        return None

    def maps(self, region: Region) -> bool:
        """Whether `read` maps a region: then its block is mapped once, rather than each of its tiles."""
        return not self.copied and not self._stretch(region)[2]

    @cached_property
    def key(self) -> str:
        """The hash of its identity, which stays as it was when it was opened."""
        return digest_json(self.identity)

    @cached_property
    def identity(self) -> dict[str, Any]:
        """Where the array lies, and the size and times by which a change of the file is seen."""
        return {
            "path": self.path,
            "size": self.size,
            "mtime_ns": self.mtime_ns,
            "ctime_ns": self.ctime_ns,
            "offset": self.offset,
            "order": self.order,
            "dtype": str(self.stored.descr),
            "shape": list(self.meta.shape),
        }

    def resident(self, region: Region) -> int:
        """Bytes of memory that reading a region takes: the pages that it lies on, and a copy if one is made."""
        itemsize = self.stored.itemsize
        pages = spanned(region, self._strides, itemsize)
        return pages + (size_of(region) * itemsize if self.copied else 0)

    @cached_property
    def _strides(self) -> Shape:
        return _strides(self.meta.shape, self.stored.itemsize, self.order)

    @property
    def copied(self) -> bool:
        """Whether what is read is converted, so that it is never a view of the file's pages."""
        return self.stored != self.meta.dtype or self.offset % self.stored.alignment != 0

    def read(self, region: Region) -> Array:
        """A region, read-only: read in one go where it lies in one stretch, else a view of the file's pages.

        Each call maps its own part of the file: pages that stayed mapped after a block is done
        would count as this process's memory, and get it killed. What is read comes from a file
        that stays open, into memory that was in use a moment ago: that costs less than new pages,
        and a file that is cut short meanwhile gives an error, where a page beyond its end would
        kill the process (SIGBUS).
        """
        shape = shape_of(region)
        if size_of(region) == 0:
            return np.empty(shape, self.meta.dtype)
        first, length, at_once = self._stretch(region)
        if at_once:
            view = np.ndarray(shape, self.stored, self._bytes(first, length), 0, self._strides)
            view.flags.writeable = False
        else:
            start = first - first % mmap.ALLOCATIONGRANULARITY
            opened = _File(self.path)
            self._unchanged(os.fstat(opened.number))
            pages = mmap.mmap(opened.number, first + length - start, access=mmap.ACCESS_READ, offset=start)
            view = np.ndarray(shape, self.stored, pages, first - start, self._strides)
        return view if view.flags.aligned and view.dtype == self.meta.dtype else view.astype(self.meta.dtype)

    def _stretch(self, region: Region) -> tuple[int, int, bool]:
        """Where a region begins in the file, how many bytes it spans, and whether those are read in one go."""
        itemsize, strides = self.stored.itemsize, self._strides
        first = self.offset + sum(a * s for (a, _), s in zip(region, strides, strict=True))
        length = sum((b - a - 1) * s for (a, b), s in zip(region, strides, strict=True)) + itemsize
        return first, length, length <= SMALL or (length <= STRETCH and length == size_of(region) * itemsize)

    def _bytes(self, first: int, length: int) -> Array:
        opened = _opened(self.path, self.size, self.mtime_ns, self.ctime_ns)
        self._unchanged(os.fstat(opened.number))
        content = np.empty(length, np.uint8)
        there = 0
        while there < length:
            came = os.preadv(opened.number, [content.data[there:]], first + there)
            if not came:
                self._unchanged(os.fstat(opened.number))
                raise RunError(f"expected {length} bytes at {first} of `{self.path}`, found {there}")
            there += came
        return content

    def _unchanged(self, now: os.stat_result) -> None:
        if now.st_size != self.size:
            raise RunError(
                f"expected {self.size} bytes in `{self.path}`, found {now.st_size}: it changed since opening"
            )
        if now.st_mtime_ns != self.mtime_ns:
            raise RunError(f"expected `{self.path}` to stay as it was, found it written to since opening")


class _File:
    """An open file, closed when nothing reads it any more."""

    def __init__(self, path: str) -> None:
        self.number = regular_file(path)

    def __del__(self) -> None:
        if hasattr(self, "number"):
            os.close(self.number)


@lru_cache(maxsize=16)
def _opened(path: str, size: int, *times: int) -> _File:  # noqa: ARG001  (a file that has changed is opened again)
    """A file of which many small parts are read."""
    return _File(path)


def _strides(shape: Shape, itemsize: int, order: Order) -> Shape:
    strides = []
    step = itemsize
    for n in shape if order == "F" else reversed(shape):
        strides.append(step)
        step *= n
    return tuple(strides if order == "F" else reversed(strides))

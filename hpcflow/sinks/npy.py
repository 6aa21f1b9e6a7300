"""NumPy's `.npy` files, written block by block."""

from __future__ import annotations

import errno
import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import xxhash

from hpcflow.digests import buffer, digest
from hpcflow.errors import Mismatch, RunError
from hpcflow.files import OWN, SHARED, create, own_file, regular_file, sync, write_all
from hpcflow.meta import Meta
from hpcflow.namespace import Array, host
from hpcflow.regions import Region, Shape, runs, shape_of
from hpcflow.registry import sink
from hpcflow.schemes import local_path
from hpcflow.sinks._parts import hold, leftovers, part_of, seize


@dataclass(frozen=True)
class NpyTarget:
    """A `.npy` file of a known size, into which blocks are written where they belong.

    Until it is finished it stands under another name beside it. Blocks are written with
    `pwrite`: as fast as through a memory map, safe for neighbours on one page on a network file
    system, and a full disk is an error where in a map it would kill the process.
    """

    path: str
    meta: Meta
    key: str = field(default="", compare=False)
    run: str = field(default="", compare=False)
    lasting: bool = field(default=True, compare=False)
    """Whether it must be on the disk before it has its name; not what one stage leaves for another, whose
    receipts tell what of it a crash has taken."""
    private: bool = field(default=False, compare=False)
    """Whether it is the run's own, and nobody else's to read."""

    def owned(self, key: str, run: str) -> Self:
        """The same file, written by one run, from a stage with this key."""
        return replace(self, key=key, run=run)

    @property
    def part(self) -> str:
        """Where it stands until it is finished."""
        return part_of(self.path, self.key, self.run)

    @property
    def grain(self) -> Shape:
        """Any element can be written on its own."""
        return (1,) * self.meta.ndim

    def create(self) -> None:
        """Write the header and set the size, in place of whatever an earlier run left."""
        if Path(self.path).is_dir():
            raise RunError(f"expected no folder where the file `{self.path}` is to be written, found one")
        part = Path(self.part)
        part.parent.mkdir(parents=True, exist_ok=True)
        # A new file rather than the old one cut short: another process may still have that mapped.
        for left in leftovers(self.path):
            left.unlink(missing_ok=True)
        head = _header(self.meta)
        handle = create(part, OWN if self.private else SHARED)
        try:
            write_all(handle, head)
            # Sparse: the run has seen that there is room, and filling a file twice takes twice as long.
            os.ftruncate(handle, len(head) + self.meta.nbytes)
        finally:
            os.close(handle)

    def adopt(self) -> bool:
        """Take over what a run cut short left; whether a file of this header and size is there now."""
        for left in leftovers(self.path, self.key) if self.key else []:
            if str(left) != self.part:
                seize(left, Path(self.part))
        head = _header(self.meta)
        try:
            with open(self._there(), "rb", opener=regular_file) as file:
                return file.read(len(head)) == head and os.fstat(file.fileno()).st_size == len(head) + self.meta.nbytes
        except OSError:
            return False

    def _there(self) -> str:
        return self.part if Path(self.part).exists() else self.path

    def reopen(self) -> None:
        """Take the finished file's name away, so that it is whole or not there."""
        if not Path(self.part).exists():
            seize(Path(self.path), Path(self.part))

    def digest(self, region: Region) -> str:
        """The hash of the bytes of one block."""
        itemsize = self.meta.dtype.itemsize
        first = len(_header(self.meta))
        with Path(self._there()).open("rb", buffering=0) as file:
            return digest(
                _read_at(file.fileno(), (stop - start) * itemsize, first + start * itemsize)
                for start, stop in runs(region, self.meta.shape)
            )

    def write(self, region: Region, array: Array) -> str:
        """Write one block; others may write theirs at the same time."""
        with self.open() as stream:
            stream.put(region, array)
        return stream.digest

    @contextmanager
    def open(self) -> Iterator[NpyStream]:
        """Begin with a block, to be written piece by piece, in C order."""
        with open(self.part, "r+b", buffering=0, opener=own_file) as file:
            hold(file.fileno(), self.part)
            yield NpyStream(file.fileno(), self.meta)

    def finish(self) -> None:
        """Make sure that the bytes are on the disk, then give the file its name."""
        part = Path(self.part)
        if not part.exists():
            return  # an earlier run has published it
        if self.lasting:
            sync(part)
        folder = part.replace(self.path).parent
        if self.lasting:
            sync(folder)
        for left in leftovers(self.path):
            left.unlink(missing_ok=True)

    def documents(self) -> dict[str, str]:
        """The hash of what no block holds: the header, with the file's size."""
        size = len(_header(self.meta))
        with Path(self.path).open("rb") as file:
            return {"header": digest([file.read(size), str(os.fstat(file.fileno()).st_size).encode()])}

    def restore(self) -> None:
        """Write the header, and set the file's size, as they were."""
        head = _header(self.meta)
        with open(self.path, "r+b", opener=own_file) as file:
            file.write(head)
            file.truncate(len(head) + self.meta.nbytes)
            file.flush()
            os.fsync(file.fileno())


class NpyStream:
    """A block on its way into the file: each piece is hashed and written while it is in the cache."""

    def __init__(self, file: int, meta: Meta) -> None:
        self._file = file
        self._meta = meta
        self._first = len(_header(meta))
        self._hash = xxhash.xxh3_128()

    def put(self, region: Region, array: Array) -> None:
        """Write the next elements of the block where they belong."""
        assert array.shape == shape_of(region), f"expected a block of {shape_of(region)}, found {array.shape}"
        content = buffer(np.asarray(host(array), self._meta.dtype))
        itemsize = self._meta.dtype.itemsize
        # Runs follow one another in C order, as the block's elements do.
        self._hash.update(content)
        done = 0
        for start, stop in runs(region, self._meta.shape):
            end = done + (stop - start) * itemsize
            _write_at(self._file, content[done:end], self._first + start * itemsize)
            done = end

    @property
    def digest(self) -> str:
        """The hash of what was written."""
        return self._hash.hexdigest()


def _header(meta: Meta) -> bytes:
    head = io.BytesIO()
    fields: dict[str, Any] = {
        "descr": np.lib.format.dtype_to_descr(meta.dtype),
        "fortran_order": False,
        "shape": meta.shape,
    }
    try:
        np.lib.format.write_array_header_1_0(head, fields)
    except ValueError:  # more than 64 KiB, for records of very many fields
        head = io.BytesIO()
        np.lib.format.write_array_header_2_0(head, fields)
    return head.getvalue()


def _write_at(file: int, content: memoryview, offset: int) -> None:
    # The system writes at most 2 GiB at once.
    while content:
        written = os.pwrite(file, content, offset)
        content = content[written:]
        offset += written


def _read_at(file: int, size: int, offset: int) -> bytes:
    content = os.pread(file, size, offset)
    while len(content) < size:
        more = os.pread(file, size - len(content), offset + len(content))
        if not more:
            raise OSError(errno.EIO, "the file is shorter than its header says")
        content += more
    return content


@dataclass(frozen=True)
class NpySink:
    """A `.npy` file to be written."""

    path: str

    def target(self, meta: Meta) -> NpyTarget:
        """The file for an array with this meta."""
        if meta.dtype.hasobject:
            raise Mismatch(f"expected numbers to write to `.npy`, found {meta.dtype}")
        return NpyTarget(self.path, meta)


@sink
def npy(*, path: str) -> NpySink:
    """Write an array to a `.npy` file.

    The file is written block by block, and gets its name when it is complete.

    Parameters
    ----------
    path : str
        The file, relative to the working directory; the flow's own of an earlier run is replaced.

    Examples
    --------
    smooth: {to: npy, of: smooth, path: out/smooth.npy}
    """
    return NpySink(local_path(path))

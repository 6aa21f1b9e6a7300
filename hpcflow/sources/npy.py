"""NumPy's `.npy` files, by reference."""

from __future__ import annotations

import os
from dataclasses import replace
from functools import partial
from math import prod
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from hpcflow.errors import Mismatch
from hpcflow.files import regular_file
from hpcflow.ingest.urls import is_url
from hpcflow.regions import Shape
from hpcflow.registry import source
from hpcflow.sources._flat import Dims, FlatSource, named, numbers
from hpcflow.sources._remote import WHOLE, Fetch, RemoteFlat, fetching, flat

_HINTS = {".npz": "unpack the `.npz` and name one array in it", ".zarr": "use `from: zarr`"}


@source
def npy(
    *, path: str, dims: Dims = None, fetch: Fetch = None, storage_options: dict[str, Any] | None = None
) -> FlatSource | RemoteFlat:
    """Read a `.npy` file, mapped into memory: only what a block needs is read.

    Arrays of Python objects are refused, since reading one runs code that the file brings.

    Parameters
    ----------
    path : str
        The file, relative to the working directory. Or its URL: a plan reads only its header; a
        run fetches it whole, once, into the cache of each machine that reads it.
    dims : list of str, optional
        A name for each axis; `null` where one has none.
    fetch : mapping
        How a URL is fetched: `timeout` (seconds for a try), `retries`, `per_host`, `max_bytes`,
        `allow_private`, `cache` (a folder), `cache_size`, `headers`.
    storage_options : mapping
        For fsspec, where the URL is of an object store: `{anon: true}`, `{key: "${env:KEY}"}`.

    Examples
    --------
    plane: {from: npy, path: data/plane.npy, dims: [y, x]}
    """
    if is_url(path):
        how = fetching(fetch, storage_options, max_bytes=WHOLE)
        opened: FlatSource | RemoteFlat = flat(path, how, partial(_described, dims=dims))
    else:
        opened = open_npy(path, dims)
    numbers(opened.meta.dtype, "path")
    return opened


def open_npy(path: str, dims: Dims = None) -> FlatSource:
    """Open a `.npy` file of numbers or of records of numbers; only its header is read."""
    given, path = path, str(Path(path).absolute())
    with open(path, "rb", opener=regular_file) as file:
        status = os.fstat(file.fileno())
        opened = _described(given, file, status.st_size, dims)
    return replace(opened, path=path, mtime_ns=status.st_mtime_ns, ctime_ns=status.st_ctime_ns)


def _described(given: str, file: BinaryIO, size: int, dims: Dims) -> FlatSource:
    """How the array lies in a file of some size, from its header."""
    try:
        shape, fortran, dtype = _header(file)
    except (ValueError, TypeError, OverflowError) as error:
        raise Mismatch(
            f"expected a `.npy` file of version 1 or 2, found `{given}`: {str(error).splitlines()[0].rstrip('.')}",
            parameter="path",
            hint=_HINTS.get(Path(given).suffix, "for bytes without a header use `from: raw`"),
        ) from None
    offset = file.tell()
    if dtype.hasobject:
        numbers(dtype, "path")
    expected = offset + prod(shape) * dtype.itemsize
    if size < expected:
        raise Mismatch(
            f"expected {expected} bytes for shape {shape} of {dtype}, found {size} in `{given}`",
            parameter="path",
            hint="the file is truncated: copy or make it again",
        )
    return FlatSource("", named(shape, dtype, dims), dtype, offset, "F" if fortran else "C", size, 0)


def _header(file: BinaryIO) -> tuple[Shape, bool, np.dtype[Any]]:
    version = np.lib.format.read_magic(file)
    if version == (1, 0):
        return np.lib.format.read_array_header_1_0(file)
    if version == (2, 0):
        return np.lib.format.read_array_header_2_0(file)
    # Version 3 exists only for records whose fields have names beyond Latin-1.
    raise ValueError(f"it has version {version[0]}")

"""Flat binary files."""

from __future__ import annotations

import os
from dataclasses import replace
from functools import partial
from io import BytesIO
from math import prod
from pathlib import Path
from typing import Annotated, Any, BinaryIO

import numpy as np
from pydantic import Field

from hpcflow.errors import Mismatch
from hpcflow.expectations import Says
from hpcflow.files import regular_file
from hpcflow.ingest.urls import is_url
from hpcflow.parameters import DType, NonNegativeInt
from hpcflow.registry import source
from hpcflow.sources._flat import Dims, FlatSource, Order, named
from hpcflow.sources._remote import WHOLE, Fetch, RemoteFlat, fetching, flat

Extent = Annotated[int, Field(ge=-1), Says("an integer of at least 0, or -1", "integers of at least 0")]


@source
def raw(
    *,
    path: str,
    dtype: DType,
    shape: list[Extent],
    offset: NonNegativeInt = 0,
    order: Order = "C",
    dims: Dims = None,
    fetch: Fetch = None,
    storage_options: dict[str, Any] | None = None,
) -> FlatSource | RemoteFlat:
    """Read a flat binary file, mapped into memory, as `numpy.memmap`.

    Parameters
    ----------
    path : str
        The file, relative to the working directory. Or its URL: a plan asks only for its size; a
        run fetches it whole, once, into the cache of each machine that reads it.
    dtype : str
        Of an element, with its byte order where that is not this machine's: `uint16`, `>f4`.
    shape : list of int
        How many elements along each axis. One of them may be -1: as many as the file holds.
    offset : int
        Bytes before the first element: the length of a header to skip.
    order : str
        `C` if the last axis runs fastest in the file, `F` if the first does.
    dims : list of str, optional
        A name for each axis; `null` where one has none.
    fetch : mapping
        How a URL is fetched: `timeout` (seconds for a try), `retries`, `per_host`, `max_bytes`,
        `allow_private`, `cache` (a folder), `cache_size`, `headers`.
    storage_options : mapping
        For fsspec, where the URL is of an object store: `{anon: true}`, `{key: "${env:KEY}"}`.

    Examples
    --------
    volume: {from: raw, path: data/scan.bin, dtype: ">u2", shape: [512, 512, 512], offset: 1024}
    """
    if shape.count(-1) > 1:
        raise Mismatch(f"expected at most one -1 in `shape`, found {shape}", parameter="shape")
    described = partial(_described, stored=np.dtype(dtype), shape=shape, dims=dims, offset=offset, order=order)
    if is_url(path):
        return flat(path, fetching(fetch, storage_options, max_bytes=WHOLE), described)
    with open(path, "rb", opener=regular_file) as file:
        status = os.fstat(file.fileno())
    opened = described(path, BytesIO(), status.st_size)
    place = str(Path(path).absolute())
    return replace(opened, path=place, mtime_ns=status.st_mtime_ns, ctime_ns=status.st_ctime_ns)


def _described(
    given: str,
    file: BinaryIO,  # noqa: ARG001  (nothing in it says what it is)
    size: int,
    *,
    stored: np.dtype[Any],
    shape: list[int],
    dims: Dims,
    offset: int,
    order: Order,
) -> FlatSource:
    each = stored.itemsize * -prod(shape)  # of one more along the axis of -1
    extents = [max(size - offset, 0) // max(each, 1) if n == -1 else n for n in shape]
    meta = named(extents, stored, dims)
    expected = offset + prod(meta.shape) * meta.dtype.itemsize
    if size < expected:
        behind = f" behind an offset of {offset}" if offset else ""
        raise Mismatch(
            f"expected {expected} bytes for shape {meta.shape} of {meta.dtype}{behind}, found {size} in `{given}`",
            parameter="shape",
            hint="check `shape`, `dtype` and `offset`",
        )
    return FlatSource("", meta, stored, offset, order, size, 0)

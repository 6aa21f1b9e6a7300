"""Flat binary files."""

from __future__ import annotations

from math import prod
from pathlib import Path

import numpy as np

from hpcflow.errors import Mismatch
from hpcflow.parameters import DType, NonNegativeInt
from hpcflow.registry import source
from hpcflow.sources._flat import Dims, FlatSource, Order, named, regular


@source
def raw(
    *,
    path: str,
    dtype: DType,
    shape: list[NonNegativeInt],
    offset: NonNegativeInt = 0,
    order: Order = "C",
    dims: Dims = None,
) -> FlatSource:
    """Read a flat binary file, mapped into memory, as `numpy.memmap`.

    Parameters
    ----------
    path : str
        The file, relative to the working directory.
    dtype : str
        Of an element, with its byte order where that is not this machine's: `uint16`, `>f4`.
    shape : list of int
        How many elements along each axis.
    offset : int
        Bytes before the first element: the length of a header to skip.
    order : str
        `C` if the last axis runs fastest in the file, `F` if the first does.
    dims : list of str, optional
        A name for each axis; `null` where one has none.

    Examples
    --------
    volume: {from: raw, path: data/scan.bin, dtype: ">u2", shape: [512, 512, 512], offset: 1024}
    """
    meta = named(shape, np.dtype(dtype), dims)
    given, path = path, str(Path(path).absolute())
    status = regular(path)
    expected = offset + prod(shape) * meta.dtype.itemsize
    if status.st_size < expected:
        behind = f" behind an offset of {offset}" if offset else ""
        raise Mismatch(
            f"expected {expected} bytes for shape {meta.shape} of {meta.dtype}{behind}, "
            f"found {status.st_size} in `{given}`",
            parameter="shape",
            hint="check `shape`, `dtype` and `offset`",
        )
    return FlatSource(path, meta, np.dtype(dtype), offset, order, status.st_size, status.st_mtime_ns)

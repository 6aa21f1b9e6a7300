"""Conversion to another dtype in which nothing is left to chance.

What becomes of a float that an integer cannot hold is undefined in C, and so in NumPy, whose vector
loops and their remainders differ within one array. Every place that makes integers of floats does it here.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from hpcflow.errors import Mismatch
from hpcflow.namespace import Array, Namespace


def cast(x: Array, dtype: Any, xp: Namespace, *, refuse: bool = False, clip: bool = False) -> Array:
    """The elements in another dtype, as `numpy.ndarray.astype` where that is defined.

    Floats are cut off on the way to integers; what the integer cannot hold becomes its nearest
    one, and NaN 0. Integers that do not fit wrap around.

    Parameters
    ----------
    x : array
    dtype : dtype
    xp : module
    refuse : bool
        Whether what does not fit is an error: NaN, too, and a finite float that would be infinite.
    clip : bool
        Whether integers that do not fit become the nearest one as well.

    Raises
    ------
    Mismatch
        Naming an element that does not fit, and how many there are.
    """
    wanted = np.dtype(dtype)
    if x.dtype.kind in "fc" and wanted.kind == x.dtype.kind and refuse and wanted.itemsize < x.dtype.itemsize:
        made = x.astype(wanted)
        _all_fit(xp.isfinite(made) | ~xp.isfinite(x), x, wanted)
        return made
    if wanted.kind not in "iu" or x.dtype.kind not in "iuf":
        return x.astype(wanted, copy=False)
    limits = np.iinfo(wanted)
    if x.dtype.kind == "f":
        with np.errstate(over="ignore"):
            # Powers of two, so exact. One less than the least of a wide integer rounds to that itself; beyond
            # half precision they are infinite, and every finite number fits.
            below, above = x.dtype.type(limits.min - 1.0), x.dtype.type(limits.max + 1.0)
        fits = (x > below) & (x < above)
        if fits.all():
            return x.astype(wanted)
        if refuse:
            _all_fit(fits | (x == limits.min), x, wanted)
        made = xp.where(fits, x, x.dtype.type(0)).astype(wanted)
        made[x >= above] = limits.max
        made[x <= below] = limits.min
        return made
    own = np.iinfo(x.dtype)
    low, high = max(limits.min, own.min), min(limits.max, own.max)
    if refuse and (low, high) != (own.min, own.max):
        _all_fit((x >= low) & (x <= high), x, wanted)
    return (xp.clip(x, low, high) if clip else x).astype(wanted, copy=False)


def _all_fit(fits: Array, x: Array, dtype: np.dtype[Any]) -> None:
    if not fits.all():
        outside = x[~fits]
        limits = np.iinfo(dtype) if dtype.kind in "iu" else np.finfo(dtype)
        raise Mismatch(
            f"expected numbers from {limits.min} to {limits.max}, found {outside[0]} and {outside.size - 1} more that "
            f"{dtype} cannot hold",
            hint="`casting: clip` makes the nearest number of them that it can hold",
        )

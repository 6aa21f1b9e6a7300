"""Symmetric windows along the axes of small integers: SciPy's own sums in its own order, many lines at once.

SciPy adds the elements of a line up in float64, from the window's ends to its middle, and cuts
fractions off. A constant array stays constant only where each sum is rounded alike, so nothing but
this order will do; but lines do not depend on each other, and so can be added up side by side.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from math import prod
from typing import Any

import numpy as np

from hpcflow.kernels.fourier import PADS
from hpcflow.meta import Meta
from hpcflow.namespace import Array, Namespace

LEAST = 2**21
"""Elements; below, SciPy is done before the loop is compiled or loaded."""
DTYPES = "bBhH"
"""Of which the sum of two is exact in 32 bits."""
ALIKE = platform.machine() in ("x86_64", "AMD64")
"""Elsewhere compilers fuse a product with a sum, in SciPy's packages or here."""
CHUNK = 512
"""Elements side by side; their sums stay in the first cache."""


def takes(x: Array | Meta) -> bool:
    """Whether an array, or a block of one, may be large enough and of a dtype for this."""
    return ALIKE and x.dtype.char in DTYPES and x.size >= LEAST


def symmetric(x: Array, weights: Mapping[int, Array], *, modes: Sequence[str], xp: Namespace) -> Array | None:
    """Correlate along some axes, one after another; `None` where it is left to others.

    Parameters
    ----------
    x : array
    weights : mapping of int to array
        By axis: of odd length, the same in both directions.
    modes : sequence of str
        What lies beyond the ends of every axis.
    xp : module
    """
    if xp is not np or not takes(x) or any(modes[axis] == "constant" for axis in weights):
        return None
    for axis, window in weights.items():
        places = np.pad(np.arange(x.shape[axis]), len(window) // 2, PADS[modes[axis]])  # type: ignore[call-overload]
        out = np.empty(x.shape, x.dtype)
        outer, inner = prod(x.shape[:axis]), prod(x.shape[axis + 1 :])
        loop, rest = (_along, ()) if inner == 1 else (_across, (inner,))
        shape = outer, x.shape[axis], *rest
        _compiled(loop)(np.ascontiguousarray(x).reshape(shape), out.reshape(shape), window, places)
        x = out
    return x


@lru_cache(maxsize=2)
def _compiled(loop: Callable[..., None]) -> Any:
    import numba  # noqa: PLC0415  (a third of a second)

    return numba.njit(nogil=True, cache=True, error_model="numpy")(loop)


# `places` says where each element of a line, and what lies beyond its ends, is found.
def _across(x: Array, out: Array, weights: Array, places: Array) -> None:
    """Along the middle of three axes: rows of the last one are added up."""
    outer, n, inner = x.shape
    reach = weights.size // 2
    total = np.empty(CHUNK, np.float64)
    for b in range(outer):
        for i in range(n):
            for start in range(0, inner, CHUNK):
                m = min(CHUNK, inner - start)
                row, to = x[b, places[i + reach], start : start + m], out[b, i, start : start + m]
                for j in range(m):
                    total[j] = row[j] * weights[reach]
                for k in range(reach):
                    near = x[b, places[i + k], start : start + m]
                    far = x[b, places[i + 2 * reach - k], start : start + m]
                    for j in range(m):
                        total[j] += (np.int32(near[j]) + np.int32(far[j])) * weights[k]
                for j in range(m):
                    to[j] = total[j]


def _along(x: Array, out: Array, weights: Array, places: Array) -> None:
    """Along the last of two axes: each line, with what lies beyond its ends, is added to itself."""
    outer, n = x.shape
    reach = weights.size // 2
    total = np.empty(CHUNK, np.float64)
    line = np.empty(n + 2 * reach, np.int32)
    for b in range(outer):
        for i in range(line.size):
            line[i] = x[b, places[i]]
        for start in range(0, n, CHUNK):
            m = min(CHUNK, n - start)
            at = line[start : start + m + 2 * reach]
            for j in range(m):
                total[j] = at[reach + j] * weights[reach]
            for k in range(reach):
                near, far = at[k : k + m], at[2 * reach - k : 2 * reach - k + m]
                for j in range(m):
                    # Numba widens the sum to 64 bits, which most processors cannot convert several at a time.
                    total[j] += np.int32(near[j] + far[j]) * weights[k]
            for j in range(m):
                out[b, start + j] = np.int32(total[j])

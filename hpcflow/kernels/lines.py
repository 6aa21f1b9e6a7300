"""Symmetric windows along the axes of small integers: SciPy's own sums in its own order, many lines at once.

SciPy adds the elements of a line up in float64, from the window's ends to its middle, and cuts
fractions off. A constant array stays constant only where each sum is rounded alike, so nothing but
this order will do; but lines do not depend on each other, and so can be added up side by side.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from math import prod

import numpy as np

from hpcflow.kernels.compiling import compiled
from hpcflow.kernels.fourier import PADS
from hpcflow.meta import Meta
from hpcflow.namespace import Array, Namespace
from hpcflow.regions import Interval, Region, whole

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


def symmetric(
    x: Array, weights: Mapping[int, Array], *, modes: Sequence[str], xp: Namespace, kept: Region | None = None
) -> Array | None:
    """Correlate along some axes, one after another; `None` where it is left to others.

    Parameters
    ----------
    x : array
    weights : mapping of int to array
        By axis, in rising order: of odd length, the same in both directions.
    modes : sequence of str
        What lies beyond the ends of every axis.
    xp : module
    kept : Region, optional
        The part of the result that is made: a halo along the axes still to come is filtered, one behind is not.
    """
    if xp is not np or not takes(x) or any(modes[axis] == "constant" for axis in weights):
        return None
    kept = kept or whole(x.shape)
    x = x[tuple(slice(None) if axis in weights else slice(*one) for axis, one in enumerate(kept))]
    for axis, window in weights.items():
        x = _filtered(np.ascontiguousarray(x), axis, window, PADS[modes[axis]], kept[axis])
    return x


def _filtered(x: Array, axis: int, weights: Array, pad: str, kept: Interval) -> Array:
    """Correlate along one axis, for an interval of it."""
    reach, n = len(weights) // 2, x.shape[axis]
    first, stop = kept
    outer, inner = prod(x.shape[:axis]), prod(x.shape[axis + 1 :])
    out = np.empty((*x.shape[:axis], stop - first, *x.shape[axis + 1 :]), x.dtype)
    if inner > 1:
        places = np.pad(np.arange(n), reach, pad)[first : stop + 2 * reach]  # type: ignore[call-overload]
        compiled(_SOURCE)(x.reshape(-1), out.reshape(outer, stop - first, inner), weights, places * inner, n * inner)
    else:
        # Along the last axis a line's neighbour is the line itself, one element on.
        lines = np.pad(x.reshape(outer, n), [(0, 0), (reach, reach)], pad)  # type: ignore[call-overload]
        places = np.arange(first, first + 2 * reach + 1)
        compiled(_SOURCE)(lines.reshape(-1), out.reshape(outer, 1, stop - first), weights, places, n + 2 * reach)
    return out


_SOURCE = f'''\
"""Written by hpcflow (lines, version 1); safe to delete."""
import numba
import numpy as np


@numba.njit(nogil=True, cache=CACHED, error_model="numpy")
def kernel(flat, out, weights, places, size):
    """Add up lines of `flat`, which begin at `places`, for each line of `out`'s last axis.

    For the next index of `out`'s first axis they begin `size` further on. Elements are taken in their own dtype:
    compilers then know that two of them fit into 32 bits, of which they convert four at a time.
    """
    outer, n, inner = out.shape
    reach = weights.size // 2
    total = np.empty({CHUNK}, np.float64)
    for b in range(outer):
        for i in range(n):
            for start in range(0, inner, {CHUNK}):
                m = min({CHUNK}, inner - start)
                base = b * size + start
                weight, middle = weights[reach], flat[base + places[i + reach] :][:m]
                for j in range(m):
                    total[j] = middle[j] * weight
                for k in range(reach):
                    weight = weights[k]
                    near, far = flat[base + places[i + k] :][:m], flat[base + places[i + 2 * reach - k] :][:m]
                    for j in range(m):
                        total[j] += (np.int32(near[j]) + np.int32(far[j])) * weight
                to = out[b, i, start : start + m]
                for j in range(m):
                    to[j] = total[j]
'''

"""The middle of a resized picture, bit for bit as Pillow resizes the whole, at a third of the cost.

Pillow resamples rows, rounds to bytes, then resamples columns, with weights in fixed point
(``Resample.c``). Its own way to a part, a `box`, has edges in single precision: other bytes.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from hpcflow.kernels.compiling import compiled
from hpcflow.namespace import Array

MANY = 256
"""Pictures from which on loading Numba pays."""
BITS = 22
"""Of a weight, after the point: eight more for the pixel and two for sums beyond white make 32."""


def rows_first(size: tuple[int, int], target: tuple[int, int]) -> bool:
    """Whether Pillow resizes (height, width) along rows first, as `middle` does: since 13, not what gets much lower."""
    return size[0] - target[0] <= max(2 * (size[1] - target[1]), 0)


def middle(pixels: Array, target: tuple[int, int], corner: tuple[int, int], size: tuple[int, int], kind: str) -> Array:
    """What `Image.resize` and a crop would give.

    Parameters
    ----------
    pixels : uint8 array (height, width, 3), in C order
    target : (int, int)
        Height and width of the resized whole.
    corner, size : (int, int)
        Row and column at which the crop begins, and its height and width; it lies within the whole.
    kind : {"bilinear", "bicubic"}

    Returns
    -------
    uint8 array (*size, 3)
    """
    height, width, depth = pixels.shape
    rows = _weights(height, target[0], corner[0], size[0], kind)
    columns = _weights(width, target[1], corner[1], size[1], kind)
    out = np.empty((*size, depth), np.uint8)
    compiled(_SOURCE)(pixels.reshape(height, -1), *columns, *rows, out.reshape(size[0], -1))
    return out


@lru_cache(maxsize=256)
def _weights(length: int, resized: int, first: int, count: int, kind: str) -> tuple[Array, Array]:
    """For each output: its first input, and the weights of that and those after it; as `precompute_coeffs`."""
    scale = length / resized
    wide = max(scale, 1.0)
    reach = wide * (1.0 if kind == "bilinear" else 2.0)
    centre = (np.arange(first, first + count) + 0.5) * scale
    low = np.maximum((centre - reach + 0.5).astype(np.int64), 0)
    high = np.minimum((centre + reach + 0.5).astype(np.int64), length)
    taps = int((high - low).max())
    # All have as many: some begin earlier than they need, with zeros.
    begin = np.minimum(low, length - taps)
    at = begin[:, None] + np.arange(taps)
    weights = _kernel(kind, (at - centre[:, None] + 0.5) * (1.0 / wide))
    weights[(at < low[:, None]) | (at >= high[:, None])] = 0
    # One after the other, as Pillow adds them: `sum` would round otherwise.
    weights /= np.cumsum(weights, axis=1)[:, -1:]
    fixed = (weights * 2**BITS + np.where(weights < 0, -0.5, 0.5)).astype(np.int32)
    return begin.astype(np.uintp), fixed


def _kernel(kind: str, x: Array) -> Array:
    x = np.abs(x)
    if kind == "bilinear":
        return np.where(x < 1, 1 - x, 0.0)
    a = -0.5
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = (((x - 5) * x + 8) * x - 4) * a
    return np.where(x < 1, near, np.where(x < 2, far, 0.0))


_SOURCE = f'''\
"""Written by hpcflow (resampling, version 1); safe to delete."""
import numba
import numpy as np

U = numba.uintp
HALF = np.int32(1 << {BITS - 1})
# Unsigned, so that no index is taken to count from the end.
ZERO, ONE, TWO, THREE = np.uintp(0), np.uintp(1), np.uintp(2), np.uintp(3)
BYTES = numba.uint8[:, ::1]
STARTS, WEIGHTS = numba.uintp[::1], numba.int32[:, ::1]


@numba.njit(nogil=True, cache=CACHED)
def clipped(total):
    return np.uint8(min(max(total >> np.int32({BITS}), np.int32(0)), np.int32(255)))


@numba.njit(
    numba.void(BYTES, STARTS, WEIGHTS, STARTS, WEIGHTS, BYTES), nogil=True, cache=CACHED, error_model="numpy"
)
def kernel(pixels, lefts, across, tops, down, out):
    width, height = np.uintp(across.shape[0]), np.uintp(down.shape[0])
    taps_across, taps_down = np.uintp(across.shape[1]), np.uintp(down.shape[1])
    first = tops[ZERO]
    count = tops[height - ONE] + taps_down - first
    narrow = np.empty((count, THREE * width), np.uint8)
    for y in range(count):
        row, made = pixels[first + y], narrow[y]
        for x in range(width):
            red = green = blue = HALF
            at = THREE * lefts[x]
            for k in range(taps_across):
                weight = across[x, k]
                red += np.int32(weight * np.int32(row[at]))
                green += np.int32(weight * np.int32(row[at + ONE]))
                blue += np.int32(weight * np.int32(row[at + TWO]))
                at += THREE
            to = THREE * x
            made[to], made[to + ONE], made[to + TWO] = clipped(red), clipped(green), clipped(blue)
    totals = np.empty(THREE * width, np.int32)
    for y in range(height):
        totals[:] = HALF
        for k in range(taps_down):
            weight, row = down[y, k], narrow[tops[y] - first + k]
            for i in range(THREE * width):
                totals[i] += np.int32(weight * np.int32(row[i]))
        for i in range(THREE * width):
            out[y, i] = clipped(totals[i])
'''

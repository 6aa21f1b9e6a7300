"""Correlation with a large kernel by Fourier transforms, piece by piece (overlap-save)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import product
from math import log2, prod

import numpy as np

from hpcflow.kernels.planes import all_finite
from hpcflow.namespace import Array, Namespace, companion

TRANSFORM = 1.2
"""What each doubling of a transform costs an element, in multiplications of a direct sum; measured."""
PIECE = 2**19
"""Elements of the largest piece that is transformed at once: it stays near a core's cache."""
ON_DEVICE = 400
"""Elements of a kernel from which on a device transforms; not measured."""
PADS = {"reflect": "symmetric", "mirror": "reflect", "nearest": "edge", "constant": "constant", "wrap": "wrap"}


def correlate(
    x: Array, weights: Array, *, mode: str, cval: float, origins: Sequence[int], xp: Namespace
) -> Array | None:
    """Correlate as `scipy.ndimage.correlate`, or `None` where a direct sum is cheaper or must be.

    It is computed in float64, so right to about 1e-15 of the largest element; integers, whose
    fractions are cut off, and infinities, which a transform would spread, go the direct way.
    """
    if x.dtype.char not in "fd" or not x.size or weights.size == 1 or not np.isfinite(cval):
        return None
    if xp is not np:
        return _on_device(x, weights, mode=mode, cval=cval, origins=origins, xp=xp)
    lengths = piece(x.shape, weights.shape)
    if TRANSFORM * work(lengths, weights.shape) > weights.size:
        return None
    if not all_finite(x):
        return None
    return _pieces(_padded(x, weights, mode=mode, cval=cval, origins=origins, xp=np), weights, lengths, x.shape)


def _padded(x: Array, weights: Array, *, mode: str, cval: float, origins: Sequence[int], xp: Namespace) -> Array:
    """The array with what the kernel sees beyond its ends."""
    before = [n // 2 + o for n, o in zip(weights.shape, origins, strict=True)]
    pads = [(b, n - 1 - b) for b, n in zip(before, weights.shape, strict=True)]
    how = {"constant_values": cval} if mode == "constant" else {}
    return xp.pad(x, pads, PADS[mode], **how)


def _on_device(
    x: Array, weights: Array, *, mode: str, cval: float, origins: Sequence[int], xp: Namespace
) -> Array | None:
    """By the device's own library, the whole block at once: nothing of it would stay in a cache."""
    if weights.size < ON_DEVICE or not (xp.isfinite(x.min()) and xp.isfinite(x.max())):
        return None
    padded = _padded(x, weights, mode=mode, cval=cval, origins=origins, xp=xp).astype(np.float64)
    turned = xp.asarray(np.flip(weights))
    return companion(xp, "signal").fftconvolve(padded, turned, mode="valid").astype(x.dtype)


def piece(shape: Sequence[int], kernel: Sequence[int]) -> tuple[int, ...]:
    """How long a piece is transformed along each axis."""
    from scipy.fft import next_fast_len  # noqa: PLC0415  (only where it transforms)

    def lengths(factor: float) -> tuple[int, ...]:
        return tuple(
            next_fast_len(min(n + k - 1, int(factor * k)), real=True) if k > 1 else 1
            for n, k in zip(shape, kernel, strict=True)
        )

    # At least twice the kernel, however large that is.
    tried = [lengths(2.0)]
    while prod(longer := lengths(2.0 ** (1 + len(tried) / 2))) <= PIECE and len(tried) < 64:
        tried.append(longer)
    return min(tried, key=lambda one: work(one, kernel))


def work(lengths: Sequence[int], kernel: Sequence[int]) -> float:
    """Doublings that are paid for each element that comes out."""
    useful = prod(n - k + 1 for n, k in zip(lengths, kernel, strict=True))
    return 2 * prod(lengths) * log2(max(prod(lengths), 2)) / useful


@lru_cache(maxsize=8)
def _spectrum(content: bytes, shape: tuple[int, ...], sizes: tuple[int, ...], axes: tuple[int, ...]) -> Array:
    """Of the weights: the same for every piece of every tile."""
    import scipy.fft  # noqa: PLC0415  (only where it transforms)

    weights = np.frombuffer(content, np.float64).reshape(shape)
    return np.conj(scipy.fft.rfftn(weights, sizes, axes))


def _pieces(padded: Array, weights: Array, lengths: Sequence[int], shape: Sequence[int]) -> Array:
    import scipy.fft  # noqa: PLC0415  (only where it transforms)

    out = np.empty(shape, padded.dtype)
    axes = tuple(axis for axis, n in enumerate(weights.shape) if n > 1)
    sizes = [lengths[axis] for axis in axes]
    spectrum = _spectrum(weights.tobytes(), weights.shape, tuple(sizes), axes)
    steps = [n - k + 1 if k > 1 else total for n, k, total in zip(lengths, weights.shape, shape, strict=True)]
    for start in product(*(range(0, total, step) for total, step in zip(shape, steps, strict=True))):
        taken = tuple(
            slice(a, a + (n if k > 1 else step))
            for a, n, k, step in zip(start, lengths, weights.shape, steps, strict=True)
        )
        part = np.asarray(padded[taken], np.float64)
        product_ = scipy.fft.rfftn(part, sizes, axes)
        product_ *= spectrum
        made = scipy.fft.irfftn(product_, sizes, axes, overwrite_x=True)
        to = tuple(slice(a, min(a + step, n)) for a, step, n in zip(start, steps, shape, strict=True))
        out[to] = made[tuple(slice(0, one.stop - one.start) for one in to)]
    return out

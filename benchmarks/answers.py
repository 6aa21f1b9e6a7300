"""Whether two answers agree."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import xxhash

SLAB = 2**24
"""Elements compared at a time."""


def keep(answer: Any, path: Path, how: str) -> None:
    """Write an answer where the others find it; of one that must be the same to the byte, hashes."""
    array = answer if hasattr(answer, "shape") else np.asarray(answer)
    if how == "bytes":
        np.save(path, hashes(array))
        return
    if array.ndim == 0:
        np.save(path, np.asarray(array))
        return
    kept = np.lib.format.open_memmap(path, "w+", dtype=array.dtype, shape=array.shape)
    for slab in slabs(array):
        kept[slab] = array[slab]


def hashes(array: Any) -> Any:
    """Of each slab; arrays of one shape in the same chunks have the same slabs."""
    return np.array([xxhash.xxh3_64_intdigest(np.ascontiguousarray(array[slab])) for slab in slabs(array)])


def difference(answer: Any, path: Path, how: str) -> float:
    """How far an answer is from the one that was kept; one for a corner is held against that corner.

    How answers are compared: `values` by the largest difference over the largest magnitude, `labels`
    by the share that differs, `bytes` by the share of slabs that are not the same.
    """
    kept = np.load(path, mmap_mode="r")
    if how == "bytes":
        found = hashes(answer)
        return float(np.mean(found != kept)) if found.shape == kept.shape else float("inf")
    answer = answer if hasattr(answer, "shape") else np.asarray(answer)
    if answer.ndim != kept.ndim or any(a > b for a, b in zip(answer.shape, kept.shape, strict=True)):
        return float("inf")
    if how == "labels":
        return float(np.mean(np.asarray(answer) != kept))
    if answer.ndim == 0:
        return float(abs(answer - kept) / abs(kept))
    kept = kept[tuple(slice(n) for n in answer.shape)]
    worst = largest = 0.0
    for slab in slabs(answer):
        ours, theirs = np.asarray(answer[slab]), kept[slab]
        if ours.dtype.kind in "biu":
            ours, theirs = ours.astype(np.int64), theirs.astype(np.int64)
        gap = float(np.abs(ours - theirs).max())
        if np.isnan(gap):
            return gap
        worst = max(worst, gap)
        largest = max(largest, float(np.abs(theirs).max()))
    return worst / largest if largest else worst


def slabs(array: Any) -> list[tuple[slice, ...]]:
    """Cut an array into pieces of about `SLAB` elements: along one axis, through no chunk that it is stored in."""
    shape = array.shape
    chunks = getattr(array, "chunks", None) or (1,) * len(shape)
    axis = min(range(len(shape)), key=lambda one: chunks[one] / max(shape[one], 1))
    each = max(1, int(np.prod(shape)) // max(shape[axis], 1))
    step = max(1, SLAB // each // chunks[axis]) * chunks[axis]
    before = (slice(None),) * axis
    return [(*before, slice(first, min(first + step, shape[axis]))) for first in range(0, shape[axis], step)]

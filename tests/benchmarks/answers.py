"""Whether two answers agree."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

SLAB = 2**24
"""Elements compared at a time."""


def keep(answer: Any, path: Path) -> None:
    """Write an answer where the others find it."""
    array = answer if hasattr(answer, "shape") else np.asarray(answer)
    if array.ndim == 0:
        np.save(path, np.asarray(array))
        return
    kept = np.lib.format.open_memmap(path, "w+", dtype=array.dtype, shape=array.shape)
    for slab in slabs(array.shape):
        kept[slab] = array[slab]


def difference(answer: Any, path: Path, how: str) -> float:
    """How far an answer is from the one that was kept; one for a corner is held against that corner."""
    kept = np.load(path, mmap_mode="r")
    answer = answer if hasattr(answer, "shape") else np.asarray(answer)
    if answer.ndim != kept.ndim or any(a > b for a, b in zip(answer.shape, kept.shape, strict=True)):
        return float("inf")
    if how == "labels":
        return float(np.mean(np.asarray(answer) != kept))
    if answer.ndim == 0:
        return float(abs(answer - kept) / abs(kept))
    kept = kept[tuple(slice(n) for n in answer.shape)]
    worst = largest = 0.0
    for slab in slabs(answer.shape):
        ours, theirs = np.asarray(answer[slab]), kept[slab]
        if ours.dtype.kind in "biu":
            ours, theirs = ours.astype(np.int64), theirs.astype(np.int64)
        gap = float(np.abs(ours - theirs).max())
        if np.isnan(gap):
            return gap
        worst = max(worst, gap)
        largest = max(largest, float(np.abs(theirs).max()))
    return worst / largest if largest else worst


def slabs(shape: tuple[int, ...]) -> list[slice]:
    """Cut the first axis into pieces of about `SLAB` elements."""
    rows = max(1, SLAB // max(1, int(np.prod(shape[1:]))))
    return [slice(first, min(first + rows, shape[0])) for first in range(0, shape[0], rows)]

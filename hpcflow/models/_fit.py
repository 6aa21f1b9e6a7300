"""The step that brings an array to what a network takes, where there is one."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations

from hpcflow.meta import Meta


def remedy(meta: Meta, frame: Sequence[int | None], dtype: str) -> str:
    """A hint for a network that takes items of this shape (`None` for any length) and dtype; empty for none."""
    fits = _fits(meta.shape[1:], frame)
    orders = permutations(range(1, meta.ndim)) if meta.ndim == len(frame) + 1 <= 6 else ()
    order = next((one for one in orders if _fits([meta.shape[i] for i in one], frame)), None)
    steps = []
    if not fits and order is not None:
        names = [meta.dims[i] for i in (0, *order)]
        axes = [str(i) if None in names else str(meta.dims[i]) for i in (0, *order)]
        steps.append(f"{{op: transpose, of: …, axes: [{', '.join(axes)}]}}")
    if (fits or order is not None) and meta.dtype.name != dtype:
        steps.append(f"{{op: astype, of: …, dtype: {dtype}}}")
    if steps:
        return f"a step before it: `{'`, then `'.join(steps)}`"
    if meta.dims[1:] == ("y", "x", "channel") and meta.items and len(frame) == 3:
        high, wide = (frame[1], frame[2]) if frame[0] == meta.shape[3] else (frame[0], frame[1])
        return f"`size: {high}` makes photos that large" if high is not None and high == wide else ""
    return ""


def _fits(shape: Sequence[int], frame: Sequence[int | None]) -> bool:
    return len(shape) == len(frame) and all(wanted in (n, None) for n, wanted in zip(shape, frame, strict=True))

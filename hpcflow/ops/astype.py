"""Another dtype."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

import numpy as np

from hpcflow.casting import cast
from hpcflow.errors import Mismatch
from hpcflow.meta import Meta
from hpcflow.namespace import Array, Namespace
from hpcflow.parameters import DType
from hpcflow.registry import op

Casting = Literal["wrap", "clip", "refuse", "no", "equiv", "safe", "same_kind", "unsafe"]


def result(meta: Meta, *, dtype: str, casting: Any) -> Meta:
    """The input's with another dtype; raises `Mismatch` for a cast that is not allowed."""
    wanted = np.dtype(dtype)
    if meta.dtype.kind not in "biufc":
        raise Mismatch(f"expected an input of numbers, found {meta.dtype}")
    if meta.dtype.kind == "c" and wanted.kind not in "cb":
        raise Mismatch(
            f"expected a complex dtype, as the input is {meta.dtype}, found {dtype}",
            parameter="dtype",
            hint="say which part of it you want with `op: expr`: `abs`, `real`, `imag` or `angle`",
        )
    if casting not in ("wrap", "clip", "refuse") and not np.can_cast(meta.dtype, wanted, casting):
        raise Mismatch(
            f"expected a dtype that {meta.dtype} can be cast to by `casting: {casting}`, found {dtype}",
            parameter="dtype",
        )
    return replace(meta, dtype=wanted)


def scratch(meta: Meta, *, dtype: str) -> float:
    """Which floats an integer can hold, and a copy with 0 for those that it cannot."""
    return 1 + 2 / meta.dtype.itemsize if meta.dtype.kind == "f" and np.dtype(dtype).kind in "iu" else 1.0


@op(meta=result, scratch=scratch, version=2)
def astype(x: Array, /, *, dtype: DType, casting: Casting = "wrap", xp: Namespace) -> Array:
    """Convert to another dtype, as `numpy.ndarray.astype`.

    Fractions are cut off on the way from floats to integers. Of floats that an integer cannot
    hold, which NumPy leaves undefined, the nearest integer is made, and 0 of NaN. Floats that
    are too large for a smaller float become infinite.

    Parameters
    ----------
    dtype : str
        A NumPy dtype, such as `float32` or `uint8`.
    casting : str
        What becomes of numbers that do not fit: `wrap`, integers wrap around, as NumPy's;
        `clip`, integers too become the nearest one that fits; `refuse`, they end the run, and so
        does NaN on the way to an integer. Or which dtypes are allowed, by NumPy's words: `safe` only what
        keeps every value, `same_kind` also a smaller dtype of the same kind, `unsafe` (as
        `wrap`) anything.

    Examples
    --------
    fine: {op: astype, of: plane, dtype: float32}
    """
    return cast(x, dtype, xp, refuse=casting == "refuse", clip=casting == "clip")

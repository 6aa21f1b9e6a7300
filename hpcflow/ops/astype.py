"""Another dtype."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np

from hpcflow.errors import Mismatch
from hpcflow.meta import Meta
from hpcflow.namespace import Array
from hpcflow.parameters import DType
from hpcflow.registry import op

Casting = Literal["no", "equiv", "safe", "same_kind", "unsafe"]


def result(meta: Meta, *, dtype: str, casting: Casting) -> Meta:
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
    if not np.can_cast(meta.dtype, wanted, casting):
        raise Mismatch(
            f"expected a dtype that {meta.dtype} can be cast to by `casting: {casting}`, found {dtype}",
            parameter="dtype",
        )
    return replace(meta, dtype=wanted)


@op(meta=result, scratch=0)
def astype(x: Array, /, *, dtype: DType, casting: Casting = "unsafe") -> Array:  # noqa: ARG001 (checked by `result`)
    """Convert to another dtype, as `numpy.ndarray.astype`.

    Fractions are cut off on the way to integers, and values that do not fit wrap around: clip
    them first.

    Parameters
    ----------
    dtype : str
        A NumPy dtype, such as `float32` or `uint8`.
    casting : str
        What is allowed: `safe` only what keeps every value, `same_kind` also a smaller dtype of
        the same kind, `unsafe` anything.

    Examples
    --------
    fine: {op: astype, of: plane, dtype: float32}
    """
    return x.astype(dtype, copy=False)

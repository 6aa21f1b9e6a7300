"""What the Fourier transforms share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np

from hpcflow.errors import Mismatch
from hpcflow.meta import Meta
from hpcflow.namespace import Array, Namespace, companion

Norm = Literal["backward", "ortho", "forward"]


def result(meta: Meta, *, axes: Sequence[int]) -> Meta:
    """Complex numbers of the input's precision."""
    if meta.dtype.kind not in "biufc" or meta.dtype.char == "g":
        raise Mismatch(f"expected an input of numbers, found {meta.dtype}")
    if len(set(axes)) < len(axes):
        raise Mismatch(f"expected each axis once, found {list(axes)}", parameter="axes")
    return replace(meta, dtype=_complex(meta.dtype))


def _complex(dtype: np.dtype[Any]) -> np.dtype[Any]:
    return np.dtype(np.complex64 if dtype.char in "efF" else np.complex128)


def scratch(meta: Meta) -> float:
    """The input in a precision that can be transformed; of real numbers only half is, and no complex copy made."""
    return 0 if meta.dtype.char in "fdFD" else _complex(meta.dtype).itemsize / 2 / meta.dtype.itemsize


def transformed(name: str, x: Array, *, axes: Sequence[int], norm: str, cores: int, xp: Namespace) -> Array:
    """Run SciPy's transform, on all cores if the block has them to itself."""
    if not axes:
        return x.astype(_complex(x.dtype))
    run = getattr(companion(xp, "fft"), name)
    workers = {"workers": cores} if xp is np else {}
    return run(x, axes=axes, norm=norm, **workers).astype(_complex(x.dtype), copy=False)

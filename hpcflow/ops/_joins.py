"""What stacking and concatenating share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from hpcflow.errors import Mismatch
from hpcflow.meta import Meta


def common_dtype(metas: Sequence[Any]) -> np.dtype[Any]:
    """The dtype that holds all inputs' values, by NumPy's rules; of metas or arrays."""
    try:
        return np.result_type(*(m.dtype for m in metas))
    except TypeError:
        found = " and ".join(dict.fromkeys(str(m.dtype) for m in metas))
        raise Mismatch(f"expected inputs with a dtype in common, found {found}") from None


def common_dims(metas: Sequence[Meta]) -> tuple[str | None, ...]:
    """The name of every axis, where the inputs that name it agree."""
    dims: list[str | None] = []
    for names in zip(*(m.dims for m in metas), strict=True):
        named = list(dict.fromkeys(name for name in names if name))
        if len(named) > 1:
            raise Mismatch(f"expected inputs whose axes have the same names, found {' and '.join(named)}")
        dims.append(named[0] if named else None)
    return tuple(dims)


def check_shapes(metas: Sequence[Meta], apart_from: int | None = None) -> None:
    """Refuse inputs whose shapes differ, or differ along another axis than `apart_from`."""
    shapes = [m.shape for m in metas]
    alike = [shape[:apart_from] + shape[apart_from + 1 :] for shape in shapes] if apart_from is not None else shapes
    if len({*alike}) > 1 or len({len(shape) for shape in shapes}) > 1:
        beside = "" if apart_from is None else f" but for axis {apart_from}"
        found = " and ".join(dict.fromkeys(map(str, shapes)))
        raise Mismatch(f"expected inputs of one shape{beside}, found {found}")

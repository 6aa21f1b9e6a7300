"""One value everywhere, to try things out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from hpcflow.errors import Mismatch
from hpcflow.meta import Meta
from hpcflow.namespace import Array
from hpcflow.parameters import DType, NonNegativeInt
from hpcflow.regions import Region, Shape, shape_of
from hpcflow.registry import source
from hpcflow.sources._flat import Dims, named


@dataclass(frozen=True)
class FullSource:
    """An array with the same value everywhere."""

    meta: Meta
    value: float

    @property
    def chunks(self) -> Shape | None:
        """None: any region is made directly."""
        return None

    @property
    def identity(self) -> dict[str, Any]:
        """All that the array depends on; the value as text, since JSON knows no infinity."""
        return {"value": repr(self.value), "shape": list(self.meta.shape), "dtype": self.meta.dtype.str}

    def resident(self, region: Region) -> int:  # noqa: ARG002  (as every source's)
        """One element."""
        return self.meta.dtype.itemsize

    def read(self, region: Region) -> Array:
        """One element in memory, seen as a read-only block."""
        return np.broadcast_to(np.array(self.value, self.meta.dtype), shape_of(region))


@source
def full(
    *,
    shape: list[NonNegativeInt],
    value: bool | int | float,  # noqa: PYI041  (pydantic keeps whole numbers only where they are named)
    dtype: DType | None = None,
    dims: Dims = None,
) -> FullSource:
    """Make an array with the same value everywhere, as `numpy.full`.

    Parameters
    ----------
    shape : list of int
        How many elements along each axis.
    value : float, int or bool
        The value of every element.
    dtype : str, optional
        The value's own by default: `float64`, `int64` or `bool`.
    dims : list of str, optional
        A name for each axis; `null` where one has none.

    Examples
    --------
    flat: {from: full, shape: [512, 512], value: 1.5, dtype: float32}
    """
    given = np.dtype(dtype) if dtype else np.array(value).dtype
    if not _holds(given, value):
        raise Mismatch(f"expected a value that {dtype or 'int64'} can hold, found {value}", parameter="value")
    return FullSource(named(shape, given, dims), value)


def _holds(dtype: np.dtype[Any], value: float) -> bool:
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        return value == value // 1 and limits.min <= value <= limits.max
    try:
        np.array(value, dtype)
    except OverflowError:
        return False
    return not dtype.hasobject

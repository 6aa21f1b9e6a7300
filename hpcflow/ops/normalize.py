"""Mean and spread brought to 0 and 1."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from hpcflow.errors import Mismatch
from hpcflow.meta import Meta
from hpcflow.namespace import Array, Namespace
from hpcflow.parameters import Axis
from hpcflow.registry import op

Finite = Annotated[float, Field(allow_inf_nan=False)]


def result(meta: Meta, *, mean: Any, std: Any, axis: int) -> Meta:
    """Floats; raises `Mismatch` for a list that is not as long as the axis, or a `std` of 0."""
    if meta.dtype.kind not in "biuf":
        raise Mismatch(f"expected an input of real numbers, found {meta.dtype}")
    n = meta.shape[axis] if meta.ndim else 1
    for name, value in {"mean": mean, "std": std}.items():
        if isinstance(value, list) and len(value) != n:
            label = meta.dims[axis] or axis
            raise Mismatch(
                f"expected one `{name}`, or one for each of {n} along axis `{label}`, found {len(value)}",
                parameter=name,
            )
    if not np.all(std):
        raise Mismatch(f"expected a `std` other than 0, found {std}", parameter="std")
    return replace(meta, dtype=_float(meta.dtype))


def _float(dtype: np.dtype[Any]) -> np.dtype[Any]:
    return np.result_type(dtype, np.float32) if dtype.kind == "f" else np.dtype(np.float32)


def listed(*, mean: Any, std: Any, axis: int) -> tuple[int, ...]:
    """The axis that a list runs along, which a block must then hold all of."""
    return (axis,) if isinstance(mean, list) or isinstance(std, list) else ()


def doubts(meta: Meta, *, mean: Any, std: Any) -> Iterator[Mismatch]:
    """Numbers that are meant for values from 0 to 1, for integers that go further."""
    top = {"uint8": 255, "uint16": 65535}.get(meta.dtype.name)
    if top is not None and np.any(mean) and np.abs(mean).max() <= 1 and np.abs(std).max() <= 1:
        scaled = [np.round(np.multiply(value, top), 3).tolist() for value in (mean, std)]
        yield Mismatch(
            f"expected a `mean` and a `std` of values from 0 to {top}, found those of values from 0 to 1",
            parameter="mean",
            hint=f"times {top}: `mean: {scaled[0]}, std: {scaled[1]}`",
        )


@op(whole=listed, meta=result, scratch=0, doubts=doubts)
def normalize(
    x: Array, /, *, mean: Finite | list[Finite], std: Finite | list[Finite], axis: Axis = -1, xp: Namespace
) -> Array:
    """Subtract `mean` and divide by `std`, as `torchvision.transforms.Normalize`.

    The result is float32, or float64 for an input of float64.

    Parameters
    ----------
    mean : float or list of float
        One for all, or one for each element (channel) along `axis`.
    std : float or list of float
        One for all, or one for each element (channel) along `axis`.
    axis : axis
        The axis of the channels; the last by default.

    Examples
    --------
    centred: {op: normalize, of: photos, mean: [124, 117, 104], std: [58, 57, 57]}
    """
    dtype = _float(x.dtype)
    shape = [-1 if i == axis else 1 for i in range(x.ndim)]

    def along(value: Any) -> Any:
        return xp.asarray(value, dtype).reshape(shape) if isinstance(value, list) else value

    result = xp.subtract(x, along(mean), dtype=dtype)
    return xp.divide(result, along(std), out=result)

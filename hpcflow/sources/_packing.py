"""What the CF conventions say of stored numbers: packed, unsigned, missing; undone as xarray does."""

from __future__ import annotations

import base64
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from hpcflow.errors import Mismatch
from hpcflow.namespace import Array

ATTRIBUTES = ("_FillValue", "missing_value", "scale_factor", "add_offset", "_Unsigned")
PIECE = 2**20
"""Bytes that are decoded at a time."""
Number = Any
"""Python's, or NumPy's of the type that the attribute has."""


@dataclass(frozen=True)
class Packing:
    """How stored numbers become values: ``stored * scale + offset``, NaN where they are one of `fills`."""

    stored: np.dtype[Any]
    """What the bytes are read as: with `_Unsigned` not what the metadata says."""
    values: np.dtype[Any]
    fills: tuple[Number, ...] = ()
    scale: Number | None = None
    offset: Number | None = None

    def undo(self, raw: Array) -> Array:
        """The values of stored numbers, piece by piece: nothing as large as the block is held beside both."""
        out = np.empty(raw.shape, self.values)
        if raw.ndim == 0 or raw.nbytes <= PIECE:
            self._undo(raw, out)
            return out
        rows = max(1, PIECE * len(raw) // raw.nbytes)
        for start in range(0, len(raw), rows):
            self._undo(raw[start : start + rows], out[start : start + rows])
        return out

    def _undo(self, raw: Array, out: Array) -> None:
        stored = raw.astype(self.stored, copy=False)
        out[...] = stored
        for fill in self.fills:
            out[stored == fill] = np.nan
        if self.scale is not None:
            out *= self.scale
        if self.offset is not None:
            out += self.offset


def packing(dtype: np.dtype[Any], attributes: Mapping[str, Any]) -> Packing | None:
    """How an array with these attributes is decoded; `None` where its numbers are its values.

    Raises
    ------
    Mismatch
        Where an attribute is none of what the conventions allow.
    """
    if dtype.kind not in "iuf":
        return None
    if attributes.get("dtype") == "bool":
        return Packing(dtype, np.dtype(bool))
    scale, offset = (_number(attributes, name) for name in ("scale_factor", "add_offset"))
    given = {name: _fills(attributes, name) for name in ("_FillValue", "missing_value") if name in attributes}
    # Of integers one that is NaN only is none; of floats it is one that leaves the dtype alone.
    said = {name: fills for name, fills in given.items() if fills or dtype.kind not in "iu"}
    stored = _signed(dtype, attributes.get("_Unsigned"), said)
    fills = tuple(dict.fromkeys(fill for one in said.values() for fill in one))
    values = stored
    if fills and (scale is not None or offset is not None):
        values = np.result_type(_floats(stored, scale, offset), np.float16)
    elif fills and stored.kind in "iu":
        values = np.dtype(np.float32 if stored.itemsize <= 2 else np.float64)
    elif not said and (scale is not None or offset is not None):
        values = _floats(stored, scale, offset)
    if values == dtype and scale is None and offset is None and not fills:
        return None
    return Packing(stored, values, fills, scale, offset)


def _signed(dtype: np.dtype[Any], unsigned: Any, said: dict[str, tuple[Number, ...]]) -> np.dtype[Any]:
    """What the numbers are with `_Unsigned`; `_FillValue` among `said` is brought to it."""
    kind = {("i", "true"): "u", ("u", "false"): "i"}.get((dtype.kind, str(unsigned)))
    if kind is None:
        return dtype
    stored = np.dtype(f"{kind}{dtype.itemsize}")
    if "_FillValue" in said:
        whole = 256**dtype.itemsize
        wrapped = (int(fill) % whole for fill in said["_FillValue"])
        said["_FillValue"] = tuple(one - whole * (kind == "i" and one >= whole // 2) for one in wrapped)
    return stored


def _floats(stored: np.dtype[Any], scale: Number | None, offset: Number | None) -> np.dtype[Any]:
    """The dtype of what was packed, as xarray chooses it."""
    if offset is None:
        return np.dtype(type(scale))
    same = scale is not None and type(scale) is type(offset)
    narrow = same and np.dtype(type(scale)) == np.float32 and not (stored.kind in "iu" and stored.itemsize == 4)
    return np.dtype(np.float32 if narrow else np.float64)


def _number(attributes: Mapping[str, Any], name: str) -> Number | None:
    if name not in attributes:
        return None
    value = attributes[name]
    if isinstance(value, (list, np.ndarray)) and np.shape(value) == (1,):
        value = value[0]
    if isinstance(value, (int, float, np.integer, np.floating)):
        return value
    raise _unfit(name, value)


def _fills(attributes: Mapping[str, Any], name: str) -> tuple[Number, ...]:
    value = attributes[name]
    found = [_fill(name, one) for one in (value if isinstance(value, (list, np.ndarray)) else [value])]
    return tuple(one for one in found if one == one)  # noqa: PLR0124  (all but NaN)


def _fill(name: str, value: Any) -> Number:
    """A fill value as it stands in JSON: a number, or (as xarray writes floats) its eight bytes in base64."""
    if isinstance(value, (int, float, np.integer, np.floating)):
        return value
    try:
        if isinstance(value, str) and len(value) == len("AAAAAAAA+H8="):
            found: float = struct.unpack("<d", base64.b64decode(value, validate=True))[0]
            return found
        return float(value)
    except (ValueError, TypeError, struct.error):
        raise _unfit(name, value) from None


def _unfit(name: str, value: Any) -> Mismatch:
    return Mismatch(
        f"expected a number as the attribute `{name}`, found {str(value)[:60]!r}",
        parameter="decode",
        hint="`decode: false` gives the numbers as they are stored",
    )

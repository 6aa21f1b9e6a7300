"""Small results as JSON."""

from __future__ import annotations

import json as codec
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hpcflow.errors import Mismatch
from hpcflow.meta import Column, Meta
from hpcflow.namespace import Array
from hpcflow.registry import sink
from hpcflow.sinks._document import expect_reals, published

LARGEST = 1_000_000


@dataclass(frozen=True)
class Json:
    """A JSON document to be written."""

    path: str

    def views(self, metas: Sequence[Meta]) -> list[Meta]:
        """All of every input, if that is little."""
        expect_reals(metas, "JSON")
        for meta in metas:
            if meta.size > LARGEST:
                raise Mismatch(
                    f"expected at most {LARGEST:,} elements to write to JSON, found {meta.size:,}: {meta}",
                    hint="`to: zarr` and `to: npy` take arrays of any size",
                )
        return list(metas)

    def render(self, columns: Sequence[Column]) -> str | None:
        """Write the document; gives a line to print for each number in it."""
        values = {column.name: value(column) for column in columns}
        document = next(iter(values.values())) if len(values) == 1 else values
        with published(self.path) as part:
            part.write_text(codec.dumps(document, allow_nan=False) + "\n", encoding="utf-8")
        scalars = [column.name for column in columns if column.meta.ndim == 0]
        return "\n".join(f"{name} = {codec.dumps(values[name])}" for name in scalars) or None


def value(column: Column) -> Any:
    """The array as JSON values; `None` for a bad item."""
    plain = nested(np.asarray(column.array))
    return [None if i in column.bad else one for i, one in enumerate(plain)] if column.bad else plain


def nested(array: Array) -> Any:
    """A number, or lists of lists of numbers; a record becomes a dict; NaN and infinities `None`."""
    if array.dtype.names is None:
        if array.dtype.kind != "f" or np.isfinite(array).all():
            return array.tolist()
        finite: Array = np.where(np.isfinite(array), array.astype(object), None)
        return finite.tolist()
    if array.ndim == 0:
        return {name: nested(array[name]) for name in array.dtype.names}
    return [nested(one) for one in array]


@sink
def json(*, path: str) -> Json:
    """Write a number, or a small array, to a JSON file.

    A scalar is written as a number (and printed), an array as nested lists, a record as an
    object; several inputs as one object, by the nodes' names. What JSON has no number for (NaN,
    infinities) and items that could not be read are written as ``null``.

    Parameters
    ----------
    path : str
        The file to write; it is replaced once the new one is whole.

    Examples
    --------
    total: {to: json, of: total, path: out/total.json}
    """
    return Json(str(Path(path).absolute()))

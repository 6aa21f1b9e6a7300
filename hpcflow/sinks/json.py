"""Small results as JSON."""

from __future__ import annotations

import json as codec
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from hpcflow.errors import Mismatch
from hpcflow.meta import Column, Meta, let_go
from hpcflow.namespace import Array
from hpcflow.registry import sink
from hpcflow.schemes import local_path
from hpcflow.sinks._document import expect_reals, published

LARGEST = 1_000_000
PIECE = 2**13
"""Elements that are written at once."""
HELD, NUMBER = 2 * 2**20, 300
"""Bytes for the writing, and for each number of a piece; measured."""


@dataclass(frozen=True)
class Json:
    """A JSON document to be written."""

    path: str

    def views(self, metas: Sequence[Meta]) -> list[Meta]:
        """All of every input, if that is little."""
        expect_reals(metas, "JSON")
        for meta in metas:
            # An empty list is written out as well.
            if (size := prod(max(1, n) for n in meta.shape)) > LARGEST:
                raise Mismatch(
                    f"expected at most {LARGEST:,} elements to write to JSON, found {size:,}: {meta}",
                    hint="`to: zarr` and `to: npy` take arrays of any size",
                )
        return list(metas)

    def held(self, metas: Sequence[Meta]) -> int:
        """A few numbers as Python's, and as text."""
        return HELD + PIECE * NUMBER * max(len(meta.dtype.names or ()) + 1 for meta in metas)

    def render(self, columns: Sequence[Column]) -> str | None:
        """Write the document, a few numbers at a time; gives a line to print for each that stands alone."""
        with published(self.path) as file:
            for place, column in enumerate(columns):
                if len(columns) > 1:
                    file.write(f"{', ' if place else '{'}{codec.dumps(column.name)}: ".encode())
                file.writelines(text.encode() for text in _texts(column.array, column.bad))
            file.write(b"}\n" if len(columns) > 1 else b"\n")
        scalars = [column for column in columns if column.meta.ndim == 0]
        return "\n".join(f"{one.name} = {codec.dumps(nested(np.asarray(one.array)))}" for one in scalars) or None


def _texts(array: Array, bad: Collection[int] = ()) -> Iterator[str]:
    """An array as the pieces of one JSON text; a bad item is `null`."""
    row = prod(max(1, n) for n in array.shape[1:])
    if array.ndim == 0:
        yield codec.dumps(nested(np.asarray(array)), allow_nan=False)
        return
    yield "["
    step = max(1, PIECE // row)
    for start in range(0, len(array), step):
        yield ", " if start else ""
        if row > PIECE and start not in bad:
            yield from _texts(array[start])
            continue
        plain = nested(np.asarray(array[start : start + step]))
        values = [None if start + i in bad else one for i, one in enumerate(plain)]
        yield codec.dumps(values, allow_nan=False)[1:-1]
        let_go(array)
    yield "]"


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
        The file to write; the flow's own of an earlier run is replaced once the new one is whole.

    Examples
    --------
    total: {to: json, of: total, path: out/total.json}
    """
    return Json(local_path(path))

"""Arrays as tables: one row per element, written piece by piece."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np

from hpcflow.errors import Mismatch
from hpcflow.meta import Column, Meta, let_go
from hpcflow.namespace import Array
from hpcflow.sinks._document import (
    class_names,
    expect_names,
    expect_reals,
    first_labels,
    is_ranking,
    printable,
    published,
)

ROWS = 2**17
"""Rows that are in memory at once, and in one row group, at most."""
GROUP = 2**22
"""Bytes of those rows, in numbers."""
HELD, TIMES, TEXT = 8 * 2**20, 12, 260
"""Bytes for the writing; what is held for each byte of those rows; and for each row where it begins with a path or a
label. Measured."""


@dataclass(frozen=True)
class Table:
    """A table to be written."""

    path: str
    labels: str | None
    writer: Callable[[Any, Any], Any]
    """``(path, schema)`` to a context manager with `write`, which takes record batches."""
    provenance: Mapping[str, Any] | None = None

    def signed(self, provenance: Mapping[str, Any]) -> Self:
        """The same table, with its provenance in the metadata of its schema, if the format has any."""
        return replace(self, provenance=provenance)

    def views(self, metas: Sequence[Meta]) -> list[Meta]:
        """All of every input."""
        expect_reals(metas, "a table")
        if len({meta.shape for meta in metas}) > 1:
            found = " and ".join(str(meta) for meta in metas)
            raise Mismatch(f"expected inputs of one shape, as columns of one table; found {found}")
        if self.labels is not None and not any(is_ranking(meta) for meta in metas):
            raise Mismatch(
                f"expected records with a `class_id`, for `labels` to name; found {metas[0]}",
                parameter="labels",
                hint="`op: top_k` gives them",
            )
        expect_names(self.labels, metas)
        return list(metas)

    def held(self, metas: Sequence[Meta]) -> int:
        """What a group of rows takes on its way, and the class names."""
        rows, named = rows_of(metas), any(meta.items for meta in metas) or self.labels is not None
        names = 8 * Path(self.labels).stat().st_size if self.labels else 0
        return HELD + rows * (TIMES * _width(metas) + TEXT * named) + names

    def render(self, columns: Sequence[Column]) -> str | None:
        """Write the table; gives a short one of first labels to print."""
        names = class_names(self.labels) if self.labels else None
        layout = Layout(tuple(columns), names)
        with published(self.path) as part, self.writer(part, self._described(layout.schema())) as writer:
            for batch in layout.batches():
                writer.write(batch)
        return first_labels(columns[0], names or ())

    def _described(self, schema: Any) -> Any:
        if self.provenance is None:
            return schema
        return schema.with_metadata({"hpcflow": json.dumps(self.provenance, sort_keys=True)})


def _width(metas: Sequence[Meta]) -> int:
    """Bytes of a row: where it stands, and its values."""
    return 8 * metas[0].ndim + sum(meta.dtype.itemsize for meta in metas)


def rows_of(metas: Sequence[Meta]) -> int:
    """How many rows of a table are in memory at once."""
    return max(1, min(ROWS, GROUP // max(1, _width(metas)), metas[0].size))


@dataclass(frozen=True)
class Layout:
    """Which columns a table has, and what stands in them."""

    columns: tuple[Column, ...]
    names: Sequence[str] | None
    """Class names, for a column `label` after each `class_id`."""

    @property
    def items(self) -> Sequence[str]:
        """The items along the first axis, if any input has them."""
        return next((column.items for column in self.columns if column.items), ())

    @property
    def bad(self) -> list[int]:
        """The items that could not be read."""
        return sorted(set().union(*(column.bad for column in self.columns)))

    def index_names(self) -> list[str]:
        """What the columns are called that say where an element stands."""
        meta = self.columns[0].meta
        named = [name or f"axis_{axis}" for axis, name in enumerate(meta.dims)]
        return ["path", *named[1:]] if self.items else named

    def fields(self) -> list[tuple[str, int, str | None]]:
        """The columns with values: name, number of the input, and field of its records."""
        taken = set(self.index_names())
        fields: list[tuple[str, int, str | None]] = []
        for number, column in enumerate(self.columns):
            for field in column.meta.dtype.names or (None,):
                name = column.name if field is None else field
                if name in taken:
                    name = f"{column.name}_{field or 'value'}"
                taken.add(name)
                fields.append((name, number, field))
        return fields

    def schema(self) -> Any:
        """The types of the columns, for pyarrow."""
        import pyarrow as pa  # noqa: PLC0415

        columns = [(name, pa.string() if self._is_path(name) else pa.int64()) for name in self.index_names()]
        for name, number, field in self.fields():
            dtype = self.columns[number].meta.dtype
            columns.append((name, _arrow_type(dtype if field is None else dtype[field])))
            if field == "class_id" and self.names is not None:
                columns.append((_label(name), pa.string()))
        return pa.schema(columns)

    def _is_path(self, name: str) -> bool:
        return bool(self.items) and name == "path"

    def batches(self) -> Iterator[Any]:
        """The rows, in C order, a piece at a time. A bad item has one row: its path, and nulls."""
        import pyarrow as pa  # noqa: PLC0415

        shape, schema = self.columns[0].meta.shape, self.schema()
        size, rows = self.columns[0].meta.size, rows_of([column.meta for column in self.columns])
        flat = [column.array.reshape(-1) for column in self.columns]
        for start in range(0, size, rows):
            stop = min(start + rows, size)
            index = np.unravel_index(np.arange(start, stop), shape) if shape else ()
            keep, bad = self._rows(index, stop - start)
            arrays = self._index_columns([one[keep] for one in index], bad[keep])
            for _, number, field in self.fields():
                values = flat[number][start:stop][keep]
                values = values if field is None else values[field]
                arrays.append(_arrow(values, bad[keep]))
                if field == "class_id" and self.names is not None:
                    arrays.append(self._labels(values, bad[keep]))
            yield pa.record_batch(arrays, schema=schema)
            for array in flat:
                let_go(array)

    def _rows(self, index: Sequence[Array], rows: int) -> tuple[Array, Array]:
        """Which rows are written, and which of them are of bad items."""
        if not self.bad:
            return np.ones(rows, bool), np.zeros(rows, bool)
        bad = np.isin(index[0], self.bad)
        first = np.logical_and.reduce([one == 0 for one in index[1:]]) if len(index) > 1 else np.ones(rows, bool)
        return ~bad | first, bad

    def _index_columns(self, index: Sequence[Array], bad: Array) -> list[Any]:
        import pyarrow as pa  # noqa: PLC0415

        arrays = []
        for axis, (numbers, name) in enumerate(zip(index, self.index_names(), strict=True)):
            if axis == 0 and self.items:
                low, high = (int(numbers.min()), int(numbers.max()) + 1) if len(numbers) else (0, 0)
                paths = pa.array([printable(item) for item in self.items[low:high]], pa.string())
                arrays.append(paths.take(_arrow(numbers - low)))
            else:
                # Ranks are counted from 1, as people do.
                arrays.append(_arrow(numbers + (name == "rank"), bad if axis else None))
        return arrays

    def _labels(self, classes: Array, bad: Array) -> Any:
        import pyarrow as pa  # noqa: PLC0415

        unknown = bad | (classes < 0) | (classes >= len(self.names or ()))
        return pa.array(self.names, pa.string()).take(_arrow(np.where(unknown, 0, classes), unknown))


def _label(class_id: str) -> str:
    return "label" if class_id == "class_id" else class_id.removesuffix("class_id") + "label"


def _arrow_type(dtype: np.dtype[Any]) -> Any:
    import pyarrow as pa  # noqa: PLC0415

    # Few readers know half floats.
    return pa.float32() if dtype == np.float16 else pa.from_numpy_dtype(dtype.newbyteorder("="))


def _plain(values: Array) -> Array:
    """The values in this machine's byte order, half floats widened."""
    dtype = np.dtype(np.float32) if values.dtype == np.float16 else values.dtype.newbyteorder("=")
    return np.ascontiguousarray(values, dtype)


def _arrow(values: Array, missing: Array | None = None) -> Any:
    """An Arrow array of some values, null where they are missing.

    `pyarrow.array` would import pandas, wherever that is installed, to see whether it was given any of its own.
    """
    import pyarrow as pa  # noqa: PLC0415

    plain = _plain(values)
    content = np.packbits(plain, bitorder="little") if plain.dtype.kind == "b" else plain
    valid = None if missing is None else pa.py_buffer(np.packbits(~missing, bitorder="little"))
    return pa.Array.from_buffers(_arrow_type(plain.dtype), len(plain), [valid, pa.py_buffer(content)])

"""Tables as CSV files."""

from __future__ import annotations

import csv as codec
from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from typing import Any, BinaryIO

from hpcflow.registry import sink
from hpcflow.schemes import local_path
from hpcflow.sinks._document import existing
from hpcflow.sinks._table import Table


@sink(packages=("pyarrow.parquet", "pyarrow.csv"), base=6 * 2**20)
def csv(*, path: str, labels: str | None = None) -> Table:
    """Write a table to a CSV file, one row per element, with the columns' names in the first line.

    Photos ranked by `top_k` have the columns ``path, rank, class_id, label, score``, with ranks
    from 1. Any other array has one column per axis, by its name, and one with the values, by the
    node's name. An item that could not be read has one row: its path, and nothing else.

    Parameters
    ----------
    path : str
        The file to write; the flow's own of an earlier run is replaced once the new one is whole.
    labels : str
        A text file with one class name per line, the first for class 0: adds the column `label`.

    Examples
    --------
    labels: {to: csv, of: best, path: out/labels.csv, labels: data/imagenet1k_classes.txt}
    """
    return Table(local_path(path), existing(labels), _writer)


@contextmanager
def _writer(file: BinaryIO, schema: Any) -> Iterator[Any]:
    from pyarrow.csv import CSVWriter, WriteOptions  # noqa: PLC0415

    # Arrow puts quotes around every name; here only where a name needs them.
    head = StringIO()
    codec.writer(head, lineterminator="\n").writerow(schema.names)
    file.write(head.getvalue().encode())
    with CSVWriter(file, schema, write_options=WriteOptions(include_header=False)) as writer:
        yield writer

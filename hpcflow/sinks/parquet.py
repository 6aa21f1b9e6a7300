"""Tables as Parquet files."""

from __future__ import annotations

from typing import Any, BinaryIO

from hpcflow.registry import sink
from hpcflow.schemes import local_path
from hpcflow.sinks._document import existing
from hpcflow.sinks._table import Table


@sink(packages=("pyarrow.parquet", "pyarrow.csv"), base=6 * 2**20)
def parquet(*, path: str, labels: str | None = None) -> Table:
    """Write a table to a Parquet file, one row per element.

    Photos ranked by `top_k` have the columns ``path, rank, class_id, label, score``, with ranks
    from 1. Any other array has one column per axis, by its name, and one with the values, by the
    node's name. An item that could not be read has one row: its path, and nulls.

    Parameters
    ----------
    path : str
        The file to write; the flow's own of an earlier run is replaced once the new one is whole.
    labels : str
        A text file with one class name per line, the first for class 0: adds the column `label`.

    Examples
    --------
    labels: {to: parquet, of: best, path: out/labels.parquet, labels: data/imagenet1k_classes.txt}
    """
    return Table(local_path(path), existing(labels), _writer)


def _writer(file: BinaryIO, schema: Any) -> Any:
    from pyarrow.parquet import ParquetWriter  # noqa: PLC0415

    return ParquetWriter(file, schema, compression="zstd")

"""A folder of fetched files and its `manifest.parquet`: a row for every item, in the list's order.

While a fetch goes on its rows are appended to a journal in the hidden folder `.fetch`, so that a
killed one is taken up where it stopped; the manifest is made of it at the end.
"""

from __future__ import annotations

import fcntl
import json
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from sys import intern
from time import monotonic
from types import TracebackType
from typing import IO, Any, BinaryIO, Self

from hpcflow.errors import Mismatch, RunError
from hpcflow.files import mine, private, sweep, sync, written
from hpcflow.ingest.engine import Before
from hpcflow.ingest.items import Result
from hpcflow.ingest.kinds import stem
from hpcflow.ingest.urls import unsigned

NAME = "manifest.parquet"
NOTES = b"hpcflow"
"""The key, in the manifest's metadata, of what trying failed items again takes: name and SHA-256 by row."""
ROWS = 4096
ROWS_WRITTEN = 2**15
ENCODED = json.JSONEncoder(separators=(",", ":")).encode
FLUSHED = 0.5
"""Seconds for which rows may wait to be written."""


@dataclass(frozen=True)
class Row:
    """An item's row, where it stands, and what is needed to fetch it again."""

    index: int
    result: Result
    name: str
    expected: str | None = None
    """The SHA-256 that the list gives."""


class Folder:
    """Owns a folder while a fetch writes there; open it with `with`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.manifest = path / NAME
        self._hidden = path / ".fetch"
        self._flushed = 0.0
        self._before: dict[str, tuple[int, bytes, str, str | None]] = {}

    def __enter__(self) -> Self:
        private(self._hidden)
        self._lock = (self._hidden / "lock").open("w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._lock.close()
            raise RunError(f"`{self.path}` is being written by another fetch") from None
        sweep(self.path)
        old = sorted(self._hidden.glob("journal-*.jsonl"))
        self._look_back(old)
        self._journal: IO[bytes] = (self._hidden / f"journal-{len(old):06}.jsonl").open("wb")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._journal.close()
        self._lock.close()

    def _look_back(self, journals: list[Path]) -> None:
        """Take note of what earlier runs have put here, finished ones and others."""
        if mine(self.manifest):  # else whoever put it there would say what has been fetched
            for row in rows(self.manifest):
                self._note(row.result)
        for journal in journals:
            for row in _journalled(journal):
                self._note(row.result)

    def _note(self, result: Result) -> None:
        if result.path and result.sha256:
            # Hashes and raw bytes: a tenth of the memory that the texts take.
            name = stem(result.path)
            ending = intern(result.path[len(name) :])
            self._before[name] = (_hash(result.url), bytes.fromhex(result.sha256), ending, result.reason)

    def before(self, name: str, url: str) -> Before | None:
        """What an earlier run has put under a name, whatever its ending, if it was for this URL."""
        found = self._before.get(stem(name))
        if found is None or found[0] != _hash(url):
            return None
        return Before(self.path / (stem(name) + found[2]), found[1].hex(), found[3])

    def add(self, row: Row) -> None:
        """Take a row down."""
        record = {**vars(row.result), "index": row.index, "name": row.name, "expected": row.expected}
        self._journal.write(ENCODED(record).encode("utf-8", "replace") + b"\n")
        # What a kill loses of it is in the cache still.
        if monotonic() - self._flushed > FLUSHED:
            self._journal.flush()
            self._flushed = monotonic()

    def publish(self) -> None:
        """Make the manifest of the journal, and sync and rename it into place."""
        self._journal.flush()
        self._before.clear()  # its memory is wanted for the rows
        with written(self.manifest) as file:
            _write(Path(self._journal.name), file)
        for folder in (self.path, self._hidden):
            sync(folder)
        for journal in self._hidden.glob("journal-*.jsonl"):
            journal.unlink()


def _hash(url: str) -> int:
    return hash(unsigned(url))


def _journalled(journal: Path) -> Iterator[Row]:
    with journal.open("rb") as file:
        for line in file:
            with suppress(ValueError):  # a kill tears the last line
                record = json.loads(line)
                index, name, expected = (record.pop(key) for key in ("index", "name", "expected"))
                yield Row(index, Result(**record), name, expected)


def _write(journal: Path, file: BinaryIO) -> None:
    import pyarrow as pa  # noqa: PLC0415  (only where it is used)
    from pyarrow import compute, parquet  # noqa: PLC0415

    taken, failed = _journalled(journal), {}
    tables = [_table([]).append_column("index", pa.array([], pa.int64()))]
    while some := list(islice(taken, ROWS)):
        failed.update({row.index: [row.name, row.expected] for row in some if row.result.path is None})
        indices = pa.array([row.index for row in some], pa.int64())
        tables.append(_table([row.result for row in some]).append_column("index", indices))
    table = pa.concat_tables(tables)
    order = compute.sort_indices(table["index"])
    table = table.drop_columns("index")
    notes = {NOTES: json.dumps({"failed": failed}).encode()}
    with parquet.ParquetWriter(file, table.schema.with_metadata(notes)) as writer:
        # Piece by piece, so that the rows are never in memory twice.
        for start in range(0, len(order), ROWS_WRITTEN):
            writer.write_table(table.take(order[start : start + ROWS_WRITTEN]))


def _table(results: list[Result]) -> Any:
    import pyarrow as pa  # noqa: PLC0415

    text, count = pa.string(), pa.int64()
    types = {"url": text, "path": text, "status": text, "bytes": count, "sha256": text, "tries": count}
    types |= {"seconds": pa.float64(), "reason": text}
    return pa.table({name: pa.array([getattr(one, name) for one in results], of) for name, of in types.items()})


def rows(manifest: Path) -> Iterator[Row]:
    """The rows of a manifest.

    Raises
    ------
    Mismatch
        Where it is none.
    """
    import pyarrow as pa  # noqa: PLC0415
    from pyarrow import parquet  # noqa: PLC0415

    try:
        with parquet.ParquetFile(manifest) as file:
            notes = json.loads((file.schema_arrow.metadata or {}).get(NOTES, b"{}")).get("failed", {})
            names = list(Result.__dataclass_fields__)
            index = 0
            for batch in file.iter_batches(ROWS, columns=names):
                for record in batch.select(names).to_pylist():
                    result = Result(**record)
                    name, expected = notes.get(str(index), (result.path or "", None))
                    _expect_plain(name)
                    yield Row(index, result, name, expected)
                    index += 1
    except FileNotFoundError:
        raise Mismatch(f"expected the manifest of a fetch, found no `{manifest}`", parameter="retry") from None
    except (pa.ArrowException, ValueError, TypeError, KeyError, AttributeError, IsADirectoryError) as error:
        raise Mismatch(
            f"expected the manifest of a fetch, found something else in `{manifest}`: {error}",
            hint="move it away, and fetch the list again: what is in the cache still is not asked for",
        ) from None


def _expect_plain(name: str) -> None:
    """Where a file goes is never taken from someone else's manifest unchecked."""
    if not re.fullmatch(r"(?!\.)[A-Za-z0-9._-]*", name):
        raise ValueError(f"the name {name!r}")

"""Lists of URLs: text, CSV and Parquet files, patterns on object stores. Read piece by piece."""

from __future__ import annotations

import codecs
import csv
import io
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, TextIO

from hpcflow.errors import Mismatch
from hpcflow.files import regular_file
from hpcflow.ingest.elsewhere import opened
from hpcflow.ingest.items import Item
from hpcflow.ingest.urls import WEB, is_url, origin, scheme, shown
from hpcflow.secrets import reveal

LISTS = (".txt", ".csv", ".tsv", ".parquet")
URL_COLUMNS = ("url", "urls", "uri", "href", "link", "path", "file")
LABEL_COLUMNS = ("id", "name")
HASH_COLUMNS = ("sha256", "sha-256", "sha256sum")
HASH = re.compile(r"[0-9a-fA-F]{64}")
HASH_BYTES = 32
ROWS = 4096
LONGEST = 2**17
"""Characters that are read of a line of text: more than any URL has."""
LONGEST_CELL = 2**24
"""Characters of a cell; some tables hold whole pictures as `data:`."""
MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
"""Byte order marks, those that begin like others first."""


def is_list(path: str) -> bool:
    """Whether a path or URL names a list rather than one of the things listed."""
    return path.partition("?")[0].lower().endswith(LISTS)


def is_pattern(path: str) -> bool:
    """Whether a path or URL stands for several; a ``?`` in an HTTP address begins its query."""
    return any(sign in path for sign in ("*", "[") if scheme(path) not in WEB)


def read_list(path: str, *, elsewhere: str | None = None, column: str | None = None) -> Iterator[Item]:
    """The items of a list file.

    Parameters
    ----------
    path : str
        A local text file (one URL a line; empty lines and those that begin with ``#`` are left
        out), or a CSV or Parquet file with a column of URLs. Text is UTF-8, UTF-16 or UTF-32 with
        their byte order marks, or anything that has no NUL: bytes that are no UTF-8 are kept.
    elsewhere : str, optional
        The URL that the file came from. What such a list names is not what the user wrote: only
        the host that it came from is trusted as if it were.
    column : str, optional
        The column of URLs, where it is not called `url`.

    Raises
    ------
    Mismatch
        Where it is no text or table, there is no column of URLs, or something is no SHA-256.
    """
    ending = Path(elsewhere.partition("?")[0] if elsewhere else path).suffix.lower()
    home = origin(elsewhere) if elsewhere else None
    rows = _parquet(path, column) if ending == ".parquet" else _table(path, ending, column)
    if ending not in (".parquet", ".csv", ".tsv"):
        plain = (line.strip() for line in _lines(path, LONGEST))
        rows = ((line, None, None) for line in plain if line and not line.startswith("#"))
    for url, label, sha256 in rows:
        if sha256 and not HASH.fullmatch(sha256):
            raise Mismatch(f"expected a SHA-256 of 64 hex digits for `{shown(url)}`, found {sha256[:80]!r}")
        trusted = home is None or (is_url(url) and origin(url) == home)
        yield Item(url, label or None, sha256.lower() if sha256 else None, trusted)


def _lines(path: str, longest: int = -1) -> Iterator[str]:
    """The lines of a text with their ends; of one that is longer than wanted, its beginning."""
    with _opened(path) as file:
        number = 0
        while line := file.readline(longest):
            number += 1
            if "\0" in line:
                raise _no_text(path, "a NUL", number, Path(path).read_bytes().index(b"\0"))
            yield line
            while len(line) == longest and line[-1] not in "\r\n":
                line = file.readline(longest)


def _opened(path: str) -> TextIO:
    """A list as text; what is no UTF-8 in it is there still, as surrogates."""
    file = open(path, "rb", opener=regular_file)  # noqa: SIM115  (`Path.open` has no opener; the caller closes)
    start = file.read(4)
    file.seek(0)
    encoding = next((name for mark, name in MARKS if start.startswith(mark)), "")
    if not encoding:
        return io.TextIOWrapper(file, "utf-8-sig", "surrogateescape", newline="")
    with file:
        content = file.read()
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        line = content[: error.start].decode(encoding, "ignore").count("\n") + 1
        raise _no_text(path, f"what is no {encoding.upper()}", line, error.start) from None
    before, nul, _ = text.partition("\0")
    if nul:
        raise _no_text(path, "a NUL", before.count("\n") + 1, len(before.encode(encoding)))
    return io.StringIO(text, newline="")


def _no_text(path: str, found: str, line: int, byte: int) -> Mismatch:
    return Mismatch(
        f"expected a list of URLs as text, found {found} in line {line} of `{path}`, at byte {byte}",
        hint="save it as UTF-8, or as UTF-16 with its byte order mark",
    )


def _table(path: str, ending: str, column: str | None) -> Iterator[tuple[str, str | None, str | None]]:
    csv.field_size_limit(max(csv.field_size_limit(), LONGEST_CELL))
    rows = _rows(path, csv.reader(_lines(path), delimiter="\t" if ending == ".tsv" else ",", strict=True))
    head = next(rows, None)
    if head is None:
        return
    places = _columns(head, column)
    if places is None:
        # No names of columns above them: the first row is one of URLs already.
        bare = [i for i, cell in enumerate(head) if is_url(cell.strip())]
        if column is not None or not bare:
            raise _no_column(path, column, head)
        places, rows = (bare[0], None, None), chain([head], rows)
    for row in rows:
        cells = [row[i].strip() if i is not None and i < len(row) else "" for i in places]
        if cells[0]:
            yield cells[0], cells[1], cells[2]


def _rows(path: str, reader: Any) -> Iterator[list[str]]:
    """The rows that hold anything; a quote that nothing closes would else take all that follows for one cell."""
    while True:
        line = reader.line_num + 1
        try:
            row = next(reader, None)
        except csv.Error as error:
            raise Mismatch(
                f"expected a row of a table in line {line} of `{path}`, found none: {error}",
                hint="a cell that begins with a quote ends with one, and those within it are doubled",
            ) from None
        if row is None:
            return
        if any(row):
            yield row


def _parquet(path: str, column: str | None) -> Iterator[tuple[str, str | None, str | None]]:
    import pyarrow as pa  # noqa: PLC0415  (only where it is used)
    from pyarrow import parquet  # noqa: PLC0415

    os.close(regular_file(path))  # Arrow would wait for a pipe
    try:
        with parquet.ParquetFile(path) as file:
            names = file.schema_arrow.names
            places = _columns(names, column)
            if places is None:
                raise _no_column(path, column, names)
            wanted = [names[i] for i in places if i is not None]
            for batch in file.iter_batches(ROWS, columns=wanted):
                columns: list[list[Any]] = [
                    _cells(batch.column(names[i])) if i is not None else [None] * len(batch) for i in places
                ]
                for url, label, sha256 in zip(*columns, strict=True):
                    if url:
                        yield _text(url) or "", _text(label), _hash(sha256)
    except pa.ArrowException as error:
        raise Mismatch(f"expected a Parquet file, found something else in `{path}`: {error}") from None


def _cells(column: Any) -> list[Any]:
    """A column's values; of texts their bytes, since not every writer has made sure that they are UTF-8."""
    import pyarrow as pa  # noqa: PLC0415

    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type) or pa.types.is_string_view(column.type):
        column = column.cast(pa.large_binary())
    found: list[Any] = column.to_pylist()
    return found


def _text(value: Any) -> str | None:
    """A cell as text; some writers leave it as plain bytes."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "surrogateescape")
    return None if value is None else str(value)


def _hash(value: Any) -> str | None:
    return value.hex() if isinstance(value, bytes) and len(value) == HASH_BYTES else _text(value)


def _columns(names: Sequence[str], column: str | None) -> tuple[int, int | None, int | None] | None:
    """Where URL, label and SHA-256 stand; `None` where there are no URLs."""
    plain = [name.strip().lower() for name in names]

    def place(known: Iterable[str]) -> int | None:
        return next((plain.index(name) for name in known if name in plain), None)

    urls = place([column.lower()] if column else URL_COLUMNS)
    return None if urls is None else (urls, place(LABEL_COLUMNS), place(HASH_COLUMNS))


def _no_column(path: str, column: str | None, names: Sequence[str]) -> Mismatch:
    found = ", ".join(f"`{name}`" for name in names[:10])
    return Mismatch(f"expected a column `{column or 'url'}` in `{path}`, found {found or 'none'}")


def expand(pattern: str, options: str, keep: Callable[[str], bool] | None = None) -> list[str]:
    """The URLs that a pattern, or a folder, on a file system stands for, in order.

    Raises
    ------
    FileNotFoundError
        Where there are none.
    """
    system, path = opened(reveal(pattern), options)
    if is_pattern(pattern):
        found = system.glob(path)
    elif system.isdir(path):
        found = [one for one in system.ls(path, detail=False) if not system.isdir(one)]
    else:
        found = [path] if system.exists(path) else []
    head = pattern.partition("://")[0]
    urls = [f"{head}://{one.lstrip('/') if head != 'file' else one}" for one in sorted(found)]
    if not found:
        raise FileNotFoundError(2, "no such file or folder, and no file matches it", shown(pattern))
    return [url for url in urls if keep is None or keep(url)]

"""What the documents (tables, JSON, pictures) have in common."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from hpcflow.errors import Mismatch
from hpcflow.files import regular_file, sweep, sync, written
from hpcflow.meta import Column, Meta


@contextmanager
def published(path: str) -> Iterator[BinaryIO]:
    """A file to write to, which gets the name `path` once it is whole and on the disk."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    sweep(Path(path).parent)
    with written(path) as file:
        yield file
    sync(Path(path).parent)


def existing(path: str | None) -> str | None:
    """The absolute path of a file that is there; raises `FileNotFoundError` where it is not."""
    if path is None:
        return None
    try:
        os.close(regular_file(path))
    except Mismatch as error:
        raise Mismatch(str(error), parameter="labels") from None
    return str(Path(path).absolute())


def class_names(path: str | None) -> list[str]:
    """The lines of a file with one class name per line, the first for class 0; raises `Mismatch` for no text."""
    if path is None:
        return []
    with open(path, "rb", opener=regular_file) as file:
        content = file.read()
    try:
        return content.decode("utf-8-sig").rstrip().splitlines()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        what = f"the byte {content[error.start]:#04x} in line {line}"
        raise Mismatch(f"expected class names in UTF-8 in `{path}`, found {what}", parameter="labels") from None


def expect_names(path: str | None, metas: Sequence[Meta]) -> None:
    """Raise `Mismatch` unless a file has a name for each class, and no more."""
    for meta in metas:
        if path is not None and meta.classes is not None and (found := len(class_names(path))) != meta.classes:
            raise Mismatch(
                f"expected a name for each of {meta.classes} classes, one a line, in `{path}`, found {found}",
                parameter="labels",
            )


def class_name(names: Sequence[str], number: int) -> str:
    """A class's name, or its number where it has none."""
    return names[number] if 0 <= number < len(names) else f"class {number}"


def is_ranking(meta: Meta) -> bool:
    """Whether the elements are records of `top_k`."""
    return meta.dtype.names is not None and {"class_id", "score"} <= set(meta.dtype.names)


def expect_reals(metas: Sequence[Meta], into: str) -> None:
    """Raise `Mismatch` unless the arrays hold real numbers or records of them."""
    for meta in metas:
        kinds = [meta.dtype[name] for name in meta.dtype.names] if meta.dtype.names else [meta.dtype]
        if any(kind.kind not in "biuf" for kind in kinds):
            raise Mismatch(f"expected real numbers to write to {into}, found {meta.dtype}")


def first_labels(column: Column, names: Sequence[str], limit: int = 20) -> str | None:
    """A table, as text, of the best class of each item; `None` where there is no such thing."""
    if not (is_ranking(column.meta) and column.items and column.array.ndim == 2):
        return None
    rows = [("path", "label", "score")]
    for index, item in enumerate(column.items[:limit]):
        if index in column.bad:
            rows.append((printable(item), "unreadable", ""))
            continue
        best = column.array[index, 0]
        rows.append((printable(item), class_name(names, int(best["class_id"])), f"{best['score']:.3f}"))
    widths = [max(len(row[i]) for row in rows) for i in range(3)]
    lines = [f"{a:<{widths[0]}}  {b:<{widths[1]}}  {c:>{widths[2]}}".rstrip() for a, b, c in rows]
    more = len(column.items) - limit
    return "\n".join([*lines, *([f"… and {more:,} more"] if more > 0 else [])])


def printable(path: str) -> str:
    """A path as text that any encoding of Unicode takes: bytes that are none are replaced."""
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "replace")

"""What an output is, and as much of it as fits on a screen."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from hpcflow.errors import Mismatch
from hpcflow.files import regular_file
from hpcflow.ingest.urls import is_url
from hpcflow.meta import Meta
from hpcflow.namespace import Array
from hpcflow.registry import function
from hpcflow.sampling import Sample, channels, sample
from hpcflow.schemes import localised
from hpcflow.sizes import show_size
from hpcflow.sources._stores import store_of

BINS = 64
TEXT = 4096
"""Characters of a text that are shown."""
CELL = 60
"""Characters of a cell of a table that are shown."""


@dataclass(frozen=True)
class ArrayView:
    """A plane of an array, thinned out, and what is known of the whole."""

    path: str
    meta: Meta
    stored: str
    """How it is stored, in words."""
    sample: Sample
    levels: tuple[tuple[int, ...], ...] = ()
    """The shapes of a pyramid's levels."""

    @cached_property
    def values(self) -> Array:
        """The finite numbers of the sample; of complex ones the magnitudes."""
        return self.sample.values

    @cached_property
    def histogram(self) -> tuple[Array, Array]:
        """Counts and edges, of the sample."""
        counts, edges = np.histogram(self.values, bins=BINS)
        return counts, edges

    @property
    def facts(self) -> list[tuple[str, str]]:
        """What there is to say in words."""
        read, there = self.sample.chunks
        plane = " ".join(f"{n or axis}={i}" for axis, (n, i) in enumerate(zip(self.meta.dims, self.sample.index)))  # noqa: B905  (the plane's own axes follow)
        taken = " x ".join(map(str, self.sample.picture.shape[:2])) + " elements"
        part = f", from {read:,} of {there:,} chunks" if read < there else ""
        facts = [
            ("array", f"{self.meta}, {show_size(self.meta.nbytes)}"),
            ("stored", self.stored),
            *([("levels", " ".join(str(shape) for shape in self.levels))] if self.levels else []),
            ("shown", f"{plane and f'{plane}: '}{taken}{part}"),
        ]
        if self.values.size:
            low, high, mean = self.values.min(), self.values.max(), self.values.mean()
            facts.append(("values", f"from {low:.6g} to {high:.6g}, mean {mean:.6g}"))
        return facts

    def to_json(self) -> dict[str, Any]:
        """As `view --json` prints it."""
        counts, edges = self.histogram
        return {
            "path": self.path,
            "kind": "array",
            "shape": list(self.meta.shape),
            "dims": list(self.meta.dims),
            "dtype": str(self.meta.dtype),
            "stored": self.stored,
            "levels": [list(shape) for shape in self.levels],
            "index": list(self.sample.index),
            "shown": list(self.sample.picture.shape),
            "histogram": {"counts": counts.tolist(), "edges": edges.tolist()},
        }


@dataclass(frozen=True)
class TableView:
    """The first rows of a table."""

    path: str
    columns: tuple[tuple[str, str], ...]
    """Names and types."""
    count: int | None
    """How many rows there are, where that is known without reading them all."""
    rows: tuple[tuple[Any, ...], ...]

    @property
    def facts(self) -> list[tuple[str, str]]:
        """What there is to say in words."""
        counted = "" if self.count is None else f"{self.count:,} rows of "
        return [("table", f"{counted}{len(self.columns)} columns")]

    def to_json(self) -> dict[str, Any]:
        """As `view --json` prints it."""
        names = [name for name, _ in self.columns]
        rows = [dict(zip(names, map(_plain, row), strict=True)) for row in self.rows]
        return {"path": self.path, "kind": "table", "columns": dict(self.columns), "count": self.count, "rows": rows}


@dataclass(frozen=True)
class TextView:
    """The beginning of a text."""

    path: str
    text: str

    @property
    def facts(self) -> list[tuple[str, str]]:
        """Nothing beside the text."""
        return []

    def to_json(self) -> dict[str, Any]:
        """As `view --json` prints it."""
        return {"path": self.path, "kind": "text", "text": self.text}


View = ArrayView | TableView | TextView


def look(path: str, *, side: int, rows: int, component: str = "", index: Sequence[int] | None = None) -> View:
    """Open an output and read as much of it as is shown.

    Parameters
    ----------
    path : str
        A Zarr array or an OME-Zarr group, as folder or URL; a `.npy`, `.parquet`, `.csv`, `.json`
        or image file.
    side, rows : int
        The most elements of a picture each way, and the most rows of a table.
    component : str
        The array within a Zarr group.
    index : sequence of int, optional
        Which plane of an array of three or more axes.

    Raises
    ------
    Mismatch
        Where it is nothing that can be looked at.
    """
    path = localised(path)
    if not is_url(path) and not Path(path).exists():
        raise Mismatch(f"expected an output, found nothing at `{path}`")
    if is_url(path) or Path(path).is_dir() or path.lower().endswith(".zip"):
        return _zarr(path, component, side, index)
    if component:
        raise Mismatch(f"expected a Zarr folder with a component, found a file `{path}`", parameter="component")
    suffix = Path(path).suffix.lower()
    os.close(regular_file(path))
    if suffix not in READERS:
        known = ", ".join(f"`{one}`" for one in READERS)
        raise Mismatch(f"expected a Zarr folder or a file that ends in {known}; found `{path}`")
    return READERS[suffix](path, side, rows, index)


def _zarr(path: str, component: str, side: int, index: Sequence[int] | None) -> View:
    components = [component] if component else _levels(path)
    opened = [_opened("zarr", path=path, component=one) for one in components]
    first = opened[0]
    enough = [one for one in opened if min(_plane(one.meta), default=1) >= min(side, *_plane(first.meta), side)]
    taken = enough[-1]
    if index is not None and taken is not first:
        lead = range(len(index))
        index = [
            i * taken.meta.shape[a] // max(first.meta.shape[a], 1) if a < first.meta.ndim else i
            for a, i in zip(lead, index, strict=True)
        ]
    shown = sample(taken, side, index)
    shards = getattr(first, "shards", None)
    stored = f"Zarr, chunks {first.chunks}" + (f" in shards {shards}" if shards else "")
    shapes = tuple(one.meta.shape for one in opened) if len(opened) > 1 else ()
    return ArrayView(path, first.meta, stored, shown, shapes)


def _opened(kind: str, **parameters: Any) -> Any:
    """A source; the command has no parameter `path` that could be named."""
    try:
        return function("sources", kind)(**parameters)
    except Mismatch as error:
        parameter = None if error.parameter == "path" else error.parameter
        raise Mismatch(str(error), parameter=parameter, hint=error.hint) from None


def _plane(meta: Meta) -> tuple[int, ...]:
    lead = max(meta.ndim - 2 - bool(channels(meta)), 0)
    return meta.shape[lead : lead + 2]


def _levels(path: str) -> list[str]:
    """The arrays of a pyramid, the largest first; for anything else the array itself."""
    import zarr  # noqa: PLC0415  (half a second)

    try:
        attributes: dict[str, Any] = zarr.open_group(store_of(path, "{}"), mode="r").attrs.asdict()
        multiscales = attributes.get("ome", attributes)["multiscales"]
        return [str(one["path"]) for one in multiscales[0]["datasets"]] or [""]
    except Exception:  # noqa: BLE001  (whatever it is instead, the source says so)
        return [""]


def _npy(path: str, side: int, rows: int, index: Sequence[int] | None) -> View:  # noqa: ARG001
    opened = _opened("npy", path=path)
    order = ", in Fortran order" if opened.order == "F" else ""
    return ArrayView(path, opened.meta, f"npy{order}", sample(opened, side, index))


def _image(path: str, side: int, rows: int, index: Sequence[int] | None) -> View:  # noqa: ARG001
    from PIL import Image, UnidentifiedImageError  # noqa: PLC0415

    try:
        with Image.open(path) as image:
            width, height = image.size
            mode, form = image.mode, image.format
            image.draft("RGB", (side, side))
            image.thumbnail((side, side))
            pixels = np.asarray(image.convert("RGB"))
    except (UnidentifiedImageError, OSError, Image.DecompressionBombError) as error:
        raise Mismatch(f"expected an image in `{path}`, found none that can be read: {error}") from None
    meta = Meta((height, width, 3), np.dtype("uint8"), ("y", "x", "channel"))
    return ArrayView(path, meta, f"{form} image, mode {mode}", Sample(pixels, (), (1, 1)))


def _parquet(path: str, side: int, rows: int, index: Sequence[int] | None) -> View:  # noqa: ARG001
    import pyarrow as pa  # noqa: PLC0415
    import pyarrow.parquet as pq  # noqa: PLC0415

    try:
        with pq.ParquetFile(path) as file:
            batches = islice(file.iter_batches(batch_size=max(rows, 1)), 1)
            table = pa.Table.from_batches(batches, file.schema_arrow).slice(0, rows)
            return _table(path, table, file.metadata.num_rows)
    except pa.ArrowInvalid as error:
        raise Mismatch(f"expected a Parquet file in `{path}`, found something else: {error}") from None


def _csv(path: str, side: int, rows: int, index: Sequence[int] | None) -> View:  # noqa: ARG001
    import pyarrow as pa  # noqa: PLC0415
    from pyarrow import csv  # noqa: PLC0415

    try:
        with csv.open_csv(path) as file:
            table = pa.Table.from_batches(islice(file, 1), file.schema).slice(0, rows)
    except pa.ArrowInvalid as error:
        raise Mismatch(f"expected a CSV file in `{path}`, found something else: {error}") from None
    return _table(path, table, None)


def _table(path: str, table: Any, count: int | None) -> TableView:
    columns = tuple((field.name, str(field.type)) for field in table.schema)
    cells = [column.to_pylist() for column in table.columns]
    return TableView(path, columns, count, tuple(zip(*cells, strict=True)))


def _text(path: str, side: int, rows: int, index: Sequence[int] | None) -> View:  # noqa: ARG001
    with Path(path).open(encoding="utf-8", errors="replace") as file:
        text = file.read(TEXT + 1)
    return TextView(path, text if len(text) <= TEXT else text[:TEXT] + "…")


def _plain(value: Any) -> Any:
    return value if isinstance(value, (int, float, str, bool, type(None))) else str(value)


READERS: dict[str, Callable[[str, int, int, Sequence[int] | None], View]] = {
    ".npy": _npy,
    ".parquet": _parquet,
    ".csv": _csv,
    ".json": _text,
    ".png": _image,
    ".jpg": _image,
    ".jpeg": _image,
}

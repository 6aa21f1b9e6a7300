"""What a run has made, at a glance: a plane and a histogram, labelled photos, the first rows.

Reads little: a plane, of a large one its middle; the first rows of a table.
"""

from __future__ import annotations

import base64
import csv
import io
import time
from collections.abc import Mapping, Sequence
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from hpcflow.meta import Meta
from hpcflow.namespace import Array
from hpcflow.report.diagram import shape
from hpcflow.sampling import Opened, Sample, pixels, sample
from hpcflow.sizes import show_size

MOST = 12
"""Outputs that are shown."""
PLANE = 2**26
"""Bytes that are decoded for a picture, but one chunk in any case."""
CHUNKS = 512
"""Chunks that are decoded for a picture: to open each takes a millisecond, however small it is."""
SIDE = 512
"""Pixels of a picture's longer side."""
BINS = 96
ROWS = 8
PHOTOS = 12
THUMBNAIL = 160
TEXT = 1500
"""Characters that are shown of a JSON document."""
SMALL = 16_384
"""Pixels up to which a picture is kept without loss."""


def pictures(
    outputs: Sequence[Mapping[str, Any]], folder: Path, until: float, room: int = 4 * PLANE
) -> list[dict[str, Any]]:
    """What there is to see of each output.

    Parameters
    ----------
    outputs : sequence of mapping
        As in ``report.json``.
    folder : Path
        What relative paths start from.
    until : float
        The time, by `time.monotonic`, from which on outputs are only named.
    room : int
        Bytes that may be held meanwhile.
    """
    shown = [{"name": one["name"], "path": one["path"], "about": _about(one)} for one in outputs[:MOST]]
    # Chunks have to be decoded: what is cheaper to look at comes first.
    for one in sorted(shown, key=lambda one: (folder / one["path"]).is_dir()):
        if time.monotonic() < until or one["path"].endswith(".json"):
            try:
                one.update(_picture(folder / one["path"], folder, until, min(PLANE, room // 4)))
            except Exception as error:  # noqa: BLE001  (a picture is never worth a report)
                one["caption"] = f"no picture: {error}"
    return shown


def _about(output: Mapping[str, Any]) -> str:
    dtype = str(output.get("dtype", ""))
    return " ".join(filter(None, (shape(output.get("shape"), []), "records" if dtype.startswith("[") else dtype)))


def _picture(path: Path, folder: Path, until: float, most: int) -> dict[str, Any]:
    if path.suffix == ".json":
        with path.open(encoding="utf-8") as file:
            return {"text": file.read(TEXT)}
    if path.suffix in (".parquet", ".csv"):
        return table(path, folder, until, most)
    if path.suffix in (".png", ".jpg", ".jpeg"):
        return _drawn(path, most)
    if path.suffix == ".npy":
        return array(np.load(path, mmap_mode="r"), most)
    if path.is_dir():
        import zarr  # noqa: PLC0415  (the run has it by now)

        opened = zarr.open(path, mode="r")
        return array(opened if isinstance(opened, zarr.Array) else opened["0"], most)
    return {}


def array(lazy: Any, most: int = PLANE) -> dict[str, Any]:
    """A plane of an array and the histogram of it.

    Parameters
    ----------
    lazy : array
        A mapped file, or an array of Zarr; only a part of it is read.
    most : int
        Bytes that are decoded.
    """
    if lazy.dtype.names or lazy.dtype.kind not in "biufc" or not prod(lazy.shape):
        return {}
    # Neither kind of file says for sure which axis holds colours.
    colours = lazy.ndim > 2 and lazy.shape[-1] in (3, 4)
    dims = (*[None] * (lazy.ndim - 1), "channel") if colours else ()
    chunks = None if isinstance(lazy, np.ndarray) else lazy.chunks
    opened = Opened(lazy, Meta(lazy.shape, lazy.dtype, dims), chunks)
    if (each := prod(chunks or ()) * lazy.dtype.itemsize) > most:
        return {"caption": f"no picture: one chunk has {show_size(each)}"}
    most = min(most, CHUNKS * each) if chunks else most
    seen = sample(opened, SIDE if lazy.ndim > 1 else SIDE**2, decoded=most, spread=False)
    single = seen.picture.reshape(-1)
    shown: dict[str, Any] = {"text": str(single[0])} if single.size == 1 else _histogram(seen.values)
    if lazy.ndim > 1:
        shown |= {"image": _encoded(pixels(seen.picture)), "caption": _where(seen)}
    return shown


def _where(seen: Sample) -> str:
    read, there = seen.chunks
    words = [f"plane {', '.join(map(str, seen.index))}"] if seen.index else []
    return ", ".join(words + ([f"the middle {read:,} of its {there:,} chunks"] if read < there else []))


def _histogram(values: Array) -> dict[str, Any]:
    if not values.size:
        return {"text": "no finite value"}
    counts, _ = np.histogram(values, BINS)
    heights = counts / counts.max() * 100
    bars = "".join(f"M{i} 100V{100 - h:.1f}h.9V100Z" for i, h in enumerate(heights) if h)
    drawn = f'<svg viewBox="0 0 {BINS} 100" preserveAspectRatio="none" role="img"><path d="{bars}"/></svg>'
    return {"histogram": drawn, "low": f"{values.min():.6g}", "high": f"{values.max():.6g}"}


def _encoded(colours: Array) -> str:
    from PIL import Image  # noqa: PLC0415

    return _shown(Image.fromarray(np.ascontiguousarray(colours)), SIDE)


def _drawn(path: Path, most: int) -> dict[str, Any]:
    from PIL import Image  # noqa: PLC0415

    with Image.open(path) as image:
        image.draft(image.mode, (2 * SIDE, 2 * SIDE))
        if _held(image) > most:
            return {"caption": f"{image.width} × {image.height} pixels: too large to be shown here"}
        image.load()
        return {"image": _shown(image, 2 * SIDE)}


def _held(image: Any) -> int:
    """Bytes of a picture as Pillow holds it: four for each pixel that has colours."""
    return int(image.width * image.height * (1 if len(image.getbands()) == 1 else 4))


def _shown(image: Any, side: int) -> str:
    """A picture as a URL that holds it."""
    image.thumbnail((side, side))
    content, kind = io.BytesIO(), "png"
    if image.width * image.height <= SMALL:
        image.save(content, "PNG")
    else:
        kind = "jpeg"
        image.convert("RGB" if len(image.getbands()) > 1 else "L").save(content, "JPEG", quality=85)
    return f"data:image/{kind};base64,{base64.b64encode(content.getvalue()).decode()}"


def table(path: Path, folder: Path, until: float, most: int = PLANE) -> dict[str, Any]:
    """The first rows of a table, and the photos that they are of, where these can be read."""
    columns, rows = _parquet(path) if path.suffix == ".parquet" else _csv(path)
    shown: dict[str, Any] = {"columns": columns, "rows": [[_cell(one) for one in row] for row in rows[:ROWS]]}
    if {"path", "label", "score"} <= set(columns):
        records = [dict(zip(columns, row, strict=True)) for row in rows]
        best = [one for one in records if str(one.get("rank", 1)) == "1" and one["label"]]
        shown["photos"] = _photos(best[:PHOTOS], folder, until, most)
    return shown


def _parquet(path: Path) -> tuple[list[str], list[list[Any]]]:
    from pyarrow.parquet import ParquetFile  # noqa: PLC0415

    with ParquetFile(path) as file:
        batch = next(file.iter_batches(batch_size=PHOTOS * 100), None)
        names = list(file.schema_arrow.names)
    return names, [] if batch is None else [list(row.values()) for row in batch.to_pylist()]


def _csv(path: Path) -> tuple[list[str], list[list[Any]]]:
    with path.open(newline="", encoding="utf-8") as file:
        rows = [row for row, _ in zip(csv.reader(file), range(PHOTOS * 100), strict=False)]
    return (rows[0], rows[1:]) if rows else ([], [])


def _cell(value: Any) -> str:
    return "" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)


def _photos(records: Sequence[Mapping[str, Any]], folder: Path, until: float, most: int) -> list[dict[str, str]]:
    from PIL import Image, ImageOps  # noqa: PLC0415

    photos = []
    for one in records:
        path = folder / str(one["path"])
        if time.monotonic() > until or not path.is_file():
            continue
        with Image.open(path) as image:
            image.draft("RGB", (2 * THUMBNAIL, 2 * THUMBNAIL))
            if _held(image) > most:
                continue
            square = ImageOps.fit(image.convert("RGB"), (THUMBNAIL, THUMBNAIL))
        shown = {"label": str(one["label"]), "score": f"{float(one['score']):.2f}"}
        photos.append({"name": path.name, "image": _shown(square, THUMBNAIL), **shown})
    return photos

"""What a run has made, at a glance: a plane and a histogram, labelled photos, the first rows.

Reads little: a plane where that is small, else its middle; the first rows of a table.
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

from hpcflow.namespace import Array
from hpcflow.report.diagram import shape

MOST = 12
"""Outputs that are shown."""
PLANE = 2**25
"""Bytes of a plane that are decoded."""
SIDE = 512
"""Pixels of a picture's longer side."""
SAMPLE = 2**18
"""Elements that a histogram is made of."""
BINS = 96
ROWS = 8
PHOTOS = 12
THUMBNAIL = 160
TEXT = 1500
"""Characters that are shown of a JSON document."""
SMALL = 16_384
"""Pixels up to which a picture is kept without loss."""


def pictures(outputs: Sequence[Mapping[str, Any]], folder: Path, until: float) -> list[dict[str, Any]]:
    """What there is to see of each output.

    Parameters
    ----------
    outputs : sequence of mapping
        As in ``report.json``.
    folder : Path
        What relative paths start from.
    until : float
        The time, by `time.monotonic`, from which on outputs are only named.
    """
    shown = [{"name": one["name"], "path": one["path"], "about": _about(one)} for one in outputs[:MOST]]
    # Chunks have to be decoded: what is cheaper to look at comes first.
    for one in sorted(shown, key=lambda one: (folder / one["path"]).is_dir()):
        if time.monotonic() < until or one["path"].endswith(".json"):
            try:
                one.update(_picture(folder / one["path"], folder, until))
            except Exception as error:  # noqa: BLE001  (a picture is never worth a report)
                one["caption"] = f"no picture: {error}"
    return shown


def _about(output: Mapping[str, Any]) -> str:
    dtype = str(output.get("dtype", ""))
    return " ".join(filter(None, (shape(output.get("shape"), []), "records" if dtype.startswith("[") else dtype)))


def _picture(path: Path, folder: Path, until: float) -> dict[str, Any]:
    if path.suffix == ".json":
        return {"text": path.read_text(encoding="utf-8")[:TEXT]}
    if path.suffix in (".parquet", ".csv"):
        return table(path, folder, until)
    if path.suffix in (".png", ".jpg", ".jpeg"):
        return _drawn(path)
    if path.suffix == ".npy":
        return array(np.load(path, mmap_mode="r"))
    if path.is_dir():
        import zarr  # noqa: PLC0415  (the run has it by now)

        opened = zarr.open(str(path), mode="r")
        return array(opened if isinstance(opened, zarr.Array) else opened["0"])
    return {}


def array(lazy: Any) -> dict[str, Any]:
    """A plane of an array and the histogram of it.

    Parameters
    ----------
    lazy : array
        Anything with `shape`, `dtype` and slices; only a part of it is read.
    """
    if lazy.dtype.names or lazy.dtype.kind not in "biufc" or not prod(lazy.shape):
        return {}
    index, where = _plane(lazy)
    values = np.asarray(lazy[index])
    values = np.abs(values) if values.dtype.kind == "c" else values
    shown: dict[str, Any] = _histogram(values) if values.size > 1 else {"text": str(values.reshape(-1)[0])}
    if values.ndim >= 2:
        shown |= {"image": _encoded(_pixels(values)), "caption": where}
    return shown


def _plane(lazy: Any) -> tuple[tuple[Any, ...], str]:
    """The middle plane, or as much of its middle as may be read; in words, too."""
    extents = tuple(lazy.shape)
    colours = 1 if len(extents) > 2 and extents[-1] in (3, 4) else 0
    last = len(extents) - colours
    index: list[Any] = [n // 2 for n in extents[: max(last - 2, 0)]]
    words = [f"plane {', '.join(map(str, index))}"] if index else []
    chunks = getattr(lazy, "chunks", None) or (1,) * len(extents)
    plane = extents[len(index) : last]
    # A view of a mapped file costs only the rows that are looked at.
    each = lazy.dtype.itemsize * (extents[-1] if colours else 1)
    part = [(0, n) for n in plane]
    while not isinstance(lazy, np.memmap) and prod(b - a for a, b in part) * each > PLANE:
        longest = max(range(len(part)), key=lambda i: part[i][1] - part[i][0])
        part[longest] = _half(*part[longest], chunks[len(index) + longest])
        if part[longest][1] - part[longest][0] <= chunks[len(index) + longest]:
            break
    if part != [(0, n) for n in plane]:
        words.append(f"its middle, {', '.join(f'{a}:{b}' for a, b in part)}")
    step = max(1, *(-(-(b - a) // SIDE) for a, b in part)) if len(plane) > 1 else 1
    index += [slice(a, b, step) for a, b in part]
    return tuple(index), ", ".join(words)


def _half(start: int, stop: int, chunk: int) -> tuple[int, int]:
    """The middle half of an interval, in whole chunks."""
    quarter = (stop - start) // 4 // chunk * chunk
    return start + quarter, max(start + chunk + quarter, stop - quarter - (stop - start) % chunk)


def _histogram(values: Array) -> dict[str, Any]:
    flat = values.reshape(-1)
    flat = np.asarray(flat[:: max(1, flat.size // SAMPLE)], np.float64)
    finite = flat[np.isfinite(flat)]
    if not finite.size:
        return {"text": "no finite value"}
    low, high = float(finite.min()), float(finite.max())
    counts, _ = np.histogram(finite, BINS, (low, high if high > low else low + 1))
    heights = counts / counts.max() * 100
    bars = "".join(f"M{i} 100V{100 - h:.1f}h.9V100Z" for i, h in enumerate(heights) if h)
    drawn = f'<svg viewBox="0 0 {BINS} 100" preserveAspectRatio="none" role="img"><path d="{bars}"/></svg>'
    return {"histogram": drawn, "low": f"{low:.6g}", "high": f"{high:.6g}"}


def _pixels(values: Array) -> Array:
    """Bytes, from the least to the greatest but for half a percent at either end."""
    if values.dtype == np.uint8:
        return values
    if values.dtype == bool:
        return np.where(values, np.uint8(255), np.uint8(0))
    numbers = np.asarray(values, np.float32)
    finite = numbers[np.isfinite(numbers)]
    low, high = np.percentile(finite[:: max(1, finite.size // SAMPLE)], (0.5, 99.5)) if finite.size else (0, 1)
    with np.errstate(all="ignore"):
        scaled = np.clip((numbers - np.float32(low)) * np.float32(255 / ((high - low) or 1.0)), 0, 255)
    return np.where(np.isnan(scaled), np.float32(0), scaled).astype(np.uint8)


def _encoded(pixels: Array) -> str:
    from PIL import Image  # noqa: PLC0415

    return _shown(Image.fromarray(np.ascontiguousarray(pixels)), SIDE)


def _drawn(path: Path) -> dict[str, Any]:
    from PIL import Image  # noqa: PLC0415

    with Image.open(path) as image:
        image.load()
        return {"image": _shown(image, 2 * SIDE)}


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


def table(path: Path, folder: Path, until: float) -> dict[str, Any]:
    """The first rows of a table, and the photos that they are of, where these can be read."""
    columns, rows = _parquet(path) if path.suffix == ".parquet" else _csv(path)
    shown: dict[str, Any] = {"columns": columns, "rows": [[_cell(one) for one in row] for row in rows[:ROWS]]}
    if {"path", "label", "score"} <= set(columns):
        records = [dict(zip(columns, row, strict=True)) for row in rows]
        best = [one for one in records if str(one.get("rank", 1)) == "1" and one["label"]]
        shown["photos"] = _photos(best[:PHOTOS], folder, until)
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


def _photos(records: Sequence[Mapping[str, Any]], folder: Path, until: float) -> list[dict[str, str]]:
    from PIL import Image, ImageOps  # noqa: PLC0415

    photos = []
    for one in records:
        path = folder / str(one["path"])
        if time.monotonic() > until or not path.is_file():
            continue
        with Image.open(path) as image:
            image.draft("RGB", (2 * THUMBNAIL, 2 * THUMBNAIL))
            square = ImageOps.fit(image.convert("RGB"), (THUMBNAIL, THUMBNAIL))
        shown = {"label": str(one["label"]), "score": f"{float(one['score']):.2f}"}
        photos.append({"name": path.name, "image": _shown(square, THUMBNAIL), **shown})
    return photos

"""Drawing, with Pillow what it knows; imported only when a picture is drawn."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from hpcflow.meta import Column, let_go
from hpcflow.namespace import Array
from hpcflow.regions import pieces, slices, whole
from hpcflow.sinks._grid import ABOVE, GAP, LINES, Grid, thinning

PAPER, INK, FAINT, BLANK = "#ffffff", "#1f2328", "#6e7781", "#d8dee4"
PIECE = 2**18
"""Elements of a picture that are scaled at once."""


def image(array: Array) -> Iterator[Array]:
    """An array (y, x) or (y, x, channel) as bytes, strip by strip."""
    bounds = _range([array])
    for strip in _pieces(array):
        yield strip if bounds is None else _scaled(strip, *bounds)


def sheet(pictures: Column, captions: Sequence[tuple[str, str]], grid: Grid) -> Iterator[Array]:
    """Pictures side by side, two lines of text under each, row by row; a bad one is a grey tile."""
    arrays = (_thinned(pictures, i) for i in range(len(captions)) if i not in pictures.bad)
    bounds = _range(arrays)
    width, height = grid.size[0], grid.tile[1] + grid.text + GAP
    yield np.asarray(Image.new("RGB", (width, GAP), PAPER))
    for first in range(0, len(captions), grid.across):
        paper = Image.new("RGB", (width, height), PAPER)
        for column, caption in enumerate(captions[first : first + grid.across]):
            picture = None
            if first + column not in pictures.bad:
                picture = _image(_thinned(pictures, first + column), bounds).convert("RGB")
            _place(paper, grid, column, picture, caption)
        yield from _pieces(np.asarray(paper))


def _thinned(pictures: Column, index: int) -> Array:
    """A picture as large as it is drawn from, read a few rows at a time."""
    step, photo = thinning(pictures.meta), pictures.array[index]
    thin = np.empty((-(-photo.shape[0] // step), -(-photo.shape[1] // step), *photo.shape[2:]), photo.dtype)
    rows = max(1, PIECE // max(1, photo.size // photo.shape[0]))
    for start in range(0, len(thin), rows):
        thin[start : start + rows] = photo[start * step : (start + rows) * step : step, ::step]
        let_go(photo)
    return thin


def _place(paper: Image.Image, grid: Grid, column: int, picture: Image.Image | None, caption: tuple[str, str]) -> None:
    pen = ImageDraw.Draw(paper)
    left, _ = grid.corner(column)
    width, height = grid.tile
    if picture is None:
        pen.rectangle((left, 0, left + width - 1, height - 1), BLANK)
        font = _font(LINES[0])
        pen.text((left + width / 2, height / 2), _shortened("unreadable", font, width), FAINT, font, anchor="mm")
    else:
        if picture.size != grid.tile:
            picture = picture.resize(grid.tile, Image.Resampling.LANCZOS)
        paper.paste(picture, (left, 0))
    below = height + ABOVE
    for line, size, ink in zip(caption, grid.lines, (INK, FAINT), strict=True):
        if size:
            pen.text((left, below), _shortened(line, _font(size), grid.width), ink, _font(size))
            below += size + 8


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def _shortened(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> str:
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "…") > width:
        text = text[:-1]
    return text.rstrip() + "…"


def _range(arrays: Iterable[Array]) -> tuple[float, float] | None:
    """The least and the greatest finite value; `None` for bytes, which are drawn as they are."""
    low, high = np.inf, -np.inf
    for array in arrays:
        if array.dtype == np.uint8:
            return None
        for piece in _pieces(array):
            rows = np.asarray(piece, np.float64)
            finite = rows[np.isfinite(rows)]
            if finite.size:
                low, high = min(low, float(finite.min())), max(high, float(finite.max()))
    return (low, high) if low <= high else (0.0, 1.0)


def _pieces(array: Array) -> Iterator[Array]:
    """An array from its first element to its last, a few at a time."""
    for region in pieces(array.shape, PIECE):
        yield array[slices(region, whole(array.shape))]
        let_go(array)


def _image(array: Array, bounds: tuple[float, float] | None) -> Image.Image:
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if bounds is None:
        return Image.fromarray(array)
    pixels = np.empty(array.shape, np.uint8)
    for region in pieces(array.shape, PIECE):
        part = slices(region, whole(array.shape))
        pixels[part] = _scaled(array[part], *bounds)
    return Image.fromarray(pixels)


def _scaled(rows: Array, low: float, high: float) -> Array:
    # What is no number is black; infinities are as far as it goes.
    values = np.nan_to_num((np.asarray(rows, np.float64) - low) / ((high - low) or 1.0), nan=0.0)
    return np.rint(np.clip(values, 0, 1) * 255).astype(np.uint8)

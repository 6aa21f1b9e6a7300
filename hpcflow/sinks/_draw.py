"""Drawing with Pillow; imported only when a picture is drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, sqrt

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from hpcflow.meta import Column
from hpcflow.namespace import Array

TILE = 256
"""The longest side of a photo on a contact sheet."""
GAP = 16
LINES = (16, 12)
"""Sizes of the two lines of text under a photo."""
ABOVE = 6
"""Room between a photo and its text."""
PAPER, INK, FAINT, BLANK = "#ffffff", "#1f2328", "#6e7781", "#d8dee4"
ROWS = 1024
"""Rows of a large plane that are scaled at once."""


def image(array: Array) -> Image.Image:
    """An array (y, x) or (y, x, channel) as an image."""
    return _image(array, _range([array]))


@dataclass(frozen=True)
class Grid:
    """Where things stand on a contact sheet, in pixels."""

    tile: tuple[int, int]
    """Width and height of a photo."""
    across: int
    down: int
    lines: tuple[int, ...]
    """Sizes of the lines of text under each photo; 0 for one that no photo has."""

    @property
    def width(self) -> int:
        """Of a photo's place: text needs some room."""
        return max(self.tile[0], 112)

    @property
    def text(self) -> int:
        """Height of the text under each photo."""
        lines = [size + 8 for size in self.lines if size]
        return ABOVE + sum(lines) if lines else 0

    @property
    def size(self) -> tuple[int, int]:
        """Of the whole sheet."""
        step = self.tile[1] + self.text + GAP
        return GAP + self.across * (self.width + GAP), GAP + self.down * step

    def corner(self, index: int) -> tuple[int, int]:
        """The left upper corner of a photo's place."""
        row, column = divmod(index, self.across)
        return GAP + column * (self.width + GAP), GAP + row * (self.tile[1] + self.text + GAP)


def sheet(pictures: Column, captions: Sequence[tuple[str, str]], columns: int | None) -> Image.Image:
    """Pictures side by side, two lines of text under each; a bad one is a grey tile."""
    height, width = pictures.meta.shape[1:3]
    # Every n-th pixel of a very large picture is enough for its tile.
    step = max(1, max(height, width) // (4 * TILE))
    arrays = {i: pictures.array[i, ::step, ::step] for i in range(len(captions)) if i not in pictures.bad}
    bounds = _range(list(arrays.values()))
    scale = min(1.0, TILE / max(height, width))
    across = min(columns or ceil(sqrt(len(captions))), len(captions))
    lines = tuple(size if any(texts) else 0 for size, texts in zip(LINES, zip(*captions, strict=True), strict=True))
    tile = max(1, round(width * scale)), max(1, round(height * scale))
    grid = Grid(tile, across, ceil(len(captions) / across), lines)
    paper = Image.new("RGB", grid.size, PAPER)
    for index, caption in enumerate(captions):
        picture = _image(arrays[index], bounds).convert("RGB") if index in arrays else None
        _place(paper, grid, index, picture, caption)
    return paper


def _place(paper: Image.Image, grid: Grid, index: int, picture: Image.Image | None, caption: tuple[str, str]) -> None:
    pen = ImageDraw.Draw(paper)
    left, top = grid.corner(index)
    width, height = grid.tile
    if picture is None:
        pen.rectangle((left, top, left + width - 1, top + height - 1), BLANK)
        font = _font(LINES[0])
        pen.text((left + width / 2, top + height / 2), _shortened("unreadable", font, width), FAINT, font, anchor="mm")
    else:
        if picture.size != grid.tile:
            picture = picture.resize(grid.tile, Image.Resampling.LANCZOS)
        paper.paste(picture, (left, top))
    below = top + height + ABOVE
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


def _range(arrays: Sequence[Array]) -> tuple[float, float] | None:
    """The least and the greatest finite value; `None` for bytes, which are drawn as they are."""
    if not arrays or arrays[0].dtype == np.uint8:
        return None
    low, high = np.inf, -np.inf
    for array in arrays:
        for start in range(0, len(array), ROWS):
            rows = np.asarray(array[start : start + ROWS], np.float64)
            finite = rows[np.isfinite(rows)]
            if finite.size:
                low, high = min(low, float(finite.min())), max(high, float(finite.max()))
    return (low, high) if low <= high else (0.0, 1.0)


def _image(array: Array, bounds: tuple[float, float] | None) -> Image.Image:
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    pixels = np.empty(array.shape, np.uint8)
    for start in range(0, len(array), ROWS):
        rows = slice(start, start + ROWS)
        pixels[rows] = array[rows] if bounds is None else _scaled(array[rows], *bounds)
    return Image.fromarray(pixels)


def _scaled(rows: Array, low: float, high: float) -> Array:
    # What is no number is black; infinities are as far as it goes.
    values = np.nan_to_num((np.asarray(rows, np.float64) - low) / ((high - low) or 1.0), nan=0.0)
    return np.rint(np.clip(values, 0, 1) * 255).astype(np.uint8)

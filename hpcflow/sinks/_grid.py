"""Where the pictures of a contact sheet stand. Pure arithmetic."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, sqrt

from hpcflow.meta import Meta

TILE = 256
"""The longest side of a photo on a contact sheet."""
GAP = 16
LINES = (16, 12)
"""Sizes of the two lines of text under a photo."""
ABOVE = 6
"""Room between a photo and its text."""


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
        """The left upper corner of a picture's place."""
        row, column = divmod(index, self.across)
        return GAP + column * (self.width + GAP), GAP + row * (self.tile[1] + self.text + GAP)


def grid_of(meta: Meta, lines: Sequence[int], columns: int | None) -> Grid:
    """Where the pictures of an array stand."""
    count, height, width = meta.shape[:3]
    scale = min(1.0, TILE / max(height, width))
    across = min(columns or ceil(sqrt(count)), count)
    tile = max(1, round(width * scale)), max(1, round(height * scale))
    return Grid(tile, across, ceil(count / across), tuple(lines))


def thinning(meta: Meta) -> int:
    """Every n-th pixel of a very large picture is enough for its tile."""
    return max(1, max(meta.shape[1:3]) // (4 * TILE))


def lines_of(captions: Sequence[tuple[str, str]]) -> list[int]:
    """Sizes of the lines of text that any picture has."""
    return [size if any(texts) else 0 for size, texts in zip(LINES, zip(*captions, strict=True), strict=True)]

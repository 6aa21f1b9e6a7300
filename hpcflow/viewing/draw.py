"""A look at an output, on a terminal and as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from rich.console import Console, Group, RenderableType
from rich.style import Style
from rich.table import Table
from rich.text import Text

from hpcflow.files import written
from hpcflow.namespace import Array
from hpcflow.sampling import pixels
from hpcflow.viewing.look import CELL, ArrayView, TableView, TextView, View

COLUMNS, LINES = 80, 30
"""The most of a terminal that a picture takes."""
BARS = " ▁▂▃▄▅▆▇█"
SHADES = " ░▒▓█"
HEIGHT = 4
"""Lines of a histogram."""
WIDE, MARGIN, TALL = 640, 16, 120
"""Pixels of a picture: its width, the paper around it, its histogram's height."""


def show(view: View, console: Console) -> None:
    """Print a look at an output: in full on a terminal, facts and rows alone in a pipe."""
    if not console.is_terminal:
        _print(plain(view), console)
        return
    console.print(Text(view.path, "bold"))
    if isinstance(view, ArrayView) and view.values.size:
        console.print(thumbnail(view, console))
        console.print(bars(view, min(console.width, COLUMNS)))
    if view.facts:
        console.print(_facts(view.facts))
    if isinstance(view, TableView):
        console.print(_grid(view))
    if isinstance(view, TextView):
        _print(view.text.rstrip("\n"), console)


def _print(text: str, console: Console) -> None:
    # Rich would turn tabs into spaces.
    console.file.write(f"{text}\n")


def plain(view: View) -> str:
    """What a pipe gets: `name<tab>fact` lines, rows with tabs between their cells, or the text."""
    lines = ["\t".join(fact) for fact in view.facts]
    if isinstance(view, TableView):
        cells = [[name for name, _ in view.columns], *(map(str, row) for row in view.rows)]
        lines += ["\t".join(row) for row in cells]
    if isinstance(view, TextView):
        lines.append(view.text.rstrip("\n"))
    return "\n".join(lines)


def _facts(facts: Sequence[tuple[str, str]]) -> RenderableType:
    table = Table.grid(padding=(0, 2))
    for name, text in facts:
        table.add_row(Text(name, "dim"), Text(text))
    return table


def _grid(view: TableView) -> RenderableType:
    table = Table()
    for name, kind in view.columns:
        table.add_column(Group(Text(name), Text(kind, "dim")))
    for row in view.rows:
        table.add_row(*(Text(str(cell) if len(str(cell)) <= CELL else f"{str(cell)[:CELL]}…") for cell in row))
    return table


def resized(image: Array, width: int, height: int) -> Array:
    """The picture at another size: means where it shrinks, larger dots where it grows."""
    from PIL import Image  # noqa: PLC0415

    shrinks = image.shape[0] > height or image.shape[1] > width
    how = Image.Resampling.BOX if shrinks else Image.Resampling.NEAREST
    return np.asarray(Image.fromarray(np.ascontiguousarray(image)).resize((width, height), how))


def fitted(shape: Sequence[int], wide: int, high: int) -> tuple[int, int]:
    """Width and height of a picture of this shape in a room of this size."""
    scale = min(wide / shape[1], high / shape[0])
    return max(1, min(wide, round(shape[1] * scale))), max(1, min(high, round(shape[0] * scale)))


def thumbnail(view: ArrayView, console: Console) -> Text:
    """The sample in half blocks, two pixels in each; in shades where there are no colours."""
    image = pixels(view.sample.picture)
    width, height = fitted(image.shape, min(console.width, COLUMNS), 2 * LINES)
    small = resized(image, width, height + height % 2)
    text = Text()
    for top, bottom in zip(small[::2], small[1::2], strict=True):
        for above, below in zip(top.tolist(), bottom.tolist(), strict=True):
            if console.color_system is None:
                share = (sum(above) + sum(below)) / (6 * 256)
                text.append(SHADES[int(share * len(SHADES))])
            else:
                text.append("▀", _colours(above, below))
        text.append("\n")
    text.rstrip()
    return text


def _colours(above: Sequence[int], below: Sequence[int]) -> Style:
    front, back = ("#{:02x}{:02x}{:02x}".format(*one) for one in (above, below))
    return Style(color=front, bgcolor=back)


def bars(view: ArrayView, width: int) -> Text:
    """The histogram in lines of blocks, its ends under it."""
    counts, edges = view.histogram
    wide = max(1, min(width, 2 * len(counts)) // len(counts))
    heights = np.ceil(counts / counts.max() * HEIGHT * (len(BARS) - 1)).astype(int)
    text = Text()
    for line in reversed(range(HEIGHT)):
        filled = np.clip(heights - line * (len(BARS) - 1), 0, len(BARS) - 1)
        text.append("".join(BARS[one] * wide for one in filled) + "\n")
    low, high = f"{edges[0]:.6g}", f"{edges[-1]:.6g}"
    text.append(f"{low}{high:>{max(wide * len(counts) - len(low), len(high) + 1)}}", "dim")
    return text


def save(view: ArrayView, path: str) -> None:
    """Draw the look at an array as a PNG: the picture, its histogram, the facts."""
    from PIL import Image, ImageDraw, ImageFont  # noqa: PLC0415

    image = pixels(view.sample.picture)
    width, height = fitted(image.shape, WIDE, WIDE) if image.size else (WIDE, 1)
    font: Any = ImageFont.load_default(14)
    lines = [view.path, *(f"{name}: {text}" for name, text in view.facts)]
    needed = max([WIDE, *(int(font.getlength(line)) + 1 for line in lines)])
    top = MARGIN + height + MARGIN
    paper = Image.new("RGB", (needed + 2 * MARGIN, top + TALL + MARGIN + 20 * len(lines) + MARGIN), "white")
    if image.size:
        paper.paste(Image.fromarray(resized(image, width, height)), (MARGIN, MARGIN))
    pen = ImageDraw.Draw(paper)
    counts, _ = view.histogram
    step = WIDE / len(counts)
    for number, share in enumerate((counts / max(counts.max(), 1)).tolist()):
        left = MARGIN + number * step
        pen.rectangle((left, top + TALL * (1 - share), left + step - 2, top + TALL), "#4477aa")
    for number, line in enumerate(lines):
        pen.text((MARGIN, top + TALL + MARGIN + 20 * number), line, "black", font)
    with written(path, lasting=False) as file:
        paper.save(file, "PNG")

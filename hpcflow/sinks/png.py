"""Pictures: one image, or a contact sheet of many."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path

from hpcflow import scanlines
from hpcflow.errors import Mismatch
from hpcflow.meta import Column, Meta
from hpcflow.parameters import PositiveInt
from hpcflow.registry import sink
from hpcflow.schemes import local_path
from hpcflow.sinks._document import class_name, class_names, existing, expect_names, is_ranking, printable, published
from hpcflow.sinks._grid import GAP, LINES, grid_of, lines_of, thinning

HELD = 24 * 2**20
"""Bytes of what is scaled, filtered and packed at once; measured."""
BAND, PIXEL = 12, 12
"""Bytes for each pixel of a row of a contact sheet, and for each of a picture on its way there."""
LARGEST = 178_956_970
"""Pixels of one image; Pillow opens no larger ones."""


@dataclass(frozen=True)
class Png:
    """A picture to be written."""

    path: str
    labels: str | None
    limit: int
    columns: int | None

    def views(self, metas: Sequence[Meta]) -> list[Meta]:
        """One image, or the first pictures of many and their labels."""
        picture, *ranked = metas
        if not is_picture(picture):
            raise Mismatch(
                "expected an image (y, x) or (y, x, channel), or pictures (n, y, x) or (n, y, x, channel), "
                f"with 1, 3 or 4 channels of real numbers; found {picture}"
            )
        if not is_many(picture):
            if ranked:
                raise Mismatch(f"expected one image alone, found a second input {ranked[0]}")
            _expect_small(picture, picture.shape[:2], "`op: isel` takes every n-th pixel, or a part")
            return [picture]
        if len(ranked) > 1 or any(not _labels(meta, picture) for meta in ranked):
            raise Mismatch(
                "expected as second input the records of `top_k` for each picture, "
                f"found {' and '.join(str(meta) for meta in ranked)}"
            )
        expect_names(self.labels, ranked)
        shown = [_first(meta, self.limit) for meta in metas]
        _expect_small(picture, grid_of(shown[0], LINES, self.columns).size, "show fewer pictures by `limit`")
        return shown

    def held(self, metas: Sequence[Meta]) -> int:
        """Some rows of an image; of a contact sheet a row of pictures, and the picture that is put there."""
        picture = metas[0]
        if not is_many(picture):
            return HELD
        grid, step = grid_of(picture, LINES, self.columns), thinning(picture)
        seen = -(-picture.shape[1] // step) * -(-picture.shape[2] // step)
        row = picture.nbytes // max(1, picture.shape[0] * picture.shape[1])
        band = grid.size[0] * (grid.tile[1] + grid.text + GAP)
        return HELD + row + BAND * band + seen * (PIXEL + prod(picture.shape[3:]) * (picture.dtype.itemsize + 1))

    def render(self, columns: Sequence[Column]) -> None:
        """Draw the picture and write it, row by row."""
        from hpcflow.sinks import _draw  # noqa: PLC0415

        picture = columns[0]
        if is_many(picture.meta):
            texts = captions(columns, class_names(self.labels))
            grid = grid_of(picture.meta, lines_of(texts), self.columns)
            size, channels, strips = grid.size, 3, _draw.sheet(picture, texts, grid)
        else:
            height, width = picture.meta.shape[:2]
            size, channels, strips = (width, height), prod(picture.meta.shape[2:]), _draw.image(picture.array)
        with published(self.path) as file:
            scanlines.write(file, size, channels, strips)


def captions(columns: Sequence[Column], names: Sequence[str]) -> list[tuple[str, str]]:
    """Two lines of text for each picture: its first label; its file and the label's score."""
    pictures, *ranked = columns
    bad = frozenset[int]().union(*(column.bad for column in columns))
    lines = []
    for index in range(pictures.meta.shape[0]):
        label, about = "", [printable(Path(pictures.items[index]).name)] if pictures.items else []
        if ranked and index not in bad:
            best = ranked[0].array[index, 0]
            label = class_name(names, int(best["class_id"]))
            about.append(f"{best['score']:.2f}")
        lines.append((label, "   ".join(about)))
    return lines


def is_many(meta: Meta) -> bool:
    """Whether there are pictures along the first axis."""
    return meta.items is not None or meta.ndim == 4 or (meta.ndim == 3 and meta.shape[2] not in (1, 3, 4))


def is_picture(meta: Meta) -> bool:
    """Whether it can be drawn."""
    frame = meta.shape[1:] if is_many(meta) else meta.shape
    channels = len(frame) == 2 or (len(frame) == 3 and frame[2] in (1, 3, 4))
    return channels and meta.size > 0 and meta.dtype.names is None and meta.dtype.kind in "biuf"


def _expect_small(meta: Meta, size: Sequence[int], hint: str) -> None:
    if prod(size) > LARGEST:
        raise Mismatch(f"expected an image of at most {LARGEST:,} pixels, found {prod(size):,} for {meta}", hint=hint)


def _labels(meta: Meta, pictures: Meta) -> bool:
    return is_ranking(meta) and meta.ndim == 2 and meta.shape[0] == pictures.shape[0]


def _first(meta: Meta, limit: int) -> Meta:
    return Meta((min(meta.shape[0], limit), *meta.shape[1:]), meta.dtype, meta.dims, meta.items)


@sink(packages=("PIL.Image", "PIL.ImageDraw", "PIL.ImageFont"), base=2 * 2**20)
def png(*, path: str, labels: str | None = None, limit: PositiveInt = 64, columns: PositiveInt | None = None) -> Png:
    """Draw an image, or a contact sheet of photos with their first label under them.

    One input ``(y, x)`` or ``(y, x, channel)`` gives one image. Photos, or any pictures along a
    first axis, give a contact sheet; the records of `top_k`, as a second input, are written under
    them. Bytes are drawn as they are; other numbers are scaled so that their least value (of all
    that are drawn) is black and their greatest white. A photo that could not be read is a grey tile.

    Parameters
    ----------
    path : str
        The file to write; the flow's own of an earlier run is replaced once the new one is whole.
    labels : str
        A text file with one class name per line, the first for class 0.
    limit : int
        The most photos on a contact sheet: the first ones are drawn.
    columns : int
        How many photos stand side by side; by default about as many as below each other.

    Examples
    --------
    sheet: {to: png, of: [photos, best], path: out/labels.png, labels: data/imagenet1k_classes.txt}
    """
    return Png(local_path(path), existing(labels), limit, columns)

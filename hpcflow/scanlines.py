"""PNG files written a few rows at a time, so that no more than those must be held."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable
from typing import BinaryIO

import numpy as np

from hpcflow.namespace import Array

SIGNATURE = b"\x89PNG\r\n\x1a\n"
COLOURS = {1: 0, 3: 2, 4: 6}
"""The number of a kind of colours, by its channels: grey, RGB, RGB with opacity."""


def write(file: BinaryIO, size: tuple[int, int], channels: int, strips: Iterable[Array]) -> None:
    """Write a picture of bytes.

    Parameters
    ----------
    file : binary file
    size : (int, int)
        Width and height in pixels.
    channels : int
        1, 3 or 4.
    strips : iterable of array
        What follows one another from top to bottom, ``(rows, width, channels)`` or ``(rows, width)`` of uint8;
        or, of a row too long to be held, parts of it ``(1, pixels, channels)``.
    """
    file.write(SIGNATURE)
    _chunk(file, b"IHDR", struct.pack(">IIBBBBB", *size, 8, COLOURS[channels], 0, 0, 0))
    packer = zlib.compressobj()
    length = size[0] * channels
    above, before = np.zeros(length, np.uint8), 0
    for strip in strips:
        rows = strip.reshape(len(strip), -1)
        if rows.shape[1] == length:
            packed = packer.compress(_filtered(rows, above, channels).data)
            above = rows[-1].copy()
        else:
            # Of a row in parts nothing is known but the part: it is taken as it is.
            packed = packer.compress((b"" if before else b"\0") + rows.tobytes())
            before = (before + rows.shape[1]) % length
        if packed:
            _chunk(file, b"IDAT", packed)
    _chunk(file, b"IDAT", packer.flush())
    _chunk(file, b"IEND", b"")


def _filtered(rows: Array, above: Array, channels: int) -> Array:
    """Each row behind the number of its filter: itself, or what it differs by from its left or from the row above."""
    left, up = rows.copy(), rows.copy()
    left[:, channels:] -= rows[:, :-channels]
    up[0] -= above
    up[1:] -= rows[:-1]
    made = np.empty((len(rows), rows.shape[1] + 1), np.uint8)
    tried = [rows, left, up]
    # The one whose bytes, as signed ones, are the smallest: the heuristic of the PNG specification.
    sizes = [np.minimum(one, -one).sum(axis=1, dtype=np.int64) for one in tried]
    made[:, 0] = np.argmin(sizes, axis=0)
    for number, one in enumerate(tried):
        chosen = made[:, 0] == number
        made[chosen, 1:] = one[chosen]
    return made


def _chunk(file: BinaryIO, kind: bytes, content: bytes) -> None:
    check = zlib.crc32(content, zlib.crc32(kind))
    file.write(struct.pack(">I", len(content)) + kind + content + struct.pack(">I", check))

"""How a viewer shows the channels of an image: the `omero` metadata of OME-NGFF 0.5."""

from __future__ import annotations

from itertools import cycle
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from hpcflow.regions import Region, tiles, whole
from hpcflow.sinks._layout import Layout

COLOURS = {
    1: ("FFFFFF",),
    2: ("FF00FF", "00FF00"),
    3: ("FF0000", "00FF00", "0000FF"),
}
"""Of so many channels."""
MORE = ("00FFFF", "FF00FF", "FFFF00", "FF0000", "00FF00", "0000FF")
"""Of more than these, in turn."""
LOOKED_AT = 2**24
"""Elements of all channels that a range is found in; of a larger level, evenly spaced chunks."""


def described(level: Layout, folder: str, axis: int | None) -> dict[str, Any]:
    """The channels of an image: a colour for each, and the range of its values that is shown.

    Parameters
    ----------
    level : Layout
        The smallest level.
    folder : str
        Where that stands.
    axis : int or None
        That of channels; without one the image is a single channel.
    """
    count = 1 if axis is None else level.meta.shape[axis]
    colours = cycle(COLOURS.get(count, MORE))
    shown = [(n, _window(level, _found(level, folder, axis, n, count))) for n in range(count)]
    return {
        "channels": [
            {"label": str(n), "active": True, "color": colour, "window": window}
            for (n, window), colour in zip(shown, colours, strict=False)
        ]
    }


def _found(level: Layout, folder: str, axis: int | None, channel: int, count: int) -> tuple[Any, Any] | None:
    """The least and the greatest finite value of a channel."""
    import zarr  # noqa: PLC0415  (half a second)

    region: Region = whole(level.meta.shape)
    if axis is not None:
        region = (*region[:axis], (channel, channel + 1), *region[axis + 1 :])
    parts = list(tiles(region, level.grain))
    step = -(-prod(b - a for a, b in region) * count // LOOKED_AT)
    array = zarr.open_array(Path(folder), mode="r", zarr_format=3)
    ends: list[Any] = []
    for part in parts[:: max(step, 1)]:
        values = np.asarray(array[tuple(slice(a, b) for a, b in part)])
        values = values[np.isfinite(values)]
        ends += [values.min(), values.max()] if values.size else []
    return (min(ends).item(), max(ends).item()) if ends else None


def _window(level: Layout, found: tuple[Any, Any] | None) -> dict[str, Any]:
    """The range that is shown, `start` to `end`, within that of a control, `min` to `max`."""
    dtype = level.meta.dtype
    start, end = map(int, found) if found and dtype.kind == "b" else found or (0, 1)
    least, most = start, end
    if dtype.kind == "b":
        least, most = 0, 1
    elif dtype.kind in "iu" and dtype.itemsize <= 2:
        least, most = int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)
    if start == end:
        start, end = (least, most) if least < most else (start, start + 1)
    return {"min": min(least, start), "max": max(most, end), "start": start, "end": end}

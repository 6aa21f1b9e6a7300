"""Windows on an array for a network that sees a neighbourhood: tiles with what surrounds them. Pure arithmetic.

::

    made      |-------tile-------|-------tile-------|
    windows   depth|------------------|depth              all of one length, each
                          depth|-----------------|depth   from a multiple of `step`
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hpcflow.namespace import Array, Namespace
from hpcflow.regions import Interval

PADS = {
    "reflect": "symmetric",
    "grid-mirror": "symmetric",
    "mirror": "reflect",
    "nearest": "edge",
    "constant": "constant",
    "grid-constant": "constant",
    "network": "edge",
}
"""NumPy's names for what lies beyond an end; `network` only fills up to a multiple of `step`."""
PERIODIC = ("wrap", "grid-wrap")


@dataclass(frozen=True)
class Line:
    """How one axis is cut."""

    length: int
    tile: int
    depth: int
    step: int
    mode: str

    @property
    def reach(self) -> int:
        """The depth, in whole steps."""
        return -(-self.depth // self.step) * self.step

    @property
    def limits(self) -> Interval:
        """How far windows may go: the array, and the depth around it where a mode continues it."""
        around = 0 if self.mode == "network" else self.reach
        return -around, -(-self.length // self.step) * self.step + around

    @property
    def window(self) -> int:
        """The length of every window."""
        low, high = self.limits
        slack = self.step - 1  # a tile may begin anywhere
        return min(-(-(self.tile + 2 * self.depth + slack) // self.step) * self.step, high - low)

    def windows(self, out: Interval) -> list[tuple[Interval, Interval]]:
        """For each tile of `out`: the window, and the part of it that is the tile."""
        low, high = self.limits
        start, stop = out
        found = []
        for first in range(start, stop, self.tile):
            last = min(first + self.tile, stop)
            # The last window moves back so that it is as long as the others.
            begin = (first - self.depth) // self.step * self.step
            begin = max(min(begin, high - self.window), low)
            found.append(((begin, begin + self.window), (first, last)))
        return found

    def hull(self, out: Interval) -> Interval:
        """From the first window's start to the last one's end."""
        windows = [window for window, _ in self.windows(out)]
        return min(a for a, _ in windows), max(b for _, b in windows)

    def needs(self, out: Interval) -> Interval:
        """What of the array must be read; beyond its ends only where it is continued periodically."""
        start, stop = self.hull(out)
        if self.mode in PERIODIC:
            return (start, stop) if stop - start < self.length else (0, self.length)
        return max(start, 0), min(stop, self.length)

    def filled(self, x: Array, axis: int, out: Interval, xp: Namespace) -> Array:
        """A block that holds `needs`, continued to `hull`."""
        (start, stop), (first, last) = self.hull(out), self.needs(out)
        if (start, stop) == (first, last):
            return x
        if self.mode in PERIODIC:
            return xp.take(x, xp.arange(start, stop) % self.length, axis=axis)
        widths = [(0, 0)] * x.ndim
        widths[axis] = (first - start, stop - last)
        return xp.pad(x, widths, mode=PADS[self.mode])


def lines(shape: Sequence[int], *, axes: Sequence[int], tile: Any, depth: Any, step: int, mode: str) -> dict[int, Line]:
    """How each of `axes` is cut; `tile` and `depth` are one for all or one for each."""
    tiles = tile if isinstance(tile, list) else [tile] * len(axes)
    depths = depth if isinstance(depth, list) else [depth] * len(axes)
    # Of a tile of three steps an end that is filled up to a step still shows enough to continue.
    least = 3 * step if step > 1 else 1
    return {
        axis: Line(shape[axis], max(-(-t // step) * step, least), d, step, mode)
        for axis, t, d in zip(axes, tiles, depths, strict=True)
    }

"""A source: what is known of an array, and how to get any part of it."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from hpcflow.meta import Meta
from hpcflow.namespace import Array
from hpcflow.parameters import PositiveInt
from hpcflow.regions import Region
from hpcflow.registry import source


@dataclass(frozen=True)
class Ramp:
    """A plane in which every element is the sum of its two positions."""

    side: int

    @property
    def meta(self) -> Meta:
        """Shape, dtype and names of the axes."""
        return Meta((self.side, self.side), np.dtype("float32"), ("y", "x"))

    @property
    def chunks(self) -> None:
        """None: any region is made directly."""
        return

    @property
    def identity(self) -> dict[str, Any]:
        """What the content depends on."""
        return {"side": self.side}

    def read(self, region: Region) -> Array:
        """The elements of one region; called on a worker."""
        rows, columns = (np.arange(a, b, dtype=np.float32) for a, b in region)
        return rows[:, None] + columns[None, :]


@source
def ramp(*, side: PositiveInt) -> Ramp:
    """Make a plane that rises from one corner to the other.

    Parameters
    ----------
    side : int
        How many elements it has along each axis.

    Examples
    --------
    plane: {from: ramp, side: 1000}
    """
    return Ramp(side)

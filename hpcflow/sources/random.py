"""Random numbers, to try things out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from hpcflow.meta import Meta
from hpcflow.namespace import Array
from hpcflow.parameters import NonNegativeInt
from hpcflow.regions import Region, Shape, runs, shape_of
from hpcflow.registry import source
from hpcflow.sources._flat import Dims, named


@dataclass(frozen=True)
class RandomSource:
    """``np.random.default_rng(seed).random(shape, dtype)``, any part of it."""

    meta: Meta
    seed: int

    @property
    def chunks(self) -> Shape | None:
        """None: any region is made directly."""
        return None

    @property
    def identity(self) -> dict[str, Any]:
        """All that the numbers depend on."""
        return {"seed": self.seed, "shape": list(self.meta.shape), "dtype": self.meta.dtype.name}

    def read(self, region: Region) -> Array:
        """Jump the generator to each run of neighbours and draw it."""
        bits = np.random.PCG64(self.seed)
        generator = np.random.Generator(bits)
        dtype: Any = self.meta.dtype.type
        # One 64-bit draw gives one float64, or two float32: the low half first.
        per_draw = 8 // self.meta.dtype.itemsize
        flat = np.empty(shape_of(region), dtype).reshape(-1)
        drawn = filled = 0
        for start, stop in runs(region, self.meta.shape):
            skip = start % per_draw
            # Jumping, even by nothing, also drops a half that is left over.
            bits.advance(start // per_draw - drawn)
            generator.random(skip, dtype)
            generator.random(dtype=dtype, out=flat[filled : filled + stop - start])
            drawn = -(-stop // per_draw)
            filled += stop - start
        return flat.reshape(shape_of(region))


@source
def random(
    *,
    shape: list[NonNegativeInt],
    dtype: Literal["float64", "float32"] = "float64",
    seed: NonNegativeInt = 0,
    dims: Dims = None,
) -> RandomSource:
    """Make random numbers, uniform in [0, 1), as `numpy.random.default_rng(seed).random(shape, dtype)`.

    The same numbers come out however the array is cut into blocks.

    Parameters
    ----------
    shape : list of int
        How many elements along each axis.
    dtype : str
        `float64` or `float32`.
    seed : int
        Another seed gives other numbers.
    dims : list of str, optional
        A name for each axis; `null` where one has none.

    Examples
    --------
    noise: {from: random, shape: [4096, 4096], dtype: float32, seed: 7, dims: [y, x]}
    """
    return RandomSource(named(shape, dtype, dims), seed)

"""A model: what `infer` must know before it loads anything, and the loaded network."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from hpcflow.errors import Mismatch
from hpcflow.meta import Meta
from hpcflow.models.base import Network
from hpcflow.regions import Shape
from hpcflow.registry import model


@dataclass(frozen=True)
class Average:
    """The mean of each colour of a photo: three numbers for each."""

    digest: str = "average-1"
    """What its results depend on; a network's is the SHA-256 of its weights."""

    @property
    def activations(self) -> Mapping[str, float]:
        """Bytes held while it runs, for each element of its input, by engine."""
        return {"torch": 4.0}

    def makes(self, meta: Meta) -> Meta:
        """One row for each photo."""
        if meta.ndim != 4 or meta.shape[3] != 3:
            raise Mismatch(f"expected photos (photos, height, width, 3), found {meta}")
        return Meta((meta.shape[0], 3), np.dtype("float32"), (meta.dims[0], "colour"))

    def size(self, engine: str, batch: int) -> int | None:
        """Any number of photos at once."""
        return None

    def load(self, device: str, precision: str = "float32") -> Network:
        """The network: from a batch of photos to a batch of rows."""
        return lambda photos: np.asarray(photos, np.float32).mean(axis=(1, 2))

    def program(self, device: str, precision: str, frame: Shape, size: int | None) -> Any:
        """For other engines; this one has none."""
        raise Mismatch("expected `engine: torch` for `average`, found another")


@model
def average() -> Average:
    """Average each colour of a photo: not much of a network, but all that one needs.

    Examples
    --------
    colours: {op: infer, of: photos, model: average}
    """
    return Average()

"""The partials of one block, gathered tile by tile."""

from __future__ import annotations

from typing import Any

import numpy as np

from hpcflow.namespace import Array, Namespace, host
from hpcflow.planning.stages import Reduce
from hpcflow.program.evaluate import StepError
from hpcflow.regions import Region, Shape, shape_of, slices
from hpcflow.registry import Partial


class Partials:
    """What one reduction keeps of a block."""

    def __init__(self, reduce: Reduce, xp: Namespace = np) -> None:
        self.reduce = reduce
        self.xp = xp
        self.parts: dict[Region, Partial] = {}

    def add(self, region: Region, array: Array) -> None:
        """Reduce one tile."""
        reduce = self.reduce
        try:
            piece = reduce.function([array], reduce.params, self.xp, region=region, metas=[reduce.meta])
        except Exception as error:
            raise StepError(reduce.node, f"{type(error).__name__}: {error}") from error
        self.take(region, piece)

    def take(self, region: Region, piece: Partial) -> None:
        """Take one tile's partial in; tiles that differ only along reduced axes are combined, in order."""
        reduce, op = self.reduce, self.reduce.function
        try:
            kept = tuple((0, 1) if i in reduce.axes else one for i, one in enumerate(region))
            if self.xp is not np:
                # Small, and wanted there in the end.
                piece = tuple(host(array) for array in piece)
            if kept in self.parts:
                assert op.combine is not None
                piece = op.combine(self.parts[kept], piece)
            self.parts[kept] = piece
        except Exception as error:
            raise StepError(reduce.node, f"{type(error).__name__}: {error}") from error

    def joined(self, region: Region) -> Partial:
        """The block's partial: those of its tiles side by side."""
        if len(self.parts) == 1:
            return next(iter(self.parts.values()))
        axes = self.reduce.axes
        whole: Region = tuple((0, 1) if i in axes else one for i, one in enumerate(region))
        first = next(iter(self.parts.values()))
        shape: Shape = shape_of(whole)
        out: tuple[Any, ...] = tuple(np.empty(shape + a.shape[len(shape) :], a.dtype) for a in first)
        for kept, piece in self.parts.items():
            for array, part in zip(out, piece, strict=True):
                array[slices(kept, whole)] = part
        return out

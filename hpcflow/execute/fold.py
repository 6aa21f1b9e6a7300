"""Combine the partials of a reduction's blocks, in an order that no race can change.

Partials meet in a binary tree over the numbers of the blocks along the reduced axes: two
neighbours combine as soon as both are there. The tree depends on the grid alone, so the same
blocks give the same bits, in whatever order and on however many workers they were computed.
"""

from __future__ import annotations

from math import prod

import numpy as np

from hpcflow.operation import accepted
from hpcflow.planning.stages import Reduce, Stage
from hpcflow.regions import Shape, unravel
from hpcflow.registry import Partial


class Fold:
    """One reduction over the blocks of a stage; writes each finished part into its target."""

    def __init__(self, stage: Stage, reduce: Reduce) -> None:
        self.stage = stage
        self.reduce = reduce
        # Axes behind the domain are whole in every block, so no two blocks meet along them.
        self.met = [axis for axis in reduce.axes if axis < len(stage.domain)]
        self.leaves = prod(stage.grid[axis] for axis in self.met)
        self.waiting: dict[Shape, dict[tuple[int, int], Partial]] = {}

    def add(self, number: int, partial: Partial) -> None:
        """Take in the partial of one block."""
        index = unravel(number, self.stage.grid)
        leaf = 0
        for axis in self.met:
            leaf = leaf * self.stage.grid[axis] + index[axis]
        kept = tuple(0 if axis in self.met else i for axis, i in enumerate(index))
        finished = self._climb(self.waiting.setdefault(kept, {}), leaf, partial)
        if finished is not None:
            del self.waiting[kept]
            self._write(number, finished)

    def _climb(self, waiting: dict[tuple[int, int], Partial], place: int, partial: Partial) -> Partial | None:
        """Combine upwards from one leaf as far as the neighbours are there; the root, if reached."""
        combine = self.reduce.function.combine
        assert combine is not None
        level, width = 0, self.leaves
        while width > 1:
            neighbour = place ^ 1
            if neighbour < width:
                other = waiting.pop((level, neighbour), None)
                if other is None:
                    waiting[level, place] = partial
                    return None
                partial = combine(partial, other) if place < neighbour else combine(other, partial)
            level, place, width = level + 1, place // 2, -(-width // 2)
        return partial

    def _write(self, number: int, partial: Partial) -> None:
        reduce = self.reduce
        array = finalized(reduce, partial)
        wanted = self.stage.wanted(self.stage.region(number))[reduce.of]
        target = reduce.target.meta
        kept = [one for axis, one in enumerate(wanted) if axis not in reduce.axes]
        if len(kept) < target.ndim and reduce.params.get("keepdims"):
            kept = [(0, 1) if axis in reduce.axes else one for axis, one in enumerate(wanted)]
        # Axes that the reduction adds (a histogram's bins) come last and are whole.
        kept += [(0, n) for n in target.shape[len(kept) :]]
        reduce.target.write(tuple(kept), array)


def finalized(reduce: Reduce, partial: Partial) -> np.ndarray:
    """The value of a combined partial, without the reduced axes unless they are kept."""
    finalize = reduce.function.finalize
    assert finalize is not None
    given = {**reduce.params, "metas": [reduce.meta], "xp": np}
    array = np.asarray(finalize(partial, **accepted(finalize, given)))
    if not reduce.params.get("keepdims"):
        array = array.reshape([n for axis, n in enumerate(array.shape) if axis not in reduce.axes])
    return array.astype(reduce.target.meta.dtype, copy=False)

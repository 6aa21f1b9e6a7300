"""One block on a device: moved there once, computed there, and moved back once.

Reading and decoding happen before the block's turn on the device, writing after it: with several
threads one block is decoded, another copied, and a third computed, all at the same time. Where
the device has no room for a whole block, it is computed in halves, and so is every later one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from hpcflow import ceilings
from hpcflow.execute.device import Device, here
from hpcflow.execute.partials import Partials
from hpcflow.execute.reading import Reader
from hpcflow.namespace import Array
from hpcflow.planning.describe import extents
from hpcflow.planning.device import halved
from hpcflow.planning.stages import Stage
from hpcflow.program.evaluate import StepError, evaluate, read_input, take
from hpcflow.program.program import Bounds
from hpcflow.regions import Region, Shape, shape_of, slices, tiles
from hpcflow.registry import Partial
from hpcflow.stopwatch import lap


@dataclass
class Offloaded:
    """What one region of a stage's domain needs, in host memory, and how it is computed."""

    stage: Stage
    region: Region
    device: Device
    bounds: Bounds
    held: Mapping[str, Array]
    """What is read of each source, as the device copies it."""

    def computed(self) -> tuple[dict[str, Array], dict[str, Partial]]:
        """Every array that is written, and the partial of every reduction.

        Raises
        ------
        StepError
            Where an op failed, or not even the smallest part of the block has room.
        """
        key = ("block", self.stage.name, self.stage.block)
        while True:
            tile: Shape = ceilings.known(key, self.stage.block)
            try:
                with self.device.turn():
                    return self._in_tiles(tile)
            except Exception as error:
                if not ceilings.full(error):
                    raise
                smaller = halved(self.stage, tile)
                if smaller is None:
                    raise StepError(self.stage.ends[0], _no_room(tile, error)) from error
            # Not in the handler: its traceback keeps what the attempt had on the device.
            self.device.clear()
            text = f"`{self.stage.name}`: the device had no room for {extents(tile)} at once; {extents(smaller)} now"
            ceilings.lower(key, smaller, text)

    def _in_tiles(self, tile: Shape) -> tuple[dict[str, Array], dict[str, Partial]]:
        stage = self.stage
        wanted = stage.wanted(self.region)
        metas = stage.program.metas
        nodes = list(dict.fromkeys(write.node for write in stage.writes))
        cut = list(tiles(self.region, tile)) if stage.domain else [()]
        arrays = {} if len(cut) == 1 else {n: np.empty(shape_of(wanted[n]), metas[n].dtype) for n in nodes}
        folds = {reduce.node: Partials(reduce, self.device.xp) for reduce in stage.reduces}
        for part in cut:
            inner = wanted if len(cut) == 1 else stage.wanted(part)
            values = self._evaluated(inner)
            for reduce in stage.reduces:
                if reduce.node in values:
                    folds[reduce.node].take(inner[reduce.of], values[reduce.node])
                else:
                    folds[reduce.node].add(inner[reduce.of], values[reduce.of])
            for node in nodes:
                result = self.device.get(values[node]).astype(metas[node].dtype, copy=False)
                if len(cut) == 1:
                    arrays[node] = result
                else:
                    arrays[node][slices(inner[node], wanted[node])] = result
                lap(f"write {node}")
            del values
        return arrays, {r.node: folds[r.node].joined(wanted[r.of]) for r in stage.reduces}

    def _evaluated(self, wanted: Mapping[str, Region]) -> dict[str, Any]:
        """The wanted regions, on the device."""
        program = self.stage.program
        bounds = program.bounds(wanted)
        there = {}
        for name, whole in self.held.items():
            if name in bounds.regions:
                part = take(self.bounds.regions[name], whole, bounds.regions[name], program.inputs[name].shape)
                there[name] = self.device.put(part if part is whole else self.device.staged(part))
        return evaluate(
            program, wanted, _nothing, self.device.xp, bounds=bounds, schedule=self.stage.schedule, there=there
        )


def _nothing(name: str, region: Region) -> Array:
    raise AssertionError(f"{name} in {region} is there before it is asked for")


def _no_room(tile: Shape, error: Exception) -> str:
    reason = str(error.__cause__ or error)
    return f"expected a device with room for {extents(tile)} at once, found: {reason}\n  hint: `device: cpu`"


def offload(stage: Stage, region: Region, bounds: Bounds, read: Reader) -> tuple[dict[str, Array], dict[str, Partial]]:
    """Evaluate a stage for one region of its domain on this process's device."""
    device = here()
    held = {}
    for name, meta in stage.program.inputs.items():
        if name in bounds.regions:
            # Decoding and reading need no turn on the device: they go on beside it.
            held[name] = device.staged(read_input(name, read, bounds.regions[name], meta.shape))
            lap(name)
    return Offloaded(stage, region, device, bounds, held).computed()

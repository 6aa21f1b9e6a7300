"""A flow's nodes as xarray's arrays: lazy, with names and coordinates."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from hpcflow.errors import MissingPackage
from hpcflow.execute.arrays import Arrays
from hpcflow.meta import Meta
from hpcflow.namespace import Array
from hpcflow.operation import Op
from hpcflow.registry import get_op
from hpcflow.spec.flow import Flow, Node

Coordinates = dict[str, Array]
"""Values along an axis, by its name."""


class Labelled(Mapping[str, Any]):
    """`xarray.DataArray`s of a flow's nodes, by name, around those of `Arrays`."""

    def __init__(self, flow: Flow) -> None:
        try:
            import xarray  # noqa: PLC0415  (a second)
        except ImportError as error:
            raise MissingPackage(
                'arrays with names need the package `xarray`, which is not installed: `pip install "hpcflow[xarray]"`'
            ) from error
        self._make = xarray.DataArray
        self._flow = flow
        self._arrays = Arrays(flow)
        self._known: dict[str, Coordinates] = {}

    def __getitem__(self, name: str) -> Any:
        """The node's array; an axis without a name is `dim_0`, `dim_1`, …, as always in xarray."""
        array = self._arrays[name]
        meta = self._flow.nodes[name].meta
        assert meta is not None
        dims = [dim or f"dim_{axis}" for axis, dim in enumerate(meta.dims)]
        return self._make(array, dims=dims, coords={k: (k, v) for k, v in self._coordinates(name).items()}, name=name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrays)

    def __len__(self) -> int:
        return len(self._arrays)

    def _coordinates(self, name: str) -> Coordinates:
        if name not in self._known:
            node = self._flow.nodes[name]
            if node.source is not None:
                ask = getattr(node.source, "coordinates", None)
                self._known[name] = dict(ask()) if ask is not None else {}
            else:
                self._known[name] = followed(node, self._metas(node), [self._coordinates(one) for one in node.of])
        return self._known[name]

    def _metas(self, node: Node) -> list[Meta]:
        metas = [self._flow.nodes[one].meta for one in node.of]
        return [meta for meta in metas if meta is not None]


def followed(node: Node, metas: Sequence[Meta], coordinates: Sequence[Coordinates]) -> Coordinates:
    """The coordinates of a step's result: of each axis whose elements come from one position of an input's each.

    Parameters
    ----------
    node : Node
    metas : sequence of Meta
        Of its inputs.
    coordinates : sequence of mapping
        Of its inputs. Where two differ, the axis has none.
    """
    made, op = node.meta, get_op(node.use)
    assert made is not None
    found: dict[str, list[Array]] = {}
    for place, (meta, known) in enumerate(zip(metas, coordinates, strict=True)):
        for name, values in known.items():
            if name in made.dims and name in meta.dims:
                positions = _positions(op, node, metas, place, name)
                if positions is not None:
                    found.setdefault(name, []).append(values[positions])
    return {
        name: first for name, (first, *others) in found.items() if all(np.array_equal(first, one) for one in others)
    }


def _positions(op: Op, node: Node, metas: Sequence[Meta], place: int, name: str) -> Array | None:
    """For each element along an axis of the result, its position along that of an input; `None` where there is none."""
    made = node.meta
    assert made is not None
    axis, before = made.dims.index(name), metas[place].dims.index(name)
    extent, was = made.shape[axis], metas[place].shape[before]
    if op.reaches is None:
        seen = op.whole is not None and axis in op.axes_seen_whole(made, node.params)
        return np.arange(was) if extent == was and not seen else None
    probed = op.probed(extent)
    places = []
    for index in probed:
        out = tuple((index, index + 1) if i == axis else (0, 1) for i in range(made.ndim))
        need = op.reach(out, made, metas, node.params).needs[place]
        if need is None or need[before][1] - need[before][0] != 1:
            return None
        places.append(need[before][0])
    if len(places) == extent:
        return np.array(places, np.intp) if extent else None
    step = places[1] - places[0]
    straight = all(p == places[0] + step * i for i, p in zip(probed, places, strict=True))
    return places[0] + step * np.arange(extent) if straight else None

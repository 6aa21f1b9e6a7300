"""Short linear filters as part of a loop: what an element becomes is written out from its neighbours.

A filter is traced like any elementwise op, but on `neighbour` nodes, each its input some elements
away. The loop then reads its input with a margin, and filters of one input share what is loaded.
What is filtered along all axes but the last is kept in a buffer for some hundred elements of a row:
an `along` node is such a value some elements away, which is then not made once for each that reads it.
The operations are rounded to the input's dtype one by one, so an element is the same however the
array is cut; within 1e-6 of the weighted magnitudes, as OpenCV's (`kernels/planes.py`) are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial, reduce
from itertools import product
from math import prod

from hpcflow.kernels.trace import Node, Traced, Untraceable, apply, nodes_of
from hpcflow.namespace import Array, Namespace
from hpcflow.regions import Depth, Interval, Region, grow, shape_of, slices

ROWS, COLUMNS = 3, 9
"""The longest filters, across rows and along them: of more rows a compiler is not sure that they are not written to."""


Offset = tuple[int, ...]
At = Callable[[Offset], Traced]


@dataclass(frozen=True)
class Window:
    """How far a loop reads around each element of an input, and what lies beyond the array's ends."""

    reach: Depth
    modes: tuple[str, ...]


def correlated(
    x: Traced, weights: Mapping[int, Sequence[float]], *, modes: Sequence[str], cval: float, origins: Sequence[int]
) -> Traced:
    """Correlate along some axes, one after another, the last axis last.

    All weights are multiplied with, 0 as well: infinity makes NaN of it, as in SciPy.
    """
    last = x.ndim - 1
    rows = prod(len(w) for axis, w in weights.items() if axis != last)
    columns = len(weights.get(last, (1,)))
    if x.node.kind != "input" or x.dtype.kind != "f" or rows * columns < 2 or rows > ROWS or columns > COLUMNS:
        raise Untraceable(f"a filter of {rows} by {columns} elements")
    if cval and any(modes[axis] == "constant" for axis in weights):
        raise Untraceable("a filter with a border")

    def read(kind: str, before: tuple[Node, ...], offset: Offset) -> Traced:
        return Traced(Node(kind, (*before, *x.node.args, offset, tuple(modes)), x.dtype), x.ndim)

    here = (0,) * x.ndim
    value: At = partial(read, "neighbour", ())
    for axis in sorted(weights):
        if axis == last and rows > 1:
            value = partial(read, "along", (value(here).node,))
        value = _filtered(value, axis, weights[axis], origins[axis])
    return value(here)


def _filtered(value: At, axis: int, weights: Sequence[float], origin: int) -> At:
    """What correlating along an axis makes of values that are known at every offset."""

    def at(offset: Offset) -> Traced:
        start = offset[axis] - len(weights) // 2 - origin
        near = [value((*offset[:axis], start + i, *offset[axis + 1 :])) for i in range(len(weights))]
        # A weight of 1 changes nothing; one of 0 does.
        terms = [one if w == 1 else apply("multiply", one, float(w)) for one, w in zip(near, weights, strict=True)]
        return reduce(partial(apply, "add"), terms)

    return at


def windows(nodes: Iterable[Node]) -> dict[int, Window]:
    """The window onto each input, by its place, of those whose neighbours these values are made of."""
    found: dict[int, Window] = {}
    for node in nodes_of(nodes):
        if node.kind in ("neighbour", "along"):
            place, offset, modes = node.args[-3:]
            before = found.get(place, Window(((0, 0),) * len(offset), modes)).reach
            reach = tuple((max(a, -o), max(b, o)) for (a, b), o in zip(before, offset, strict=True))
            found[place] = Window(reach, modes)
    return found


def surrounded(
    array: Array, held: Region, *, region: Region, window: Window, shape: Sequence[int], xp: Namespace
) -> Array:
    """A region of an array of this shape with what a window shows around it, rows lying together.

    `array` holds the part `held`, which has all of it that lies inside the array. It is copied
    only where the window reaches beyond an end.
    """
    around = grow(region, window.reach)
    # Along an axis that no filter reaches along, the region itself may be continued periodically.
    modes = ["wrap" if reach == (0, 0) else mode for reach, mode in zip(window.reach, window.modes, strict=True)]
    there = tuple(
        one if mode == "wrap" else (max(one[0], 0), min(one[1], n))
        for one, n, mode in zip(held, shape, modes, strict=True)
    )
    array = array[slices(there, held)]
    axes = [list(_pieces(*one)) for one in zip(around, there, shape, modes, strict=True)]
    if all(len(pieces) == 1 for pieces in axes):
        part = array[tuple(pieces[0][1] for pieces in axes)]
        # A loop goes along the last axis element by element.
        plain = part.flags.aligned and part.strides[-1] == part.itemsize and min(part.strides) > 0
        return part if plain and not any(s % part.itemsize for s in part.strides) else xp.ascontiguousarray(part)
    out = xp.empty(shape_of(around), array.dtype)
    for pieces in product(*axes):
        source = tuple(index for _, index in pieces if index is not None)
        out[tuple(place for place, _ in pieces)] = array[source] if len(source) == len(pieces) else 0
    return out


def _pieces(around: Interval, held: Interval, n: int, mode: str) -> Iterator[tuple[slice, slice | None]]:
    """Where along an axis which elements of the array go; `None` for those beyond its ends that are 0."""
    start, stop = around
    first, last = min(max(start, held[0]), stop), max(min(stop, held[1]), start)
    for at in range(start, first):
        yield slice(at - start, at - start + 1), _folded(at, held[0], n, mode)
    if last > first:
        yield slice(first - start, last - start), slice(first - held[0], last - held[0])
    for at in range(max(last, first), stop):
        yield slice(at - start, at - start + 1), _folded(at, held[0], n, mode)


def _folded(at: int, origin: int, n: int, mode: str) -> slice | None:
    """Where in what is held from `origin` on the element is that lies at a place beyond the ends."""
    if mode == "constant":
        return None
    if mode == "reflect":
        at %= 2 * n
        at = min(at, 2 * n - 1 - at)
    elif mode == "mirror":
        at %= max(2 * n - 2, 1)
        at = min(at, 2 * n - 2 - at)
    else:
        at = min(max(at, 0), n - 1) if mode == "nearest" else at % n
    return slice(at - origin, at - origin + 1)

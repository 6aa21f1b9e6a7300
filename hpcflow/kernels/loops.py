"""Turn traced operations into one loop, and run it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hpcflow.kernels.compiling import compiled
from hpcflow.kernels.stencil import Window, windows
from hpcflow.kernels.trace import OPERATIONS, Node, kinds_of, nodes_of
from hpcflow.namespace import Array, Namespace

LANES = 256
"""Accumulators of a reduction. Elements go to them in turn, so a sum is the same on any processor."""
VERSION = 2
"""Raised when the same operations are written as another loop."""


def able(node: Node) -> bool:
    """Whether a loop gives NumPy's very value for all that this is made of."""
    return kinds_of(node) <= {
        *OPERATIONS,
        "input",
        "neighbour",
        "along",
        "number",
        "cast",
        "bool",
        "where",
        "sum",
        "min",
        "max",
    }


@dataclass(frozen=True)
class Part:
    """A view of an input that the loop reads from."""

    place: int
    """Of the input."""
    dtype: np.dtype[Any]
    scalar: bool = False
    """Whether it is one value for all elements."""
    start: tuple[int, ...] | None = None
    """Of an input with a window around it, where the first element's neighbours with the same row begin."""

    def of(self, array: Array, shape: Sequence[int]) -> Array:
        """The view, of the loop's shape; a window's rows go on behind it."""
        if self.start is None:
            return np.broadcast_to(array, shape)
        return array[tuple(slice(at, at + n) for at, n in zip(self.start, shape, strict=True))]


@dataclass(frozen=True)
class Loop:
    """A loop that is ready to be compiled."""

    source: str
    parts: tuple[Part, ...]
    outputs: tuple[np.dtype[Any], ...]
    reductions: tuple[tuple[str, np.dtype[Any]], ...]
    operations: int
    """Of one element, loads and stores left out."""

    def run(self, arrays: Sequence[Array], shape: Sequence[int], xp: Namespace) -> tuple[list[Array], list[Array]]:
        """Outputs of this shape, and every reduction's value with all axes of length 1.

        `arrays` broadcast against the shape, but for those with a window: as `stencil.surrounded` gives them.
        """
        kernel = compiled(self.source)
        outputs = [xp.empty(shape, dtype) for dtype in self.outputs]
        lanes = [_start(kind, dtype) for kind, dtype in self.reductions]
        views = [part.of(arrays[part.place], shape) for part in self.parts]
        along = [0 if part.scalar else 1 for part in self.parts] + [1] * len(outputs)
        keep = any(part.start is not None for part in self.parts)
        for rows, columns, flat in _flattened([*views, *outputs], shape, along, keep=keep):
            kernel(rows, columns, *flat, *lanes)
        values = [
            np.asarray(getattr(lane, kind)(), dtype).reshape((1,) * len(shape))
            for lane, (kind, dtype) in zip(lanes, self.reductions, strict=True)
        ]
        return outputs, values


def _start(kind: str, dtype: np.dtype[Any]) -> Array:
    if kind == "sum":
        return np.zeros(LANES, dtype)
    least, most = (-np.inf, np.inf) if dtype.kind == "f" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    return np.full(LANES, most if kind == "min" else least, dtype)


def _flattened(arrays: list[Array], shape: Sequence[int], along: list[int], *, keep: bool = False) -> Any:
    """Arrays of one shape as rows: the memory that each spans, flat, and its step from row to row.

    Within a row the steps must be `along`: all that has to be compiled is loops over flat arrays.
    With `keep`, rows are those of the last axis even where it has one element: behind a view's row
    there may be more of it, and arrays with such views must have that step and are not copied.
    """
    if all(a.flags.c_contiguous for a in arrays) and all(along):
        n = arrays[0].size
        yield np.uintp(1), np.uintp(n), [part for a in arrays for part in (a.reshape(-1), np.uintp(0))]
        return
    arrays = [_regular(a) for a in arrays]
    # Axes that follow one another without a gap in every array are one.
    merged: list[tuple[int, list[int]]] = []
    for axis, n in enumerate(shape):
        steps = [a.strides[axis] // a.itemsize for a in arrays]
        if n == 1 and not (keep and axis == len(shape) - 1):
            continue
        if merged and all(before == n * step for before, step in zip(merged[-1][1], steps, strict=True)):
            merged[-1] = merged[-1][0] * n, steps
        else:
            merged.append((n, steps))
    while len(merged) < 2:
        merged.insert(0, (1, [0] * len(arrays)))
    *outer, (rows, down), (columns, found) = merged
    if columns > 1 and found != along:
        arrays = [
            a if a.size == 0 or not step or (keep and step == have) else np.ascontiguousarray(a)
            for a, step, have in zip(arrays, along, found, strict=True)
        ]
        yield from _flattened(arrays, shape, along, keep=keep)
        return
    bases = [np.lib.stride_tricks.as_strided(a, (_extent(a),), (a.itemsize,)) for a in arrays]
    for index in np.ndindex(*(n for n, _ in outer)):
        flat: list[Any] = []
        for i, base in enumerate(bases):
            start = sum(k * steps[i] for k, (_, steps) in zip(index, outer, strict=True))
            flat += [base[start:], np.uintp(down[i])]
        yield np.uintp(rows), np.uintp(columns), flat


def _regular(a: Array) -> Array:
    """The array, copied where its elements do not lie in whole steps forward."""
    fits = a.flags.aligned and all(s >= 0 and s % a.itemsize == 0 for s in a.strides)
    return a if fits else np.ascontiguousarray(a)


def _extent(a: Array) -> int:
    """How many elements of memory an array spans."""
    return 1 + int(sum((n - 1) * (s // a.itemsize) for n, s in zip(a.shape, a.strides, strict=True)))


def write(inputs: Sequence[tuple[np.dtype[Any], bool]], outputs: Sequence[Node], reductions: Sequence[Node]) -> Loop:
    """The loop that makes all outputs and reductions in one pass over its inputs.

    An input is its dtype, and whether it is one value for all elements.
    """
    reads = _reads(inputs, [*outputs, *reductions])
    body = _Body(reads)
    for i, node in enumerate(outputs):
        body.lines.append(f"o{i}[oi{i} + k] = {body.value(node)}")
    for i, node in enumerate(reductions):
        value = body.value(node.args[0])
        if node.kind == "sum":
            wraps = node.dtype.kind == "i"
            total = OPERATIONS["add"]["iu" if wraps else "f"].format(f"a{i}[l]", value, W=_unsigned(node.dtype))
            body.lines.append(f"a{i}[l] = {_type(node.dtype)}({total})")
        else:
            sign = "<" if node.kind == "min" else ">"
            nan = f" | ({value} != {value})" if node.dtype.kind == "f" else ""
            body.lines.append(f"a{i}[l] = {value} if ({value} {sign} a{i}[l]){nan} else a{i}[l]")
    return Loop(
        _module([part.dtype for part in reads.parts], outputs, reductions, body),
        tuple(reads.parts),
        tuple(node.dtype for node in outputs),
        tuple((node.kind, node.dtype) for node in reductions),
        body.operations + sum(ahead.operations for ahead in body.ahead.values()),
    )


@dataclass(frozen=True)
class _Reads:
    """What a loop reads of its inputs."""

    parts: list[Part]
    rows: dict[tuple[int, tuple[int, ...]], int]
    """Which part holds an input's rows so far away."""
    windows: Mapping[int, Window]

    def reach(self, place: int) -> tuple[int, int]:
        """How far along its rows an input is read."""
        return self.windows[place].reach[-1] if place in self.windows else (0, 0)


def _reads(inputs: Sequence[tuple[np.dtype[Any], bool]], values: Sequence[Node]) -> _Reads:
    onto = windows(values)
    away = sorted({(n.args[0], n.args[1][:-1]) for n in nodes_of(values) if n.kind == "neighbour"})
    parts: list[Part] = []
    rows: dict[tuple[int, tuple[int, ...]], int] = {}
    for place, (dtype, scalar) in enumerate(inputs):
        if place not in onto:
            rows[place, ()] = len(parts)
            parts.append(Part(place, dtype, scalar))
            continue
        before = [b for b, _ in onto[place].reach[:-1]]
        for offset in [offset for one, offset in away if one == place]:
            rows[place, offset] = len(parts)
            start = tuple(b + o for b, o in zip(before, offset, strict=True))
            parts.append(Part(place, dtype, start=(*start, 0)))
    return _Reads(parts, rows, onto)


class _Body:
    """The statements for one element, each value computed once."""

    def __init__(self, reads: _Reads, prefix: str = "") -> None:
        self.reads = reads
        self.prefix = prefix
        self.lines: list[str] = []
        self.loaded: set[str] = set()
        self.constants: list[str] = []
        self.names: dict[int, str] = {}
        self.kept: list[Node] = []
        self.operations = 0
        self.ahead: dict[int, _Body] = {}
        """By input, the statements that fill buffers with what others read, for each element and some around."""
        self.buffers: dict[int, tuple[str, str]] = {}
        """The name of each, and what makes it, by its values' node."""

    def value(self, node: Node) -> str:
        """The name of a node's value, after the statements that make it."""
        for one in nodes_of([node], closed="along"):
            name = self._value(one)
        return name

    def _value(self, node: Node) -> str:
        if id(node) in self.names:
            return self.names[id(node)]
        kind = _type(node.dtype)
        if node.kind in ("input", "neighbour"):
            name = self._loaded(node)
        elif node.kind == "along":
            name = self._buffered(node)
        elif node.kind == "number":
            name = f"C{len(self.constants)}"
            self.constants.append(f"{name} = {kind}({_literal(node.args[0])})")
        else:
            text = self._written(node, [self._value(arg) for arg in node.args], kind)
            name = f"{self.prefix}v{len(self.names)}"
            # NumPy rounds after each operation; so does this, where the language would compute wider.
            self.lines.append(f"{name} = {text}" if node.dtype.kind == "b" else f"{name} = {kind}({text})")
            self.operations += 1
        self.names[id(node)] = name
        self.kept.append(node)
        return name

    def _loaded(self, node: Node) -> str:
        """An element of an input, after the statement that loads it."""
        place, *away = node.args
        part = self.reads.rows[place, away[0][:-1] if away else ()]
        # A buffer's elements begin where the row does that is read.
        column = self.reads.reach(place)[0] + away[0][-1] if away and not self.prefix else 0
        scalar = self.reads.parts[part].scalar
        return self._element(f"x{part}", f"p{part}", "ZERO" if scalar else f"pi{part} + k", column)

    def _buffered(self, node: Node) -> str:
        """An element of a buffer, after the statement that loads it; what fills the buffer is stated ahead."""
        base, place, offset, _ = node.args
        before, behind = self.reads.reach(place)
        if id(base) not in self.buffers:
            ahead = self.ahead.setdefault(place, _Body(self.reads, f"f{place}_"))
            ahead.constants = self.constants
            buffer = f"b{len(self.buffers)}"
            self.buffers[id(base)] = buffer, f"np.empty(LANES + U({before + behind}), {_type(base.dtype)})"
            ahead.lines.append(f"{buffer}[l] = {ahead.value(base)}")
        buffer, _ = self.buffers[id(base)]
        return self._element(f"y{buffer}", buffer, "l", before + offset[-1])

    def _element(self, name: str, array: str, index: str, column: int) -> str:
        """The name of an element that is loaded once."""
        name = f"{self.prefix}{name}_{column}"
        if name not in self.loaded:
            self.loaded.add(name)
            self.lines.append(f"{name} = {array}[{index}{f' + U({column})' if column else ''}]")
        return name

    @staticmethod
    def _written(node: Node, args: list[str], kind: str) -> str:
        if node.kind == "cast":
            return args[0]
        if node.kind == "bool":
            return f"{args[0]} != 0"
        if node.kind == "where":
            return f"{args[1]} if {args[0]} else {args[2]}"
        computed = node.args[0].dtype
        text = next(text for kinds, text in OPERATIONS[node.kind].items() if computed.kind in kinds)
        return text.format(*args, T=kind, W=_unsigned(computed))


def _type(dtype: np.dtype[Any]) -> str:
    return "np.bool_" if dtype.kind == "b" else f"np.{dtype.name}"


def _unsigned(dtype: np.dtype[Any]) -> str:
    return f"np.uint{8 * dtype.itemsize}"


def _literal(value: Any) -> str:
    plain = value.item()
    return f"float('{plain}')" if isinstance(plain, float) else repr(plain)


def _module(inputs: Sequence[np.dtype[Any]], outputs: Sequence[Node], reductions: Sequence[Node], body: _Body) -> str:
    names, kinds = ["rows", "columns"], ["U", "U"]
    for i, dtype in enumerate(inputs):
        names += [f"p{i}", f"pr{i}"]
        kinds += [f"array({dtype.name!r}, True)", "U"]
    for i, node in enumerate(outputs):
        names += [f"o{i}", f"or{i}"]
        kinds += [f"array({node.dtype.name!r}, False)", "U"]
    for i, node in enumerate(reductions):
        names.append(f"a{i}")
        kinds.append(f"array({node.dtype.name!r}, False)")
    starts = [f"pi{i} = row * pr{i}" for i in range(len(inputs))] + [
        f"oi{i} = row * or{i}" for i in range(len(outputs))
    ]
    return _TEMPLATE.format(
        version=VERSION,
        lanes=LANES,
        constants="\n".join(body.constants),
        kinds=", ".join(kinds),
        names=", ".join(names),
        buffers="".join(f"    {name} = {text}\n" for name, text in body.buffers.values()),
        starts=_indented(starts, 8),
        loops=_row(body, reduced=bool(reductions)),
    )


def _row(body: _Body, *, reduced: bool) -> str:
    """The loops over one row: in pieces where something is laid out ahead, or kept for each lane; else in one."""
    inner = _indented(body.lines, 16)
    one = _indented(body.lines, 12)
    if body.ahead:
        first = "".join(
            f"""\
            for l in range(n + U({sum(body.reads.reach(place))})):
                k = at + l
{_indented(ahead.lines, 16)}
"""
            for place, ahead in body.ahead.items()
        )
        return f"""\
        at = ZERO
        while at < columns:
            n = min(LANES, columns - at)
{first}\
            for l in range(n):
                k = at + l
{inner}
            at += n"""
    if reduced:
        return f"""\
        at = ZERO
        while at + LANES <= columns:
            for l in range(LANES):
                k = at + l
{inner}
            at += LANES
        for l in range(columns - at):
            k = at + l
{one}"""
    return f"""\
        for k in range(columns):
{one}"""


def _indented(lines: Sequence[str], by: int) -> str:
    return "\n".join(" " * by + line for line in lines)


_TEMPLATE = '''\
"""Written by hpcflow (loop version {version}); safe to delete."""
import numba
import numpy as np

U = numba.uintp
ZERO, LANES = np.uintp(0), np.uintp({lanes})
INF = np.inf
{constants}


def array(name, readonly):
    return numba.types.Array(numba.from_dtype(np.dtype(name)), 1, "C", readonly=readonly)


@numba.njit(numba.void({kinds}), nogil=True, cache=CACHED, error_model="numpy")
def kernel({names}):
{buffers}\
    for row in range(rows):
{starts}
{loops}
'''

"""Turn traced operations into one CUDA kernel, compiled by CuPy and kept in its cache on disk.

The kernel makes what the loop of `loops.py` makes: all outputs and the partials of all reductions
in one pass, each operation rounded as NumPy's. Transcendental functions, which no two libraries
round alike, are written as well: a device's results are held to a tolerance.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import prod
from typing import Any

import numpy as np

from hpcflow.kernels.trace import FUNCTIONS, Node, kinds_of, nodes_of
from hpcflow.namespace import Array, Namespace

THREADS = 256
"""Of a block of the grid."""
EACH = 16
"""Elements that a thread computes at least, where it keeps sums: there are as many sums as threads."""
MOST_BLOCKS = 2048
AXES = 4
"""Of the arrays as the kernel sees them, once axes that lie together are one; others are copied."""
OPTIONS = ("--std=c++17", "--fmad=false")
"""NumPy rounds after every operation: so a product is not fused with the sum it goes into."""

_C = {
    "?": "bool",
    "b": "signed char",
    "B": "unsigned char",
    "h": "short",
    "H": "unsigned short",
    "i": "int",
    "I": "unsigned int",
    "f": "float",
    "d": "double",
}
_TEXT: dict[str, str | dict[str, str]] = {
    # Whole numbers wrap around, which C leaves open for signed ones: {U} is unsigned.
    "add": {"f": "{0} + {1}", "iu": "({U}){0} + ({U}){1}"},
    "subtract": {"f": "{0} - {1}", "iu": "({U}){0} - ({U}){1}"},
    "multiply": {"f": "{0} * {1}", "iu": "({U}){0} * ({U}){1}"},
    "divide": "{0} / {1}",
    "negative": {"f": "-{0}", "iu": "({U})0 - ({U}){0}"},
    "positive": "{0}",
    "absolute": {"f": "fabs({0})", "iu": "{0} >= 0 ? ({U}){0} : ({U})0 - ({U}){0}"},
    "fabs": "fabs({0})",
    "square": {"f": "{0} * {0}", "iu": "({U}){0} * ({U}){0}"},
    "reciprocal": "({T})1 / {0}",
    "sqrt": "sqrt({0})",
    "floor": "floor({0})",
    "ceil": "ceil({0})",
    "trunc": "trunc({0})",
    # As in `trace.OPERATIONS`: the first where that is NaN, and the second, since no comparison holds.
    "minimum": {"f": "({0} < {1}) | ({0} != {0}) ? {0} : {1}", "iu": "{0} < {1} ? {0} : {1}"},
    "maximum": {"f": "({0} > {1}) | ({0} != {0}) ? {0} : {1}", "iu": "{0} > {1} ? {0} : {1}"},
    "fmin": {"f": "({0} <= {1}) | ({1} != {1}) ? {0} : {1}", "iu": "{0} < {1} ? {0} : {1}"},
    "fmax": {"f": "({0} >= {1}) | ({1} != {1}) ? {0} : {1}", "iu": "{0} > {1} ? {0} : {1}"},
    "less": "{0} < {1}",
    "less_equal": "{0} <= {1}",
    "greater": "{0} > {1}",
    "greater_equal": "{0} >= {1}",
    "equal": "{0} == {1}",
    "not_equal": "{0} != {1}",
    "logical_and": "({0} != 0) & ({1} != 0)",
    "logical_or": "({0} != 0) | ({1} != 0)",
    "logical_xor": "({0} != 0) != ({1} != 0)",
    "logical_not": "{0} == 0",
    "bitwise_and": "{0} & {1}",
    "bitwise_or": "{0} | {1}",
    "bitwise_xor": "{0} ^ {1}",
    "invert": {"iu": "~{0}", "b": "!{0}"},
    "isnan": "{0} != {0}",
    "isinf": "isinf({0})",
    "isfinite": "isfinite({0})",
    "cast": "{0}",
    "bool": "{0} != 0",
    "where": "{0} ? {1} : {2}",
    # C has the same names, but for these.
    **{name: f"{name}({{0}})" for name in FUNCTIONS},
    **{f"arc{name}": f"a{name}({{0}})" for name in ("sin", "cos", "tan", "sinh", "cosh", "tanh")},
    "arctan2": "atan2({0}, {1})",
    "power": "pow({0}, {1})",
    **{name: f"{name}({{0}}, {{1}})" for name in ("hypot", "copysign", "fmod")},
}


def able(node: Node) -> bool:
    """Whether a kernel can make this value."""
    return kinds_of(node) <= {*_TEXT, "input", "number", "sum", "min", "max"}


@dataclass(frozen=True)
class Kernel:
    """A kernel that is ready to be compiled, for any number of axes."""

    inputs: tuple[np.dtype[Any], ...]
    outputs: tuple[np.dtype[Any], ...]
    reductions: tuple[tuple[str, np.dtype[Any]], ...]
    constants: tuple[str, ...]
    lines: tuple[str, ...]
    """The statements for one element."""
    operations: int
    """Of one element, loads and stores left out."""

    def run(self, arrays: Sequence[Array], shape: Sequence[int], xp: Namespace) -> tuple[list[Array], list[Array]]:
        """Outputs of this shape, and every reduction's value with all axes of length 1.

        `arrays` broadcast against the shape, and are `xp`'s, as what comes out is.
        """
        outputs = [xp.empty(shape, dtype) for dtype in self.outputs]
        size = prod(shape)
        views = [*(xp.broadcast_to(a, shape) for a in arrays), *outputs]
        axes = merged(shape, [[s // a.itemsize for s in a.strides] for a in views])
        if len(axes) > AXES:
            views = [xp.ascontiguousarray(a) for a in views[: len(arrays)]] + outputs
            axes = [(size, [1] * len(views))]
        threads = max(size if not self.reductions else -(-size // EACH), 1)
        blocks = min(-(-threads // THREADS), MOST_BLOCKS)
        lanes = [xp.full(blocks * THREADS, _start(*one), one[1]) for one in self.reductions]
        if size:
            lengths = [np.int64(n) for n, _ in axes]
            strides = [[np.int64(steps[i]) for _, steps in axes] for i in range(len(views))]
            given = [part for a, steps in zip(views, strides, strict=True) for part in (a, *steps)]
            _compiled(self.source(len(axes), wide=size >= 2**31), xp)(
                (blocks,), (THREADS,), (np.int64(size), *lengths, *given, *lanes)
            )
        one = (1,) * len(shape)
        ends = zip(lanes, self.reductions, strict=True)
        return outputs, [getattr(lane, kind)().astype(dtype).reshape(one) for lane, (kind, dtype) in ends]

    def source(self, axes: int, *, wide: bool) -> str:
        """The kernel's text for arrays of so many axes, counted in 64 bits if `wide`."""
        pointers = [("const ", "p", dtype) for dtype in self.inputs] + [("", "o", dtype) for dtype in self.outputs]
        names = [f"p{i}" for i in range(len(self.inputs))] + [f"o{i}" for i in range(len(self.outputs))]
        arguments = ["long long size", *(f"long long n{k}" for k in range(axes))]
        for (const, _, dtype), name in zip(pointers, names, strict=True):
            arguments += [f"{const}{_type(dtype)}* {name}", *(f"long long {name}s{k}" for k in range(axes))]
        lanes = [f"{_type(dtype)}* lane{i}" for i, (_, dtype) in enumerate(self.reductions)]
        index = "unsigned long long" if wide else "unsigned int"
        begins = [f"{_type(dtype)} a{i} = lane{i}[first];" for i, (_, dtype) in enumerate(self.reductions)]
        return _TEMPLATE.format(
            arguments=",\n    ".join([*arguments, *lanes]),
            index=index,
            begins="\n    ".join(begins),
            places="\n        ".join([*_places(axes, index), *(_offset(name, axes) for name in names)]),
            constants="\n    ".join(self.constants),
            lines="\n        ".join(self.lines),
            ends="\n    ".join(f"lane{i}[first] = a{i};" for i in range(len(self.reductions))),
        )


_TEMPLATE = """\
extern "C" __global__ void kernel(
    {arguments}
) {{
    const {index} first = blockIdx.x * blockDim.x + threadIdx.x;
    const {index} stride = gridDim.x * blockDim.x;
    {constants}
    {begins}
    for ({index} at = first; at < ({index})size; at += stride) {{
        {places}
        {lines}
    }}
    {ends}
}}
"""


def _places(axes: int, index: str) -> list[str]:
    """From an element's number in C order to its place along each axis."""
    lines = [f"{index} left = at;"] if axes > 1 else []
    for k in reversed(range(1, axes)):
        lines += [f"const long long i{k} = left % ({index})n{k};", f"left /= ({index})n{k};"]
    return [*lines, f"const long long i0 = {'left' if axes > 1 else 'at'};"] if axes else []


def _offset(name: str, axes: int) -> str:
    terms = " + ".join(f"i{k} * {name}s{k}" for k in range(axes)) or "0"
    return f"const long long {name}at = {terms};"


def merged(shape: Sequence[int], strides: Sequence[Sequence[int]]) -> list[tuple[int, list[int]]]:
    """Axes that follow one another without a gap in every array as one: lengths, and steps in elements."""
    axes: list[tuple[int, list[int]]] = []
    for axis, n in enumerate(shape):
        steps = [one[axis] for one in strides]
        if n == 1:
            continue
        if axes and all(before == n * step for before, step in zip(axes[-1][1], steps, strict=True)):
            axes[-1] = axes[-1][0] * n, steps
        else:
            axes.append((n, steps))
    return axes


def _start(kind: str, dtype: np.dtype[Any]) -> Any:
    if kind == "sum":
        return 0
    least, most = (-np.inf, np.inf) if dtype.kind == "f" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    return most if kind == "min" else least


def write(inputs: Sequence[tuple[np.dtype[Any], bool]], outputs: Sequence[Node], reductions: Sequence[Node]) -> Kernel:
    """The kernel that makes all outputs and reductions in one pass over its inputs, as `loops.write`."""
    body = _Body(len(inputs), [_type(dtype) for dtype, _ in inputs])
    for i, node in enumerate(outputs):
        body.lines.append(f"o{i}[o{i}at] = {body.value(node)};")
    for i, node in enumerate(reductions):
        value = body.value(node.args[0])
        if node.kind == "sum":
            body.lines.append(f"a{i} += {value};")
        else:
            sign = "<" if node.kind == "min" else ">"
            nan = f" | ({value} != {value})" if node.dtype.kind == "f" else ""
            body.lines.append(f"a{i} = ({value} {sign} a{i}){nan} ? {value} : a{i};")
    return Kernel(
        tuple(dtype for dtype, _ in inputs),
        tuple(node.dtype for node in outputs),
        tuple((node.kind, node.dtype) for node in reductions),
        tuple(body.constants),
        tuple(body.lines),
        body.operations,
    )


class _Body:
    """The statements for one element, each value computed once."""

    def __init__(self, inputs: int, types: Sequence[str]) -> None:
        self.lines = [f"const {types[i]} x{i} = p{i}[p{i}at];" for i in range(inputs)]
        self.constants: list[str] = []
        self.names: dict[int, tuple[str, Node]] = {}
        self.operations = 0

    def value(self, node: Node) -> str:
        """The name of a node's value, after the statements that make it."""
        for one in nodes_of([node]):
            name = self._value(one)
        return name

    def _value(self, node: Node) -> str:
        if id(node) in self.names:
            return self.names[id(node)][0]
        kind = _type(node.dtype)
        if node.kind == "input":
            name = f"x{node.args[0]}"
        elif node.kind == "number":
            name = f"C{len(self.constants)}"
            self.constants.append(f"const {kind} {name} = {_literal(node.args[0])};")
        else:
            text = _written(node, [self._value(arg) for arg in node.args])
            name = f"v{len(self.names)}"
            self.lines.append(f"const {kind} {name} = ({kind})({text});")
            self.operations += 1
        # The node too: an id is its own only while it lives.
        self.names[id(node)] = name, node
        return name


def _written(node: Node, args: list[str]) -> str:
    computed = node.args[0].dtype
    text = _TEXT[node.kind]
    if not isinstance(text, str):
        text = next(one for kinds, one in text.items() if computed.kind in kinds)
    unsigned = "unsigned long long" if computed.itemsize == 8 else "unsigned int"
    return text.format(*args, T=_type(node.dtype), U=unsigned)


def _type(dtype: np.dtype[Any]) -> str:
    if dtype.char in _C:
        return _C[dtype.char]
    return "long long" if dtype.kind == "i" else "unsigned long long"


def _literal(value: Any) -> str:
    """A number as C reads it, to the last bit."""
    plain = value.item()
    if isinstance(plain, bool):
        return str(plain).lower()
    if isinstance(plain, int):
        # The lowest number of a signed type is none that can be written out.
        return f"({_type(value.dtype)}){plain % 2**64}ULL"
    if not np.isfinite(plain):
        # By its bits: C's names for infinity are in headers, which NVRTC has not.
        bits = value.view(f"u{value.dtype.itemsize}").item()
        return f"__int_as_float({bits:#x})" if value.dtype.itemsize == 4 else f"__longlong_as_double({bits:#x}LL)"
    return f"({_type(value.dtype)}){plain.hex()}"


@lru_cache(maxsize=256)
def _compiled(source: str, xp: Namespace) -> Callable[..., Any]:
    """The kernel, compiled; CuPy keeps it on disk between processes."""
    kernel: Callable[..., Any] = xp.RawKernel(source, "kernel", options=OPTIONS)
    return kernel

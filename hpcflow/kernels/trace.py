"""Record what an elementwise op does, so that several of them can become one loop.

An op is a pure function of arrays and `xp`. Run once on `Traced` values in place of arrays, it
leaves behind the operations that it applied, each with the dtypes that NumPy would compute in
(NEP 50 included: NumPy itself is asked). Whatever is not sure to compile to the very values
that NumPy gives raises `Untraceable`, and the op stays with NumPy.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

DTYPES = "?bBhHiIlLqQfd"
"""NumPy's characters of what is traced; half and extended precision and complex numbers are not."""


class Untraceable(Exception):
    """An op does something that a loop is not sure to do as NumPy does."""


@dataclass(frozen=True, eq=False)
class Node:
    """One value of the loop: an input, a number, or an operation on others."""

    kind: str
    args: tuple[Any, ...]
    """The nodes it works on; an input's place, a number's value, a neighbour's input, offset and boundary modes."""
    dtype: np.dtype[Any]


def traced_input(place: int, dtype: np.dtype[Any], ndim: int) -> Traced:
    """The input with this number, as an op gets it."""
    if dtype.char not in DTYPES or not dtype.isnative:
        raise Untraceable(str(dtype))
    return Traced(Node("input", (place,), dtype), ndim)


# How an operation is written in the loop: by kind of the dtype that NumPy computes in.
_F, _I, _B = "f", "iu", "b"
_NUMERIC = (_F, _I)
OPERATIONS: dict[str, dict[str, str]] = {
    # Whole numbers wrap around. Numba tells LLVM that signed ones never do: {W} is unsigned and as wide.
    "add": {_F: "{0} + {1}", _I: "{W}({0}) + {W}({1})"},
    "subtract": {_F: "{0} - {1}", _I: "{W}({0}) - {W}({1})"},
    "multiply": {_F: "{0} * {1}", _I: "{W}({0}) * {W}({1})"},
    "divide": {_F: "{0} / {1}"},
    "negative": {_F: "-{0}", _I: "{W}(0) - {W}({0})"},
    "positive": dict.fromkeys(_NUMERIC, "{0}"),
    "absolute": {_F: "abs({0})", _I: "{0} if {0} >= 0 else {T}({W}(0) - {W}({0}))"},
    "fabs": {_F: "abs({0})"},
    "square": {_F: "{0} * {0}", _I: "{W}({0}) * {W}({0})"},
    "reciprocal": {_F: "{T}(1) / {0}"},
    "sqrt": {_F: "np.sqrt({0})"},
    "floor": {_F: "np.floor({0})"},
    "ceil": {_F: "np.ceil({0})"},
    "trunc": {_F: "np.trunc({0})"},
    # The second where it is NaN, since no comparison holds; the first where that is NaN.
    "minimum": {_F: "{0} if ({0} < {1}) | ({0} != {0}) else {1}", _I: "{0} if {0} < {1} else {1}"},
    "maximum": {_F: "{0} if ({0} > {1}) | ({0} != {0}) else {1}", _I: "{0} if {0} > {1} else {1}"},
    "fmin": {_F: "{0} if ({0} <= {1}) | ({1} != {1}) else {1}", _I: "{0} if {0} < {1} else {1}"},
    "fmax": {_F: "{0} if ({0} >= {1}) | ({1} != {1}) else {1}", _I: "{0} if {0} > {1} else {1}"},
    **{
        name: dict.fromkeys((*_NUMERIC, _B), f"{{0}} {sign} {{1}}")
        for name, sign in {
            "less": "<",
            "less_equal": "<=",
            "greater": ">",
            "greater_equal": ">=",
            "equal": "==",
            "not_equal": "!=",
        }.items()
    },
    "logical_and": {**dict.fromkeys(_NUMERIC, "({0} != 0) & ({1} != 0)"), _B: "{0} & {1}"},
    "logical_or": {**dict.fromkeys(_NUMERIC, "({0} != 0) | ({1} != 0)"), _B: "{0} | {1}"},
    "logical_xor": {**dict.fromkeys(_NUMERIC, "({0} != 0) != ({1} != 0)"), _B: "{0} != {1}"},
    "logical_not": {**dict.fromkeys(_NUMERIC, "{0} == 0"), _B: "not {0}"},
    "bitwise_and": dict.fromkeys((_I, _B), "{0} & {1}"),
    "bitwise_or": dict.fromkeys((_I, _B), "{0} | {1}"),
    "bitwise_xor": {_I: "{0} ^ {1}", _B: "{0} != {1}"},
    "invert": {_I: "~{0}", _B: "not {0}"},
    "isnan": {_F: "{0} != {0}"},
    "isinf": {_F: "abs({0}) == INF"},
    "isfinite": {_F: "abs({0}) < INF"},
}
_SAME_NAME = {"true_divide": "divide", "abs": "absolute"}
_FUNCTIONS = """
    exp exp2 expm1 log log2 log10 log1p sin cos tan sinh cosh tanh cbrt rint hypot copysign fmod power
    arcsin arccos arctan arcsinh arccosh arctanh arctan2
"""
FUNCTIONS = frozenset(_FUNCTIONS.split())
"""Functions of floats, whose last digit depends on the library: only a device's kernel holds them."""


def apply(name: str, *operands: Any) -> Traced:
    """One of NumPy's ufuncs on traced values and numbers."""
    name = _SAME_NAME.get(name, name)
    if name not in OPERATIONS and name not in FUNCTIONS:
        raise Untraceable(name)
    asked = tuple(one.node.dtype if isinstance(one, Traced) else _weak(one) for one in operands)
    try:
        *into, out = getattr(np, name).resolve_dtypes((*asked, None))
    except TypeError as error:
        raise Untraceable(str(error)) from error
    kind = next((k for k in OPERATIONS.get(name, (_F,)) if into[0].kind in k), None)
    if kind is None or len({*into}) > 1 or out.char not in DTYPES:
        raise Untraceable(f"{name} of {into}")
    args = tuple(_as(one, dtype) for one, dtype in zip(operands, into, strict=True))
    ndim = max(one.ndim for one in operands if isinstance(one, Traced))
    return Traced(Node(name, args, out), ndim)


def _weak(value: Any) -> Any:
    """How NumPy takes a number beside arrays: Python's own give way to the array's dtype."""
    if isinstance(value, np.generic):
        return value.dtype
    if isinstance(value, bool):
        return np.dtype(np.bool_)
    if isinstance(value, (int, float)):
        return type(value)
    raise Untraceable(type(value).__name__)


def _as(value: Any, dtype: np.dtype[Any]) -> Node:
    """A value in the dtype that it is computed in."""
    if isinstance(value, Traced):
        return cast(value.node, dtype)
    if dtype.kind in "iu" and (isinstance(value, float) or not np.iinfo(dtype).min <= value <= np.iinfo(dtype).max):
        raise Untraceable(f"{value} as {dtype}")
    with np.errstate(all="ignore"):
        return Node("number", (dtype.type(value),), dtype)


def nodes_of(values: Iterable[Node], closed: str = "") -> list[Node]:
    """All nodes that some values are made of, each once, behind those it is made of; not what a `closed` kind is."""
    seen: dict[int, Node] = {}
    waiting = [(one, False) for one in reversed([*values])]
    while waiting:
        one, ready = waiting.pop()
        if ready:
            seen[id(one)] = one
        elif id(one) not in seen:
            waiting.append((one, True))
            waiting += [(arg, False) for arg in reversed(one.args) if isinstance(arg, Node) and one.kind != closed]
    return list(seen.values())


def kinds_of(node: Node) -> set[str]:
    """The kinds of all nodes that a value is made of."""
    return {one.kind for one in nodes_of([node])}


def cast(node: Node, dtype: np.dtype[Any]) -> Node:
    """The value in another dtype."""
    if node.dtype == dtype:
        return node
    # What NaN and values too large become is left open by the language; NumPy and LLVM differ.
    if dtype.char not in DTYPES or (node.dtype.kind == "f" and dtype.kind in "iu"):
        raise Untraceable(f"{node.dtype} as {dtype}")
    return Node("bool" if dtype.kind == "b" else "cast", (node,), dtype)


class Traced:
    """What an op gets in place of an array."""

    __array_priority__ = 1000.0

    def __init__(self, node: Node, ndim: int) -> None:
        self.node = node
        self.ndim = ndim

    @property
    def dtype(self) -> np.dtype[Any]:
        """As the array's would be."""
        return self.node.dtype

    def astype(self, dtype: Any, *, copy: bool = True) -> Traced:  # noqa: ARG002  (a loop copies nothing)
        """As the array's."""
        return Traced(cast(self.node, np.dtype(dtype)), self.ndim)

    def sum(self, *, axis: Any, dtype: Any, keepdims: bool) -> Traced:
        """The sum of everything; along some axes it is left to NumPy."""
        dtype = np.dtype(dtype)
        if dtype.char not in "dlLqQ":
            raise Untraceable(f"sum in {dtype}")
        return self._all("sum", cast(self.node, dtype), axis, keepdims)

    def min(self, *, axis: Any, keepdims: bool) -> Traced:
        """The smallest of everything."""
        return self._all("min", self.node, axis, keepdims)

    def max(self, *, axis: Any, keepdims: bool) -> Traced:
        """The largest of everything."""
        return self._all("max", self.node, axis, keepdims)

    def _all(self, kind: str, node: Node, axis: Any, keepdims: bool) -> Traced:  # noqa: FBT001  (as NumPy's)
        if not keepdims or axis is None or len(axis) != self.ndim or node.dtype.kind == "b":
            raise Untraceable(f"{kind} along {axis} of {self.ndim}")
        return Traced(Node(kind, (node,), node.dtype), self.ndim)

    def __array__(self, *_: Any, **__: Any) -> Any:
        raise Untraceable("an array")

    def __bool__(self) -> bool:
        raise Untraceable("a decision")

    def __getattr__(self, name: str) -> Any:
        raise Untraceable(name)

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Traced:
        if method != "__call__" or kwargs:
            raise Untraceable(f"{ufunc.__name__}.{method}")
        return apply(ufunc.__name__, *inputs)

    def __pow__(self, exponent: Any) -> Traced:
        # NumPy's own short ways; any other power is a function.
        ways = {2: "square", 0.5: "sqrt", 1: "positive", -1: "reciprocal"}
        plain = isinstance(exponent, (int, float)) and not isinstance(exponent, bool)
        if not plain or exponent not in ways:
            return apply("power", self, exponent)
        if (self.dtype.kind != "f" and exponent != 2) or self.dtype.kind == "b":
            raise Untraceable(f"power {exponent}")
        if self.dtype.kind != "f" and isinstance(exponent, float):
            raise Untraceable(f"power {exponent}")
        return apply(ways[exponent], self)


def _operator(name: str, *, swapped: bool = False) -> Callable[..., Traced]:
    def run(self: Traced, *others: Any) -> Traced:
        return apply(name, *others, self) if swapped else apply(name, self, *others)

    return run


for _name, _method in {
    "add": "add",
    "subtract": "sub",
    "multiply": "mul",
    "divide": "truediv",
    "bitwise_and": "and",
    "bitwise_or": "or",
    "bitwise_xor": "xor",
}.items():
    setattr(Traced, f"__{_method}__", _operator(_name))
    setattr(Traced, f"__r{_method}__", _operator(_name, swapped=True))
for _name, _method in {
    "less": "lt",
    "less_equal": "le",
    "greater": "gt",
    "greater_equal": "ge",
    "equal": "eq",
    "not_equal": "ne",
    "negative": "neg",
    "positive": "pos",
    "invert": "invert",
    "absolute": "abs",
}.items():
    setattr(Traced, f"__{_method}__", _operator(_name))
Traced.__hash__ = object.__hash__  # type: ignore[method-assign]


class Names:
    """`xp` for traced values: NumPy's functions by name."""

    __name__ = "trace"

    def __getattr__(self, name: str) -> Any:
        if name in OPERATIONS or name in FUNCTIONS or name in _SAME_NAME:

            def run(*operands: Any, dtype: Any = None, out: Any = None) -> Traced:  # noqa: ARG001  (a loop has its own)
                if not any(isinstance(one, Traced) for one in operands):
                    raise Untraceable(f"{name} of numbers")
                if dtype is not None:
                    operands = tuple(
                        one.astype(dtype) if isinstance(one, Traced) else np.dtype(dtype).type(one) for one in operands
                    )
                return apply(name, *operands)

            return run
        kind = getattr(np, name, None)
        if isinstance(kind, type) and issubclass(kind, np.generic):
            return kind
        raise Untraceable(name)

    @staticmethod
    def asarray(value: Any) -> Traced:
        """The value itself."""
        if not isinstance(value, Traced):
            raise Untraceable("a number")
        return value

    @staticmethod
    def where(condition: Any, a: Any, b: Any) -> Traced:
        """As `numpy.where`."""
        asked = [np.empty(0, one.dtype) if isinstance(one, Traced) else one for one in (a, b)]
        for one in (a, b):
            if not isinstance(one, Traced):
                _weak(one)
        dtype = np.result_type(*asked)
        if not isinstance(condition, Traced) or dtype.char not in DTYPES:
            raise Untraceable(f"where of {dtype}")
        args = (cast(condition.node, np.dtype(np.bool_)), _as(a, dtype), _as(b, dtype))
        ndim = max(one.ndim for one in (condition, a, b) if isinstance(one, Traced))
        return Traced(Node("where", args, dtype), ndim)

    @staticmethod
    def clip(x: Any, low: Any = None, high: Any = None) -> Traced:
        """As `numpy.clip`: the larger of it and `low`, then the smaller of that and `high`."""
        numbers = [one for one in (low, high) if isinstance(one, (int, float))]
        if any(math.isnan(one) for one in numbers):
            raise Untraceable("clip at NaN")
        if low is None or high is None:
            return apply("minimum", x, high) if low is None else apply("maximum", x, low)
        # All three in one dtype, as NumPy's own `clip` does it.
        asked = [np.empty(0, one.dtype) if isinstance(one, Traced) else one for one in (x, low, high)]
        dtype = np.result_type(*asked)
        wide = [Traced(_as(one, dtype), getattr(one, "ndim", 0)) for one in (x, low, high)]
        return apply("minimum", apply("maximum", wide[0], wide[1]), wide[2])

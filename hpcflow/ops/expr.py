"""Formulas over nodes, in NumPy's words.

The text is parsed by Python's own parser and then read against a whitelist; nothing of it is
ever compiled or evaluated by Python. What comes out is a tree of closures over NumPy calls.
"""

from __future__ import annotations

import ast
import math
import operator
import warnings
from collections.abc import Callable, Container
from dataclasses import dataclass
from difflib import get_close_matches
from functools import lru_cache
from typing import Any

import numpy as np

from hpcflow.casting import cast
from hpcflow.errors import Mismatch
from hpcflow.meta import Meta
from hpcflow.namespace import Array, Namespace
from hpcflow.ops._functions import ALIASES, CASTS, ELSEWHERE, FUNCTIONS
from hpcflow.ops._wraps import Reader as Wraps
from hpcflow.registry import op

LENGTH = 4000
"""The most characters of an expression."""
DEPTH = 100
"""How deep one may be nested, so that Python's stack is enough to read and to run it."""
BITS = 64
"""Of the largest whole number, written or worked out from others: no array holds a larger one."""

CONSTANTS = {"pi": math.pi, "e": math.e, "inf": math.inf, "nan": math.nan}

_BINARY: dict[type[ast.AST], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
    ast.BitAnd: operator.and_,
    ast.BitOr: operator.or_,
    ast.BitXor: operator.xor,
}
_UNARY: dict[type[ast.AST], Callable[[Any], Any]] = {
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
    ast.Invert: operator.invert,
}
_COMPARE: dict[type[ast.AST], Callable[[Any, Any], Any]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}
_HINTS: dict[type[ast.AST], str] = {
    ast.And: "write `&`, with each comparison in parentheses",
    ast.Or: "write `|`, with each comparison in parentheses",
    ast.Not: "write `~`",
    ast.IfExp: "write `where(condition, a, b)`",
    ast.Subscript: "take a part of an array with `op: isel`, as a step before",
    ast.MatMult: "only elementwise operations",
    ast.LShift: "multiply by a power of 2",
    ast.RShift: "divide by a power of 2 with `//`",
    ast.Constant: "only numbers",
    ast.List: "only nodes and numbers",
    ast.Tuple: "only nodes and numbers",
    ast.In: "compare with `==` and join with `|`",
    ast.NotIn: "compare with `!=` and join with `&`",
    ast.Is: "write `==`",
    ast.IsNot: "write `!=`",
    ast.NamedExpr: "write `==` to compare, or make it a step of its own",
}

Values = dict[str, Array]
Run = Callable[[Values, Namespace], Any]


@dataclass(frozen=True)
class Compiled:
    """An expression, read: how to run it, and what it names."""

    run: Run
    names: tuple[str, ...]
    """In the order of first use, those that are constants included."""
    temporaries: int
    """The most arrays in between that are alive at once."""


@dataclass(frozen=True)
class _Part:
    """A part of an expression: a number that is known already, or something to run."""

    run: Run | None = None
    value: Any = None
    live: int = 0
    """The most arrays alive while it runs, its result among them; 0 for a node or a number."""


def names_in(*, expr: str, nodes: Container[str] = ()) -> tuple[str, ...]:
    """The nodes that an expression reads, in the order of first use.

    `pi`, `e`, `inf` and `nan` are numbers, unless `nodes` has one of that name.
    """
    used = compiled(expr).names
    if not used:
        raise _wrong("at least one node's name", "only numbers", hint="name a source or a step in the expression")
    constants = [name for name in used if name in CONSTANTS]
    shadowed = [name for name in constants if name in nodes]
    if shadowed and shadowed != constants:
        number = next(name for name in constants if name not in shadowed)
        raise _wrong(
            "names of constants to stand all for nodes or all for numbers",
            f"a node `{shadowed[0]}` and a number `{number}`",
            hint=f"rename the node `{shadowed[0]}`, or write out the number `{number}`",
        )
    variables = tuple(name for name in used if name not in CONSTANTS or shadowed)
    if not variables:
        raise _wrong("at least one node's name", "only numbers", hint="name a source or a step in the expression")
    return variables


def scratch(*metas: Meta, expr: str) -> float:
    """The arrays in between, as large as the result, in bytes per byte of the inputs."""
    inputs = sum(meta.nbytes for meta in metas)
    itemsize = max(8, *(meta.dtype.itemsize for meta in metas))
    size = math.prod(np.broadcast_shapes(*(meta.shape for meta in metas)))
    return compiled(expr).temporaries * itemsize * size / inputs if inputs else 0.0


def doubts(*metas: Meta, expr: str) -> list[Mismatch]:
    """Parts of the formula that small or unsigned integers may leave their range in, and what to write."""
    reader = _Reader(expr.strip())
    names = _named(compiled(expr), len(metas))
    nodes = {name: np.ones(1, meta.dtype) for name, meta in zip(names, metas, strict=True)}
    wraps = Wraps(reader.text, CONSTANTS | nodes, _on_samples)
    with np.errstate(all="ignore"):
        wraps.read(reader.parse())
    return wraps.found


def _on_samples(kind: Any) -> Callable[..., Any]:
    if kind in CASTS:
        return lambda value: _converted(value, kind, np)
    function: Any = getattr(np, ALIASES.get(kind, kind)) if isinstance(kind, str) else {**_BINARY, **_UNARY}[kind]
    return function  # type: ignore[no-any-return]


def _named(formula: Compiled, count: int) -> tuple[str, ...]:
    """The names that stand for nodes, if there are so many of them."""
    names = formula.names
    if count < len(names):
        names = tuple(name for name in names if name not in CONSTANTS)
    assert count == len(names), f"expected {count} arrays, found {len(names)}"
    return names


@op(inputs=names_in, scratch=scratch, doubts=doubts)
def expr(*arrays: Array, expr: str, xp: Namespace) -> Array:
    """Compute a formula over nodes, element by element, as NumPy would.

    The formula names nodes directly. It may hold numbers, `+ - * / // % **`, comparisons,
    `& | ~ ^`, the constants `pi`, `e`, `inf` and `nan`, and NumPy's elementwise functions:
    `sqrt`, `abs`, `exp`, `log`, `sin`, `where`, `minimum`, `maximum`, `clip`, `hypot`,
    `isnan`, `round` and so on. Dtypes follow NumPy's rules: a plain number does not widen an
    array, and small integers wrap around. The name of a dtype converts, as `op: astype` does:
    `float32(a) - b`.

    Parameters
    ----------
    expr : str
        The formula.

    Examples
    --------
    energy: {op: expr, expr: "sqrt(gx**2 + gy**2)"}
    """
    formula = compiled(expr)
    names = _named(formula, len(arrays))
    try:
        # What NumPy warns of shows in the result, as inf or nan.
        with np.errstate(all="ignore"):
            return xp.asarray(formula.run(dict(zip(names, arrays, strict=True)), xp))
    except TypeError as error:
        raise Mismatch(
            f"expected arrays that the expression fits, found {error}", parameter="expr", hint=_type_hint(expr)
        ) from error


def _type_hint(text: str) -> str:
    if "^" in text:
        return "`^` works on bits; a power is `**`"
    if "&" in text or "|" in text:
        return "`&` and `|` bind tighter than comparisons: write `(a > 0) & (b < 1)`"
    return ""


@lru_cache(maxsize=4096)
def compiled(text: str) -> Compiled:
    """Read an expression.

    Raises
    ------
    Mismatch
        Naming the first piece that does not belong into one, and where it stands.
    """
    reader = _Reader(text.strip())
    part = reader.read(reader.parse(), 0)
    run = part.run or _constant(part.value)
    # The result is not in between.
    return Compiled(run, tuple(reader.names), max(0, part.live - 1))


def _constant(value: Any) -> Run:
    return lambda _values, _xp: value


def _wrong(expected: str, found: str, hint: str = "") -> Mismatch:
    return Mismatch(f"expected {expected}, found {found}", parameter="expr", hint=hint)


class _Reader:
    """One expression on its way from text to closures."""

    def __init__(self, text: str) -> None:
        # One line, so that a column says where a piece stands.
        self.text = text.translate({ord(c): " " for c in "\n\r\t\f"})
        self.names: dict[str, None] = {}

    def parse(self) -> ast.expr:
        if len(self.text) > LENGTH:
            raise _wrong(
                f"an expression of at most {LENGTH} characters", f"{len(self.text)}", hint="spread it over steps"
            )
        if "#" in self.text:
            raise _wrong("an expression", f"`#` at character {self.text.index('#') + 1}", hint="a comment goes outside")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return ast.parse(self.text, mode="eval").body
        except SyntaxError as error:
            place = f" at character {error.offset}" if error.offset else " at its end"
            assigned = error.offset and self.text[error.offset - 1 : error.offset + 1].strip() == "="
            hint = "to compare, write `==`" if assigned or "'=='" in error.msg else ""
            raise _wrong("an expression", f"{error.msg.split('. ')[0]}{place}", hint) from None
        except (ValueError, RecursionError, MemoryError):
            raise _wrong("an expression", "one that cannot be read", hint="spread it over steps") from None

    def read(self, node: ast.AST, depth: int) -> _Part:
        """A part of the tree as closures."""
        if depth > DEPTH:
            raise _wrong(f"an expression nested at most {DEPTH} deep", "one nested deeper", hint="spread it over steps")
        match node:
            case ast.Constant(value=value) if isinstance(value, (bool, int, float, complex)):
                return self._number(value, node)
            case ast.Name(id=name):
                return self._name(name)
            case ast.BinOp(left=left, op=kind, right=right):
                return self._apply(node, self._operator(_BINARY, kind, node), [left, right], depth)
            case ast.UnaryOp(op=kind, operand=operand):
                return self._apply(node, self._operator(_UNARY, kind, node), [operand], depth)
            case ast.Compare(left=left, ops=kinds, comparators=others):
                tests = [self._operator(_COMPARE, kind, node) for kind in kinds]
                return self._apply(node, _chain(tests), [left, *others], depth, held=len(tests) > 1)
            case ast.Call(func=ast.Name(id=name), args=args, keywords=keywords):
                return self._call(node, name, args, keywords, depth)
        raise self._refused(node, node)

    def _number(self, value: complex, node: ast.AST) -> _Part:
        if isinstance(value, int) and value.bit_length() > BITS:
            raise _wrong(f"whole numbers of at most {BITS} bits", self._piece(node), hint="write `1e30` for a float")
        return _Part(value=value)

    def _name(self, name: str) -> _Part:
        self.names.setdefault(name)
        if name in CONSTANTS:
            number = CONSTANTS[name]
            return _Part(run=lambda values, _xp: values.get(name, number))
        return _Part(run=lambda values, _xp: values[name])

    def _operator(self, known: dict[type[ast.AST], Any], kind: ast.AST, node: ast.AST) -> Any:
        if type(kind) not in known:
            raise self._refused(kind, node)
        return known[type(kind)]

    def _call(self, node: ast.AST, name: str, args: list[ast.expr], keywords: list[ast.keyword], depth: int) -> _Part:
        name = ALIASES.get(name, name)
        if name not in FUNCTIONS and name not in CASTS:
            near = get_close_matches(name, [*FUNCTIONS, *ALIASES, *CASTS], n=1)
            hint = ELSEWHERE.get(name) or (f"did you mean `{near[0]}`?" if near else "see `hpcflow ops expr`")
            raise _wrong("an elementwise function of NumPy's", self._piece(node), hint)
        if keywords:
            raise _wrong(f"`{name}` without named arguments", self._piece(node), hint="give them in order")
        fewest, most = FUNCTIONS.get(name, (1, 1))
        if not fewest <= len(args) <= most:
            count = str(fewest) if fewest == most else f"{fewest} to {most}"
            raise _wrong(f"{count} argument{'s' * (count != '1')} of `{name}`", f"{len(args)} in {self._piece(node)}")
        if name == "round" and len(args) == 2 and not isinstance(self.read(args[1], depth + 1).value, int):
            raise _wrong("a whole number of decimals", self._piece(args[1]))
        parts = [self.read(arg, depth + 1) for arg in args]
        runs = [part.run or _constant(part.value) for part in parts]
        if name in CASTS:
            return _Part(run=lambda values, xp: _converted(runs[0](values, xp), name, xp), live=_live(parts) + 1)
        return _Part(run=lambda values, xp: getattr(xp, name)(*[run(values, xp) for run in runs]), live=_live(parts))

    def _apply(
        self, node: ast.AST, function: Callable[..., Any], operands: list[ast.expr], depth: int, *, held: bool = False
    ) -> _Part:
        """An operator on its operands; worked out at once where all of them are numbers."""
        parts = [self.read(operand, depth + 1) for operand in operands]
        if all(part.run is None for part in parts):
            return self._number(self._folded(node, function, [part.value for part in parts]), node)
        runs = [part.run or _constant(part.value) for part in parts]
        return _Part(run=lambda values, xp: function(*[run(values, xp) for run in runs]), live=_live(parts) + held)

    def _folded(self, node: ast.AST, function: Callable[..., Any], values: list[Any]) -> Any:
        if function is operator.pow and all(isinstance(value, int) for value in values):
            base, exponent = values
            if abs(base) > 1 and exponent * math.log2(abs(base)) > BITS:
                raise _wrong(f"whole numbers of at most {BITS} bits", self._piece(node), hint="write a float")
        if function is operator.invert and isinstance(values[0], bool):
            return not values[0]
        try:
            return function(*values)
        except (ArithmeticError, TypeError) as error:
            raise _wrong("numbers that can be worked out", f"{error} in {self._piece(node)}") from None

    def _refused(self, kind: ast.AST, node: ast.AST) -> Mismatch:
        hint = _HINTS.get(type(kind), "")
        match node:
            case ast.BoolOp(op=joined):
                hint = _HINTS[type(joined)]
            case ast.Call(func=ast.Attribute(attr=name)) if name in FUNCTIONS or name in ALIASES:
                hint = f"write `{name}(…)`"
            case ast.Attribute(attr=name) if name in FUNCTIONS:
                hint = f"write `{name}(…)`"
        return _wrong("nodes, numbers, operators and NumPy's elementwise functions", self._piece(node), hint)

    def _piece(self, node: ast.AST) -> str:
        """The text of a part, and where it stands."""
        piece = ast.get_source_segment(self.text, node) or self.text
        column = self.text.encode()[: getattr(node, "col_offset", 0)].decode()
        return f"`{piece if len(piece) <= 60 else piece[:57] + '…'}` at character {len(column) + 1}"


def _converted(value: Any, dtype: str, xp: Namespace) -> Any:
    return cast(value, dtype, xp) if hasattr(value, "dtype") else np.dtype(dtype).type(value)


def _live(parts: list[_Part]) -> int:
    """The most arrays alive at once: results of earlier parts wait for the later ones."""
    waiting = most = 0
    for part in parts:
        most = max(most, waiting + part.live)
        waiting += part.live > 0
    return max(most, waiting + 1)


def _chain(tests: list[Callable[[Any, Any], Any]]) -> Callable[..., Any]:
    """``a < b < c`` as ``(a < b) & (b < c)``."""
    if len(tests) == 1:
        return tests[0]

    def run(*values: Any) -> Any:
        result = tests[0](values[0], values[1])
        for test, left, right in zip(tests[1:], values[1:-1], values[2:], strict=True):
            result = result & test(left, right)
        return result

    return run

"""Where integers may leave the range of their dtype, told from dtypes and written numbers alone."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from operator import add, mul
from typing import Any

import numpy as np

from hpcflow.errors import Mismatch
from hpcflow.ops._functions import CASTS

SMALL = 2
"""Bytes of the integers whose range data are likely to leave."""


@dataclass(frozen=True)
class Range:
    """What is known of a part of a formula: its dtype, or a plain number's value, and its bounds."""

    sample: Any
    """An array of one element with its dtype; a plain number as it is."""
    low: int | None = None
    high: int | None = None
    """Of integers; `None` where nothing is known or needs to be."""
    small: bool = True
    """Whether it is made of integers of at most 16 bits, which fill their range; of larger ones data seldom do."""


FUNCTIONS: dict[str, type[ast.AST]] = {
    "add": ast.Add,
    "subtract": ast.Sub,
    "multiply": ast.Mult,
    "power": ast.Pow,
    "negative": ast.USub,
    "floor_divide": ast.FloorDiv,
    "mod": ast.Mod,
    "remainder": ast.Mod,
    "bitwise_and": ast.BitAnd,
}
"""Functions that are operators by another name."""
SIGNS: dict[type[ast.AST], str] = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Pow: "**"}
SAME = frozenset(["positive", "round", "floor", "ceil", "trunc", "rint", "nan_to_num", "conj", "conjugate", "real"])


def limits(dtype: np.dtype[Any]) -> tuple[int, int]:
    """The least and the greatest number of a dtype of integers or booleans."""
    return (0, 1) if dtype.kind == "b" else (int(np.iinfo(dtype).min), int(np.iinfo(dtype).max))


def leaves(dtype: np.dtype[Any], low: int, high: int, *, likely: bool = False) -> str:
    """How integers from `low` to `high` leave a dtype: ``below 0``; empty where they do not, or it is unlikely."""
    least, most = limits(dtype)
    likely = likely or dtype.itemsize <= SMALL
    if low < least and (likely or dtype.kind == "u"):
        return f"below {least}"
    return f"above {most}" if high > most and likely else ""


def wrapping(dtype: np.dtype[Any], low: float, high: float, what: str) -> Iterator[Mismatch]:
    """The doubt about an op that makes integers of other integers, in the same dtype.

    Parameters
    ----------
    dtype : dtype
    low, high : float
        The least and the greatest number that it may make.
    what : str
        What a message calls its result.
    """
    if how := leaves(dtype, int(low), int(high)):
        yield Mismatch(
            f"{what} is computed in {dtype} and wraps {how}",
            hint=f"cast before: `op: astype`, `dtype: {_wide(dtype)}`",
        )


def _wide(dtype: np.dtype[Any]) -> str:
    return "float32" if dtype.itemsize <= SMALL else "float64"


def weighted(dtype: np.dtype[Any], weights: Any, what: str) -> Iterator[Mismatch]:
    """The doubt about a sum of weighted elements."""
    if dtype.kind in "iu":
        flat = np.asarray(weights, np.float64).ravel()
        ends = np.multiply.outer(flat, np.array(limits(dtype), np.float64))
        yield from wrapping(dtype, float(ends.min(axis=1).sum()), float(ends.max(axis=1).sum()), what)


class Reader:
    """One formula, over nodes whose metas are known.

    Parameters
    ----------
    text : str
    values : mapping of str to array or number
        What each name stands for: ones with the dtype of its node, or a number.
    functions : callable
        From the name of a function, or the kind of an operator, to a function on such values.
    """

    def __init__(self, text: str, values: Mapping[str, Any], functions: Callable[[Any], Callable[..., Any]]) -> None:
        self.text = text
        self.values = values
        self.functions = functions
        self.found: list[Mismatch] = []

    def read(self, node: ast.AST, facts: frozenset[tuple[str, str]] = frozenset()) -> Range:
        """What is known of a part; `facts` are pairs of which the first is not less than the second."""
        match node:
            case ast.Constant(value=value):
                return _number(value)
            case ast.Name(id=name):
                return _any(self.values[name])
            case ast.BinOp(left=left, op=op, right=right):
                return self._operation(node, type(op), self.functions(type(op)), [left, right], facts)
            case ast.UnaryOp(op=op, operand=operand):
                return self._operation(node, type(op), self.functions(type(op)), [operand], facts)
            case ast.Compare(left=left, comparators=others):
                for one in (left, *others):
                    self.read(one, facts)
                return _any(np.ones(1, bool))
            case ast.Call(func=ast.Name(id=name), args=args):
                return self._call(node, name, args, facts)
        raise TypeError(type(node).__name__)

    def _call(self, node: ast.Call, name: str, args: list[ast.expr], facts: frozenset[tuple[str, str]]) -> Range:
        if name in FUNCTIONS:
            return self._operation(node, FUNCTIONS[name], self.functions(name), args, facts)
        if name == "square":
            return self._operation(node, ast.Mult, np.multiply, [args[0], args[0]], facts)
        if name == "where":
            return self._where(node, args, facts)
        known = [self.read(arg, facts) for arg in args]
        made = _made(self.functions(name)(*(one.sample for one in known)), known)
        if name in ("abs", "absolute") and made.low is not None and None not in (known[0].low, known[0].high):
            most = max(abs(known[0].low or 0), abs(known[0].high or 0))
            return self._held(node, made, 0, most, lambda: f"abs({_wide(made.sample.dtype)}({self._text(args[0])}))")
        return _chosen(name, made, known)

    def _where(self, node: ast.AST, args: Sequence[ast.expr], facts: frozenset[tuple[str, str]]) -> Range:
        condition, then, other = args
        self.read(condition, facts)
        known = [self.read(then, facts | _facts(condition)), self.read(other, facts | _facts(condition, no=True))]
        # From 2.5 on NumPy refuses a number that does not fit; its kind alone decides.
        kinds = [type(one.sample)(0) if isinstance(one.sample, int) else one.sample for one in known]
        made = _made(np.ones(1, np.result_type(*kinds)), known)
        numbers = [one.low for one in known if one.low is not None and not isinstance(one.sample, np.ndarray)]
        if made.low is not None and numbers and len(numbers) < len(known):
            # NumPy takes a number for one of the other's dtype, whether it fits or not.
            texts = [self._text(arg) for arg in args]
            place = next(i for i, one in enumerate(known, 1) if isinstance(one.sample, np.ndarray))
            texts[place] = f"{_wide(made.sample.dtype)}({texts[place]})"
            held = self._held(node, made, min(numbers), max(numbers), lambda: f"where({', '.join(texts)})")
            made = made if held.low is not None else held
        return _within(made, min, max, known)

    def _operation(
        self,
        node: ast.AST,
        kind: type[ast.AST],
        function: Callable[..., Any],
        operands: Sequence[ast.expr],
        facts: frozenset[tuple[str, str]],
    ) -> Range:
        known = [self.read(one, facts) for one in operands]
        made = function(*(one.sample for one in known))
        if not isinstance(made, np.ndarray):
            return _number(made)
        result = _made(made, known)
        if made.dtype.kind not in "iu" or any(one.low is None for one in known):
            return result
        bounds = _bounds(kind, known)
        if bounds is None:
            return result
        low, high = bounds
        if kind is ast.Sub and _not_less(operands[0], operands[1], facts):
            low = max(low, 0)
        remedy = partial(self._remedy, kind, operands, known, made.dtype)
        return self._held(node, result, low, high, remedy)

    def _held(self, node: ast.AST, made: Range, low: int, high: int, remedy: Callable[[], str]) -> Range:
        dtype = made.sample.dtype
        how = leaves(dtype, low, high, likely=made.small)
        if not how:
            least, most = limits(dtype)
            fits = least <= low and high <= most
            return replace(made, low=low, high=high) if fits else made
        column = len(self.text.encode()[: getattr(node, "col_offset", 0)].decode())
        self.found.append(
            Mismatch(
                f"`{self._text(node)}` is computed in {dtype} and wraps {how} at character {column + 1}",
                parameter="expr",
                hint=f"write `{remedy()}`",
            )
        )
        # Whatever is made of it will be made of something wider.
        return replace(made, low=None, high=None)

    def _remedy(
        self, kind: type[ast.AST], operands: Sequence[ast.expr], known: Sequence[Range], dtype: np.dtype[Any]
    ) -> str:
        wide = _wide(dtype)
        if len(operands) == 1:
            return f"-{wide}({self._text(operands[0])})"
        texts = [self._text(one) for one in operands]
        simple = (ast.Name, ast.Constant, ast.Call)
        texts = [text if isinstance(one, simple) else f"({text})" for one, text in zip(operands, texts, strict=True)]
        place = next(i for i, one in enumerate(known) if isinstance(one.sample, np.ndarray))
        texts[place] = f"{wide}({self._text(operands[place])})"
        return f" {SIGNS[kind]} ".join(texts)

    def _text(self, node: ast.AST) -> str:
        return ast.get_source_segment(self.text, node) or self.text


def _number(value: Any) -> Range:
    whole = isinstance(value, (int, np.integer))
    return Range(value, int(value), int(value)) if whole else Range(value)


def _any(sample: Any) -> Range:
    if not isinstance(sample, np.ndarray):
        return _number(sample)
    if sample.dtype.kind not in "biu":
        return Range(sample)
    return Range(sample, *limits(sample.dtype), small=sample.dtype.itemsize <= SMALL)


def _made(sample: Any, known: Sequence[Range]) -> Range:
    """What is known of a result before its bounds are."""
    return replace(_any(sample), small=all(one.small for one in known))


def _chosen(name: str, made: Range, known: Sequence[Range]) -> Range:
    """What is known of a function that gives one of its arguments, or the first one rounded."""
    if name in ("minimum", "fmin"):
        return _within(made, min, min, known)
    if name in ("maximum", "fmax"):
        return _within(made, max, max, known)
    if name == "clip":
        return _within(made, min, min, [_within(made, max, max, known[:2]), known[2]])
    low, high = known[0].low, known[0].high
    if low is None or high is None or made.low is None or name not in SAME | CASTS:
        return made
    least, most = limits(made.sample.dtype)
    return replace(made, low=low, high=high) if least <= low and high <= most else made


def _within(made: Range, low: Callable[..., int], high: Callable[..., int], known: Sequence[Range]) -> Range:
    lows, highs = [one.low for one in known], [one.high for one in known]
    if None in lows or None in highs or made.low is None:
        # A part that has left its range leaves its trace.
        return replace(made, low=None, high=None)
    return replace(made, low=low(lows), high=high(highs))


def _bounds(kind: type[ast.AST], known: Sequence[Range]) -> tuple[int, int] | None:
    """The least and the greatest number that an operator makes; `None` where it cannot leave its dtype."""
    lows, highs = [one.low or 0 for one in known], [one.high or 0 for one in known]
    if kind in (ast.Add, ast.Mult, ast.Pow):
        if kind is ast.Pow:
            lows[1], highs[1] = max(0, min(lows[1], 64)), max(0, min(highs[1], 64))
        function: Any = {ast.Add: add, ast.Mult: mul, ast.Pow: pow}[kind]
        ends = [function(a, b) for a, b in product((lows[0], highs[0]), (lows[1], highs[1]))]
        # An even power has its least value between the ends.
        return min(0, *ends) if kind is ast.Pow else min(ends), max(ends)
    if kind is ast.Sub:
        return lows[0] - highs[1], highs[0] - lows[1]
    if kind is ast.USub:
        return -highs[0], -lows[0]
    divisor = lows[1] if len(known) > 1 and lows[1] == highs[1] > 0 else None
    if divisor and kind in (ast.FloorDiv, ast.Mod):
        return (lows[0] // divisor, highs[0] // divisor) if kind is ast.FloorDiv else (0, divisor - 1)
    if kind is ast.BitAnd and max(lows) >= 0:
        return 0, min(high for low, high in zip(lows, highs, strict=True) if low >= 0)
    return None


def _facts(condition: ast.AST, *, no: bool = False) -> frozenset[tuple[str, str]]:
    """What a comparison tells of its sides, where it holds or (`no`) does not."""
    match condition:
        case ast.Compare(left=left, ops=[op], comparators=[right]):
            more = isinstance(op, (ast.Gt, ast.GtE))
            if more or isinstance(op, (ast.Lt, ast.LtE)):
                sides = ast.dump(left), ast.dump(right)
                return frozenset([sides if more != no else sides[::-1]])
    return frozenset()


def _not_less(left: ast.expr, right: ast.expr, facts: frozenset[tuple[str, str]]) -> bool:
    """Whether the left side of a difference is never less than the right one."""
    above, below = _among(left, ("maximum", "fmax")), _among(right, ("minimum", "fmin"))
    return bool(above & below) or any((a, b) in facts for a in above for b in below)


def _among(node: ast.expr, names: tuple[str, str]) -> set[str]:
    """A part of a formula, and all that it is no less (or no more) than."""
    match node:
        case ast.Call(func=ast.Name(id=name), args=args) if name in names:
            return {ast.dump(node), *(ast.dump(arg) for arg in args)}
    return {ast.dump(node)}

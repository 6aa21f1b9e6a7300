"""Plain scalars by the core schema of YAML 1.2: text to value, and value to text."""

from __future__ import annotations

import math
import re
from typing import Any

Scalar = str | int | float | bool | None

INTEGER = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
WORDS: dict[str, Scalar] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **{sign + word: float(sign + "inf") for sign in ("", "+", "-") for word in (".inf", ".Inf", ".INF")},
    **dict.fromkeys((".nan", ".NaN", ".NAN"), math.nan),
}
DIGITS = 100
"""The longest integer that is read: Python's own limit is in the thousands, NumPy's at 20."""


def resolve(text: str) -> Scalar:
    """The value of a plain (unquoted) scalar.

    Raises
    ------
    ValueError
        For an integer of more than `DIGITS` digits.
    """
    if text in WORDS:
        return WORDS[text]
    if INTEGER.fullmatch(text):
        if len(text) > DIGITS:
            raise ValueError(f"expected an integer of at most {DIGITS} digits, found one of {len(text)}")
        # `012` is twelve: only a prefix changes the base.
        return int(text[2:], {"0x": 16, "0o": 8}[text[:2]]) if text[:2] in ("0x", "0o") else int(text)
    return float(text) if FLOAT.fullmatch(text) else text


PLAIN = re.compile(r"[A-Za-z0-9_./$(+~-]([^\x00-\x1f\x7f-\x9f:#,\[\]{}\"'\\]*[^\x00-\x20\x7f-\x9f:#,\[\]{}\"'\\])?")
ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r"}
UNPRINTABLE = re.compile(r"[\"\\\x00-\x1f\x7f-\xa0\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufeff\ufffe\uffff]")


def show(value: Any) -> str:
    """A value as YAML would have it on one line; reading that gives the value again."""
    if isinstance(value, str):
        return value if _is_plain(value) else f'"{UNPRINTABLE.sub(_escape, value)}"'
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, float):
        return _show_float(value)
    if isinstance(value, dict):
        return "{" + ", ".join(f"{show(k)}: {show(v)}" for k, v in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(show, value)) + "]"
    return str(value)


def _is_plain(text: str) -> bool:
    """Whether text reads as itself without quotes, also inside a list and before a `:`."""
    if not PLAIN.fullmatch(text) or text[:3] in ("---", "...") or (text[0] == "-" and text[1:2] in ("", " ")):
        return False
    return _is_text(text)


def _escape(match: re.Match[str]) -> str:
    return ESCAPES.get(match[0]) or f"\\u{ord(match[0]):04x}"


def _show_float(value: float) -> str:
    if math.isnan(value):
        return ".nan"
    if math.isinf(value):
        return ".inf" if value > 0 else "-.inf"
    return repr(value)


def short(value: Any, width: int = 60) -> str:
    """`show`, cut to what fits in a message; never builds much more than that."""
    text = show(_clipped(value, width, depth=4))
    return text if len(text) <= width else text[: width - 3] + "..."


def found(value: Any) -> str:
    """What a message says was found: text stands in backticks, anything else speaks for itself."""
    if not isinstance(value, str):
        return short(value)
    # Quotes only where the text would not read as text without them.
    bare = bool(value) and value == value.strip() and value.isprintable() and _is_text(value)
    return f"`{value if len(value) <= 60 else value[:57] + '...'}`" if bare else f"`{short(value)}`"


def _is_text(text: str) -> bool:
    return text not in WORDS and not INTEGER.fullmatch(text) and not FLOAT.fullmatch(text)


def _clipped(value: Any, width: int, depth: int) -> Any:
    if isinstance(value, str):
        return value[:width]
    if isinstance(value, int) and not isinstance(value, bool) and value.bit_length() > 4 * DIGITS:
        return "a very large integer"
    if isinstance(value, dict) and depth:
        return {k: _clipped(v, width, depth - 1) for k, v in list(value.items())[:width]}
    if isinstance(value, (list, tuple)) and depth:
        return [_clipped(one, width, depth - 1) for one in value[:width]]
    return "…" if isinstance(value, (dict, list, tuple)) else value

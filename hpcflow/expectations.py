"""Types in words: what a parameter's annotation asks for, as a person would say it."""

from __future__ import annotations

import types
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo

LISTS = (list, tuple, set, frozenset, Sequence)
MAPPINGS = (dict, Mapping)
NOUNS: Mapping[Any, tuple[str, str]] = {
    str: ("text", "text"),
    int: ("an integer", "integers"),
    float: ("a number", "numbers"),
    bool: ("true or false", "true or false"),
    type(None): ("null", "nulls"),
}


@dataclass(frozen=True)
class Says:
    """Put into ``Annotated[…]``: what such a value is called, one of them and several."""

    one: str
    many: str


def describe(annotation: Any) -> str:
    """What a parameter must be: ``"a number greater than 0, or a list of them"``."""
    return _nouns(annotation)[0]


def choices(annotation: Any) -> tuple[str, ...]:
    """The words that an annotation lists, if it does."""
    found: list[str] = []
    for branch in _branches(annotation):
        if get_origin(branch) is Literal:
            found += [one for one in get_args(branch) if isinstance(one, str)]
    return tuple(found)


def element(annotation: Any, path: Sequence[str | int]) -> Any:
    """The annotation of what lies at `path` (indices and keys) inside a value."""
    for step in path:
        wanted = LISTS if isinstance(step, int) else MAPPINGS
        inside = [b for b in _branches(annotation) if get_origin(b) in (*wanted, *MAPPINGS)]
        if not inside:
            return Any
        arguments = [a for a in get_args(inside[0]) if a is not Ellipsis]
        annotation = arguments[min(step, len(arguments) - 1) if isinstance(step, int) else -1]
        if get_origin(inside[0]) in MAPPINGS:
            annotation = get_args(inside[0])[1]
    return annotation


def _branches(annotation: Any) -> list[Any]:
    """The alternatives of a union, without what annotates them."""
    if get_origin(annotation) is Annotated:
        return _branches(get_args(annotation)[0])
    if _is_union(annotation):
        return [branch for one in get_args(annotation) for branch in _branches(one)]
    return [annotation]


def _is_union(annotation: Any) -> bool:
    return get_origin(annotation) in (Union, types.UnionType)


def _nouns(annotation: Any) -> tuple[str, str]:
    """An annotation's name for one value and for several."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _annotated(arguments[0], arguments[1:])
    if _is_union(annotation):
        return _union(arguments)
    if origin is Literal:
        listed = _or([f"`{one}`" for one in arguments])
        return (f"one of {listed}", f"any of {listed}") if len(arguments) > 1 else (listed, listed)
    if origin in LISTS and arguments:
        return _list(arguments)
    if origin in MAPPINGS and arguments:
        key, value = (_nouns(one)[1] for one in arguments)
        return f"a mapping of {key} to {value}", f"mappings of {key} to {value}"
    plain: Mapping[Any, tuple[str, str]] = {
        **NOUNS,
        **dict.fromkeys(LISTS, ("a list", "lists")),
        **dict.fromkeys(MAPPINGS, ("a mapping", "mappings")),
    }
    return plain.get(annotation, ("any value", "values"))


def _list(arguments: tuple[Any, ...]) -> tuple[str, str]:
    if len(arguments) > 1 and Ellipsis not in arguments:
        if len(set(arguments)) == 1:
            many = f"{len(arguments)} {_nouns(arguments[0])[1]}"
        else:
            many = " and ".join(_nouns(one)[0] for one in arguments)
    else:
        many = _nouns(arguments[0])[1]
    return f"a list of {many}", f"lists of {many}"


def _union(arguments: tuple[Any, ...]) -> tuple[str, str]:
    named = [one for one in arguments if one is not type(None)]
    single = [one for one in named if get_origin(one) not in LISTS]
    ones, many = [], []
    for one in named:
        listed = get_args(one)[:1] if get_origin(one) is list else ()
        # `T | list[T]`, also where T is itself a union.
        them = bool(listed) and bool(single) and set(_flat(listed[0])) == set(single)
        nouns = ("a list of them", "lists of them") if them else _nouns(one)
        ones.append(nouns[0])
        many.append(nouns[1])
    if {int, float} <= set(named):
        ones.remove("an integer")
        many.remove("integers")
    if type(None) in arguments:
        ones.append("null")
    return _or(ones, comma=any(part in one for one in ones for part in (" or ", "list", "such as"))), " or ".join(many)


def _flat(annotation: Any) -> list[Any]:
    return list(get_args(annotation)) if _is_union(annotation) else [annotation]


def _or(words: Sequence[str], *, comma: bool = False) -> str:
    if len(words) < 2:
        return "".join(words)
    last = ", or " if comma or len(words) > 2 else " or "
    return ", ".join(words[:-1]) + last + words[-1]


def _annotated(base: Any, metadata: Sequence[Any]) -> tuple[str, str]:
    for one in metadata:
        if isinstance(one, Says):
            return one.one, one.many
    limits = [limit for one in metadata for limit in (one.metadata if isinstance(one, FieldInfo) else [one])]
    one, many = _nouns(base)
    sizes = {
        name: getattr(limit, name) for limit in limits for name in ("min_length", "max_length") if hasattr(limit, name)
    }
    pattern = next((limit.pattern for limit in limits if getattr(limit, "pattern", None)), None)
    if one.startswith("a list of ") and sizes:
        one = f"a list of {_count(**sizes)}{one.removeprefix('a list of ')}"
    elif base is str and pattern:
        one = f"text that matches `{pattern}`"
    elif base is str and sizes.get("min_length"):
        one = "text that is not empty"
    bound = _bound(limits)
    return f"{one}{bound}", f"{many}{bound}"


def _count(min_length: int = 0, max_length: int | None = None) -> str:
    """How many items, with a space behind."""
    if max_length is None:
        return f"at least {min_length} " if min_length else ""
    if min_length == max_length:
        return f"{min_length} "
    return f"{min_length} to {max_length} " if min_length else f"at most {max_length} "


def _bound(limits: Sequence[Any]) -> str:
    """Limits of a number, with a space before them."""
    words: dict[str, Any] = {}
    for limit in limits:
        for name in ("gt", "ge", "lt", "le"):
            if getattr(limit, name, None) is not None:
                words[name] = getattr(limit, name)
    if "ge" in words and "le" in words:
        return f" from {words['ge']} to {words['le']}"
    said = {"gt": "greater than", "ge": "of at least", "lt": "less than", "le": "of at most"}
    return "".join(f" {'and ' if i else ''}{said[name]} {words[name]}" for i, name in enumerate(words))

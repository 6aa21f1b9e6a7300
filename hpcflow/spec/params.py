"""The parameters of a flow, and ``${name}`` in its values.

``${name}`` alone keeps the parameter's type; inside a longer text it is text; ``$${`` stands for
``${`` itself. Parameters do not refer to each other. ``${env:NAME}`` may stand in parameters, and
in the values of sources and sinks: it stays as it is written (`hpcflow.secrets`) until a file is
opened with it, so the flow never holds what the environment says.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any

import numpy as np

from hpcflow.errors import Location
from hpcflow.scalars import found, show
from hpcflow.secrets import references
from hpcflow.text.document import Items, Leaf, Table, Value, command_line
from hpcflow.text.faults import Faults
from hpcflow.text.syntax import MOST_LEVELS

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
TEMPLATE = re.compile(r"\$\$\{|\$\{([^{}\n]*)\}|\$\{")
MOST_INSERTED = 2**22
"""Characters (and values) that parameters may add up to, wherever they are inserted."""


class Broken:
    """Stands for a value that a fault is already reported for."""


BROKEN = Broken()


@dataclass
class Params:
    """The parameters of one flow after overrides."""

    faults: Faults
    values: dict[str, Any] = field(default_factory=dict)
    places: dict[str, Location] = field(default_factory=dict)
    used: set[str] = field(default_factory=set)
    room: int = MOST_INSERTED

    def expand(self, value: Value, *, secrets: bool) -> Any:
        """The plain value with every ``${name}`` filled in; `BROKEN` where that failed.

        Parameters
        ----------
        value : Value
            Any part of the document.
        secrets : bool
            Whether ``${env:NAME}`` may stand here.
        """
        if isinstance(value, Table):
            table = {key: self.expand(one, secrets=secrets) for key, one in value.values.items()}
            plain = [self.is_plain_key(key, value.keys[key]) for key in table]
            sound = all(plain) and not value.partial and not any(one is BROKEN for one in table.values())
            return table if sound else BROKEN
        if isinstance(value, Items):
            items = [self.expand(one, secrets=secrets) for one in value.values]
            return BROKEN if any(one is BROKEN for one in items) else items
        if value.broken:
            return BROKEN
        if not isinstance(value.value, str):
            return value.value
        filled = self._fill(value, value.value)
        if not secrets and filled is not BROKEN and references(filled):
            name = min(references(filled))
            self.faults.error(
                inside(value.location, f"${{env:{name}}}"),
                f"expected `${{env:{name}}}` in a source or a sink only",
                "it is for credentials; give other settings with `-p NAME=VALUE`",
            )
            return BROKEN
        return filled

    def is_plain_key(self, key: str | int, place: Location) -> bool:
        """Whether a key holds no reference; a fault where it does."""
        if isinstance(key, str) and "${" in key:
            self.faults.error(place, "expected `${…}` in values only, found it in a key")
            return False
        return True

    def _fill(self, leaf: Leaf, text: str) -> Any:
        whole = TEMPLATE.fullmatch(text)
        if whole and whole[1] is not None and NAME.fullmatch(whole[1]):
            return self._look_up(leaf, whole[1])
        pieces: list[str] = []
        end, broken = 0, False
        for match in TEMPLATE.finditer(text):
            piece = self._piece(leaf, match)
            broken = broken or piece is None
            pieces += [text[end : match.start()], piece or ""]
            end = match.end()
        return BROKEN if broken else "".join([*pieces, text[end:]])

    def _piece(self, leaf: Leaf, match: re.Match[str]) -> str | None:
        """What a reference inside a longer text becomes; `None` where it is faulty."""
        inner = match[1]
        if inner is not None and NAME.fullmatch(inner):
            return self._text(leaf, inner)
        if inner is not None and inner.startswith("env:") and NAME.fullmatch(inner[4:]):
            return match[0]
        if match[0] == "$${" and not match.string.startswith("env:", match.end()):
            return "${"
        escape = "write `$${` for `${` itself"
        if match[0] == "$${":
            message, hint = "expected no `$${env:`, which cannot be told from a credential", ""
        elif inner is None:
            message, hint = "expected `}` after `${`, found none", escape
        elif inner.startswith("env:"):
            message, hint = f"expected the name of an environment variable, found {found(inner[4:])}", ""
        else:
            message, hint = f"expected the name of a parameter in `${{…}}`, found {found(inner)}", escape
        self.faults.error(inside(leaf.location, match[0]), message, hint)
        return None

    def _text(self, leaf: Leaf, name: str) -> str | None:
        """A parameter's value inside a longer text."""
        value = self._look_up(leaf, name)
        if value is BROKEN:
            return None
        if value is None or isinstance(value, (list, dict)):
            message = f"expected a parameter that is text or a number inside a longer text, found {found(value)}"
            self.faults.error(inside(leaf.location, f"${{{name}}}"), message, self.origin(name))
            return None
        return value if isinstance(value, str) else show(value)

    def _look_up(self, leaf: Leaf, name: str) -> Any:
        if name not in self.values:
            if name not in self.places:
                hint = self.faults.suggest(name, self.values) or f"declare it: `params: {{{name}: …}}`"
                where = inside(leaf.location, f"${{{name}}}")
                self.faults.error(where, f"expected the name of a parameter, found `{name}`", hint)
            return BROKEN
        self.used.add(name)
        value = self.values[name]
        self.room -= _weight(value)
        if self.room < 0:
            self.faults.error(leaf.location, f"expected parameters that fill at most {MOST_INSERTED} characters")
            return BROKEN
        return value

    def origin(self, name: str) -> str:
        """Where a parameter's value comes from, as a hint."""
        place = self.places[name]
        return f"`{name}` is set " + (f"at line {place.line}" if place.line else "on the command line")

    def note(self, value: Value) -> str:
        """Where a value comes from, if it is one parameter."""
        text = value.value if isinstance(value, Leaf) else None
        match = TEMPLATE.fullmatch(text) if isinstance(text, str) else None
        return self.origin(match[1]) if match and match[1] in self.places else ""


def inside(place: Location, text: str) -> Location:
    """The place of a part of a value, where it can be seen on the value's first line."""
    column = place.text.find(text, place.column - 1)
    return Location(place.file, place.line, column + 1, place.text) if column >= 0 else place


def _weight(value: Any) -> int:
    if isinstance(value, str):
        return 1 + len(value)
    if isinstance(value, dict):
        return 1 + sum(_weight(key) + _weight(one) for key, one in value.items())
    if isinstance(value, list):
        return 1 + sum(map(_weight, value))
    return 1


def read_params(section: Value | None, overrides: Mapping[str, Any], faults: Faults) -> Params:
    """The flow's `params`, with overrides in their place."""
    params = Params(faults)
    if isinstance(section, Table):
        for key, value in section.values.items():
            _declare(params, key, section.keys[key], value)
    elif section is not None and not _is_empty(section):
        found_kind = "a list" if isinstance(section, Items) else found(section.value)
        message = f"expected a mapping of names to values in `params`, found {found_kind}"
        faults.error(section.location, message, "write `name: value` for each")
        return params
    for name, given in overrides.items():
        _override(params, name, given)
    return params


def _is_empty(section: Value) -> bool:
    return isinstance(section, Leaf) and (section.value is None or section.broken)


def _declare(params: Params, key: str | int, place: Location, value: Value) -> None:
    if not isinstance(key, str) or not NAME.fullmatch(key):
        params.faults.error(place, f"expected a name of letters, digits and `_` for a parameter, found {found(key)}")
        return
    # A place without a value: known by name, but reported as faulty already.
    params.places[key] = value.location
    filled = _literal(params, value)
    if filled is not BROKEN:
        params.values[key] = filled


def _literal(params: Params, value: Value) -> Any:
    """A parameter's own value: references to others are refused."""
    for leaf in _leaves(value):
        for match in TEMPLATE.finditer(str(leaf.value)):
            if match[1] is not None and NAME.fullmatch(match[1]):
                params.faults.error(
                    inside(leaf.location, match[0]),
                    f"expected no other parameter in `params`, found `{match[0]}`",
                    "references are filled in under `sources`, `steps` and `sinks`",
                )
                return BROKEN
    return params.expand(value, secrets=True)


def _leaves(value: Value) -> list[Leaf]:
    if isinstance(value, Table):
        return [leaf for one in value.values.values() for leaf in _leaves(one)]
    if isinstance(value, Items):
        return [leaf for one in value.values for leaf in _leaves(one)]
    return [value]


def _override(params: Params, name: str, given: Any) -> None:
    place = command_line(str(name), show(given) if isinstance(given, (str, int, float)) else "…")
    if name not in params.places:
        hint = params.faults.suggest(name, params.places)
        if not hint:
            listed = ", ".join(f"`{one}`" for one in list(params.places)[:20])
            hint = f"the flow declares {listed}" if listed else "the flow declares none under `params`"
        params.faults.error(place, f"expected a parameter of the flow, found {found(name)}", hint)
        return
    try:
        params.values[name] = _value(given, MOST_LEVELS)
    except TypeError as error:
        params.faults.error(place, f"expected `{name}` to be a value that YAML can hold, found {error}")
        return
    params.places[name] = place


def _value(given: Any, levels: int) -> Any:
    """An override as plain values: what a notebook has at hand is made plain."""
    if isinstance(given, (np.generic, np.ndarray)):
        given = given.tolist()
    if isinstance(given, PurePath):
        return os.fspath(given)
    if given is None or isinstance(given, (str, bool, int, float)):
        return given
    if isinstance(given, (list, tuple)) and levels:
        return [_value(one, levels - 1) for one in given]
    if isinstance(given, Mapping) and levels and all(isinstance(key, (str, int)) for key in given):
        return {key: _value(one, levels - 1) for key, one in given.items()}
    raise TypeError(f"a {type(given).__name__}")

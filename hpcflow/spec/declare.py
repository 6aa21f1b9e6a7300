"""From the document's tree to what it declares: sources, steps and sinks, with names and places."""

from __future__ import annotations

import keyword
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any

from hpcflow.errors import Location
from hpcflow.scalars import found
from hpcflow.spec.params import BROKEN, NAME, Params, inside
from hpcflow.text.document import Items, Leaf, Table, Value
from hpcflow.text.faults import Faults

WORDS = {"sources": "from", "steps": "op", "sinks": "to"}
"""The word that says what a node is, by section."""
ONE = {"sources": "source", "steps": "step", "sinks": "sink"}
EXAMPLES = {
    "sources": "{from: npy, path: data/plane.npy}",
    "steps": "{op: gaussian, of: plane, sigma: 2}",
    "sinks": "{to: zarr, of: smooth, path: out/smooth.zarr}",
}
SECTIONS = ("flow", "about", "block", "params", *WORDS)
RESERVED = {"from", "op", "of", "to"}
LONGEST = 100
SAFE = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_-])?")
"""A flow's name: it becomes a folder's."""
ALSO_SAID = {
    "from": ("source", "kind", "type", "format", "op", "to"),
    "op": ("operation", "function", "func", "filter", "kind", "type", "do", "from", "to"),
    "to": ("sink", "kind", "type", "format", "op", "from", "into"),
    "of": ("in", "input", "inputs", "on", "source", "array", "data", "from"),
}
"""What people write where a reserved word is meant."""


@dataclass(frozen=True)
class Declared:
    """One node as the file has it, parameters of the flow filled in."""

    name: str
    section: str
    location: Location
    use: str
    """What stands behind `from`, `op` or `to`."""
    use_place: Location
    of: tuple[str, ...] | None
    """`None` where there is no `of`."""
    of_places: tuple[Location, ...]
    given: Mapping[str, Any]
    """Parameters by name; `BROKEN` where a fault is already reported."""
    values: Mapping[str, Value]
    keys: Mapping[str, Location]
    partial: bool = False
    """Whether entries are left out, each for a fault that is reported already: nothing is missing."""
    broken: bool = False
    """Whether `use` or `of` cannot be told: nothing that follows from them is a fault."""

    @property
    def places(self) -> dict[str, Location]:
        """Where each parameter's value stands."""
        return {name: value.location for name, value in self.values.items()}


@dataclass
class Declaration:
    """A whole flow as the file has it."""

    name: str = ""
    about: str = ""
    block: tuple[int, ...] | None = None
    location: Location = field(default_factory=lambda: Location("", 0, 1))
    nodes: dict[str, Declared] = field(default_factory=dict)
    """Sources and steps."""
    sinks: dict[str, Declared] = field(default_factory=dict)
    known: dict[str, Location] = field(default_factory=dict)
    """Every name of a source or step, faulty ones included."""
    hidden: bool = False
    """Whether some names could not be read at all: then one that seems to be missing may be among them."""


def declare(root: Table, params: Params, faults: Faults) -> Declaration:
    """Read everything below the top level; faults go to `faults`."""
    flow = Declaration(location=Location(root.location.file, 1, 1, root.location.text))
    renamed = root.partial
    flow.hidden = root.partial
    for key, place in root.keys.items():
        if key not in SECTIONS:
            listed = ", ".join(f"`{one}`" for one in SECTIONS)
            hint = faults.suggest(key, SECTIONS) or _misplaced(root.values[key])
            faults.error(place, f"expected one of {listed}, found {found(key)}", hint)
            flow.hidden = flow.hidden or isinstance(root.values[key], Table)
            renamed = renamed or "`flow`" in hint
    _head(flow, root, faults, renamed=renamed)
    if "block" in root.values:
        flow.block = _block(root.values["block"], params, faults)
    for section in WORDS:
        if section in root.values:
            _section(flow, section, root.values[section], params, faults)
    if "sinks" not in root.values and not flow.hidden:
        faults.error(
            flow.location, "expected at least one sink, found none", f"add `sinks: {{name: {EXAMPLES['sinks']}}}`"
        )
    return flow


def _misplaced(value: Value) -> str:
    """A hint for a node that stands at the top level."""
    for section, word in WORDS.items():
        if isinstance(value, Table) and word in value.keys:
            return f"a {ONE[section]} stands under `{section}`"
    return ""


def _head(flow: Declaration, root: Table, faults: Faults, *, renamed: bool) -> None:
    """The name and the description; `renamed` where another key seems to be meant for the name."""
    name = root.values.get("flow")
    if name is None and renamed:
        pass
    elif name is None:
        stem = PurePath(flow.location.file).stem
        example = stem if SAFE.fullmatch(stem) else "edges"
        faults.error(flow.location, "expected `flow`, the name of the flow, found none", f"add `flow: {example}`")
    elif isinstance(name, Leaf) and isinstance(name.value, str) and not name.broken and _is_safe(name.value):
        flow.name = name.value
        flow.location = name.location
    elif not (isinstance(name, Leaf) and name.broken):
        shown = found(name.value) if isinstance(name, Leaf) else _kind(name)
        hint = "it names a folder: use letters, digits, `_`, `-` and `.`"
        faults.error(name.location, f"expected a name for the flow, found {shown}", hint)
    about = root.values.get("about")
    if isinstance(about, Leaf) and (isinstance(about.value, str) or about.value is None):
        flow.about = about.value or ""
    elif about is not None and not (isinstance(about, Leaf) and about.broken):
        shown = found(about.value) if isinstance(about, Leaf) else _kind(about)
        faults.error(about.location, f"expected `about` to be text, found {shown}", "put it in quotes")


def _block(value: Value, params: Params, faults: Faults) -> tuple[int, ...] | None:
    """The extents of a block; `None` for `auto`."""
    block = params.expand(value, secrets=False)
    if block is BROKEN or block == "auto":
        return None
    extents = block if isinstance(block, list) else [block]
    if extents and all(isinstance(n, int) and not isinstance(n, bool) and n > 0 for n in extents):
        return tuple(extents)
    hint = "for example `block: [512, 512]`: the extents of a task's block along the leading axes"
    faults.error(value.location, f"expected `auto` or a list of whole numbers, found {found(block)}", hint)
    return None


def _is_safe(name: str) -> bool:
    return len(name) <= LONGEST and SAFE.fullmatch(name) is not None


def _kind(value: Value) -> str:
    if isinstance(value, Leaf):
        return found(value.value)
    return "a list" if isinstance(value, Items) else "a mapping"


def _section(flow: Declaration, section: str, value: Value, params: Params, faults: Faults) -> None:
    if isinstance(value, Leaf) and value.broken:
        flow.hidden = True
    elif isinstance(value, Table) and (value.values or value.partial):
        flow.hidden = flow.hidden or value.partial
        for key, node in value.values.items():
            _node(flow, section, key, value.keys[key], node, params, faults)
    elif section == "sinks" and (isinstance(value, Table) or (isinstance(value, Leaf) and value.value is None)):
        hint = f"add `name: {EXAMPLES['sinks']}`"
        faults.error(value.location, "expected at least one sink, found none", hint)
    elif not (isinstance(value, Table) or (isinstance(value, Leaf) and value.value is None)):
        hint = f"write `name: {EXAMPLES[section]}` for each"
        faults.error(value.location, f"expected a mapping of names to {section}, found {_kind(value)}", hint)
        flow.hidden = True


def _node(  # noqa: PLR0917
    flow: Declaration, section: str, key: str | int, place: Location, value: Value, params: Params, faults: Faults
) -> None:
    if not _is_name(key, place, ONE[section], faults):
        flow.hidden = True
        return
    name = str(key)
    if section != "sinks":
        if name in flow.known:
            first = flow.known[name]
            hint = f"the source `{name}` stands at line {first.line}; sources and steps share their names"
            faults.error(place, f"expected each name once, found `{name}` again", hint)
            return
        flow.known[name] = place
    declared = _declared(name, section, place, value, params, faults)
    if declared is not None:
        (flow.sinks if section == "sinks" else flow.nodes)[name] = declared


def _is_name(key: str | int, place: Location, one: str, faults: Faults) -> bool:
    if not isinstance(key, str) or not NAME.fullmatch(key) or len(key) > LONGEST:
        hint = "letters, digits and `_`; no digit first"
        if isinstance(key, str) and NAME.fullmatch(tidy := re.sub(r"\W+", "_", key, flags=re.ASCII)):
            hint = f"`{tidy[:LONGEST]}` would do: " + hint
        faults.error(place, f"expected a name for a {one}, found {found(key)}", hint)
        return False
    if key in RESERVED or keyword.iskeyword(key):
        hint = f"for example `{key}_`"
        faults.error(place, f"expected a name for a {one}, found the reserved word `{key}`", hint)
        return False
    return True


def _declared(  # noqa: PLR0917
    name: str, section: str, place: Location, value: Value, params: Params, faults: Faults
) -> Declared | None:
    if not isinstance(value, Table):
        if not (isinstance(value, Leaf) and value.broken):
            message = f"expected a mapping for the {ONE[section]} `{name}`, found {_kind(value)}"
            hint = _missing_space(value) or f"write `{name}: {EXAMPLES[section]}`"
            faults.error(value.location, message, hint)
        return None
    given: dict[str, Any] = {}
    partial = value.partial
    for key, one in value.values.items():
        if not isinstance(key, str):
            faults.error(value.keys[key], f"expected the name of a parameter, found {found(key)}")
        elif not params.is_plain_key(key, value.keys[key]):
            partial = True
        else:
            given[key] = params.expand(one, secrets=section != "steps")
    use, use_place = _use(name, section, place, value, given, faults)
    of, of_places, of_known = _of(section, value, given, faults)
    taken = {WORDS[section], "of"}
    kept = {key: one for key, one in given.items() if key not in taken}
    return Declared(
        name=name,
        section=section,
        location=place,
        use=use or "",
        use_place=use_place,
        of=of,
        of_places=of_places,
        given=kept,
        values={key: value.values[key] for key in kept},
        keys={key: value.keys[key] for key in kept},
        partial=partial,
        broken=use is None or not of_known,
    )


def _missing_space(value: Value) -> str:
    """A hint for `{op:gaussian}`, which YAML reads as one word."""
    text = value.value if isinstance(value, Leaf) else None
    return "put a space behind each `:`" if isinstance(text, str) and re.match(r"(from|op|of|to):\S", text) else ""


def _use(  # noqa: PLR0917
    name: str, section: str, place: Location, value: Table, given: dict[str, Any], faults: Faults
) -> tuple[str | None, Location]:
    """What stands behind the section's word; `None` where that cannot be told."""
    word = WORDS[section]
    if word not in given:
        near = next((key for key in ALSO_SAID[word] if key in given), None)
        near = near or next((key for key in given if faults.suggest(key, [word])), None)
        squeezed = next((key for key in given if key.startswith(f"{word}:")), None)
        one = ONE[section]
        if squeezed:
            hint = "put a space behind each `:`"
            faults.error(value.keys[squeezed], f"expected `{word}` in the {one} `{name}`, found `{squeezed}`", hint)
        elif near:
            owner = next((ONE[other] for other, its in WORDS.items() if its == near), None)
            hint = f"`{near}` is the word of a {owner}; a {one} has `{word}`" if owner else f"a {one} has `{word}`"
            faults.error(value.keys[near], f"expected `{word}` in the {one} `{name}`, found `{near}`", hint)
        elif not value.partial:
            faults.error(
                place, f"expected `{word}` in the {one} `{name}`, found none", f"write `{name}: {EXAMPLES[section]}`"
            )
        return None, place
    use, where = given[word], value.values[word].location
    if use is BROKEN:
        return None, where
    if not isinstance(use, str):
        faults.error(where, f"expected a name behind `{word}`, found {found(use)}")
        return None, where
    return use, where


def _of(
    section: str, value: Table, given: dict[str, Any], faults: Faults
) -> tuple[tuple[str, ...] | None, tuple[Location, ...], bool]:
    """The names behind `of`, where each stands, and whether they can be told."""
    if "of" not in given:
        return None, (), True
    of, written = given["of"], value.values["of"]
    if section == "sources":
        faults.error(value.keys["of"], "expected no `of` in a source, which reads no node")
        return None, (), False
    if of is BROKEN:
        return None, (), False
    listed = of if isinstance(of, list) else [of]
    is_list = isinstance(written, Items)
    places = (
        [one.location for one in written.values] if isinstance(written, Items) else [written.location] * len(listed)
    )
    if not listed:
        faults.error(written.location, "expected the name of a node or a list of names behind `of`, found []")
    for one, where in zip(listed, places, strict=True):
        if not isinstance(one, str) or not NAME.fullmatch(one):
            hint = _of_hint(one)
            what = "the name of a node" if is_list else "the name of a node or a list of names behind `of`"
            faults.error(inside(where, str(one)[:40]), f"expected {what}, found {found(one)}", hint)
            return None, (), False
    return tuple(listed) or None, tuple(places), bool(listed)


def _of_hint(one: Any) -> str:
    if isinstance(one, str) and len(names := re.split(r"[\s,]+", one.strip())) > 1:
        return f"write a list: [{', '.join(names)}]" if all(map(NAME.fullmatch, names)) else ""
    return "names have letters, digits and `_`; no digit first" if isinstance(one, str) else ""

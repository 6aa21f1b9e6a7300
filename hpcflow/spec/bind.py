"""From declared nodes to functions with checked parameters and known inputs."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from graphlib import CycleError, TopologicalSorter
from typing import Any

from hpcflow import operation, registry, schemes
from hpcflow.errors import Location, Mismatch, MissingPackage
from hpcflow.parameters import ParameterFault, ParameterFaults, parameter_names, validate
from hpcflow.spec.declare import ALSO_SAID, ONE, WORDS, Declaration, Declared
from hpcflow.spec.params import BROKEN, Params, inside
from hpcflow.text.document import Items, Table, Value
from hpcflow.text.faults import Faults

KINDS = {"sources": "sources", "steps": "ops", "sinks": "sinks"}
"""What the registry calls the functions behind the nodes of each section."""
SYNONYMS = {
    "average": "mean", "avg": "mean", "blur": "gaussian", "box": "uniform", "box_filter": "uniform",
    "cast": "astype", "concat": "concatenate", "convert": "astype", "crop": "isel", "dilate": "dilation",
    "erode": "erosion", "hist": "histogram", "max_filter": "maximum",
    "mean_filter": "uniform", "median_filter": "median", "min_filter": "minimum", "predict": "infer",
    "slice": "isel", "smooth": "gaussian", "subset": "isel", "topk": "top_k", "bin": "raw", "binary": "raw",
    "folder": "images", "jpeg": "images", "jpg": "images", "memmap": "npy", "numpy": "npy", "photos": "images",
    "tif": "images", "tiff": "images", "table": "parquet", "zeros": "full", "ones": "full",
}  # fmt: skip
"""What people call things elsewhere."""
MOST_CYCLES = 20
AT_CHARACTER = re.compile(r"(.*) at character (\d{1,6})", re.DOTALL)


@dataclass(frozen=True)
class Bound:
    """A node with its function."""

    declared: Declared
    function: Callable[..., Any]
    params: Mapping[str, Any] | None
    """With defaults; `None` where a fault is reported."""
    of: tuple[str, ...] | None = None
    """The nodes it reads; `None` where a fault is reported."""


def bind(declared: Declared, params: Params, faults: Faults) -> Bound | None:
    """Look up a node's function and hold its parameters against it."""
    if not declared.use:
        return None
    function = _function(declared, faults)
    if function is None:
        return None
    given = {name: value for name, value in declared.given.items() if value is not BROKEN}
    broken = len(given) < len(declared.given)
    try:
        checked = validate(function, given)
    except ParameterFaults as error:
        checked = None
        misspelt = {word for fault in error.faults for word in _meant(fault, faults)}
        for fault in error.faults:
            known = fault.name in declared.given or fault.name in misspelt or declared.partial
            if fault.kind != "missing" or not known:
                _report(declared, fault, params, faults)
    opened = None if checked is None else _opens(declared, checked, params, faults)
    return Bound(declared, function, None if broken else opened)


def _opens(declared: Declared, checked: Mapping[str, Any], params: Params, faults: Faults) -> Mapping[str, Any] | None:
    """The parameters, `file:` URLs among them as paths; `None` where one names a scheme that is not opened."""
    refused = False
    for name, given in declared.given.items():
        for path, error in schemes.unlisted(given):
            value = _value_at(declared.values[name], path)
            faults.error(value.location, str(error), error.hint or params.note(value))
            refused = True
    try:
        local = {name: schemes.localised(value) for name, value in checked.items()}
    except Mismatch as error:
        mismatch(declared, error, params, faults.error)
        return None
    if local != checked and "storage_options" in local:
        local["storage_options"] = None  # they mean nothing for a local file
    return None if refused else local


def _function(declared: Declared, faults: Faults) -> Callable[..., Any] | None:
    kind, use = KINDS[declared.section], declared.use
    names = registry.names(kind)
    if use in names:
        try:
            return registry.get_op(use).function if kind == "ops" else registry.function(kind, use)
        except Exception as error:  # noqa: BLE001  (a plug-in may raise anything while it is imported)
            faults.cause = faults.cause or error
            reason = str(error) if isinstance(error, MissingPackage) else f"{type(error).__name__}: {error}"
            faults.error(declared.use_place, f"expected `{use}` to load, found {reason}")
            return None
    what = "an op" if kind == "ops" else f"a kind of {ONE[declared.section]}"
    faults.error(declared.use_place, f"expected {what}, found `{use}`", _kind_hint(use, declared.section, faults))
    return None


def _kind_hint(use: str, section: str, faults: Faults) -> str:
    names = registry.names(KINDS[section])
    meant = SYNONYMS.get(use.casefold())
    if meant in names:
        return f"did you mean `{meant}`?"
    if use.startswith("nan") and use.removeprefix("nan") in names:
        return f"write `{use.removeprefix('nan')}` with `skipna: true`"
    for other, kind in KINDS.items():
        if other != section and use in registry.names(kind):
            article = "an op" if kind == "ops" else f"a {ONE[other]}"
            return f"`{use}` is {article}: write `{WORDS[other]}: {use}` under `{other}`"
    near = faults.suggest(use, names)
    return near or "`hpcflow ops` lists all there is"


def _meant(fault: ParameterFault, faults: Faults) -> list[str]:
    """The parameter that a misspelt one stands for."""
    return [
        one
        for one in fault.choices
        if fault.kind == "unknown" and f"`{one}`" in faults.suggest(fault.name, fault.choices)
    ]


def _report(declared: Declared, fault: ParameterFault, params: Params, faults: Faults) -> None:
    """One faulty parameter, where it stands."""
    name = fault.name
    if fault.kind == "missing":
        faults.error(declared.location, fault.message, fault.hint)
    elif fault.kind == "unknown":
        hint = _reserved_hint(declared, name) or faults.suggest(name, fault.choices) or fault.hint
        faults.error(declared.keys[name], fault.message, hint)
    else:
        value = declared.values[name]
        found = _at(declared.given[name], fault.path)
        where = _value_at(value, fault.path)
        hint = faults.suggest(found, fault.choices) or fault.hint or params.note(where)
        faults.error(where.location, fault.message, hint)


def _reserved_hint(declared: Declared, name: str) -> str:
    if declared.section == "steps" and name in ALSO_SAID["of"] and declared.of is None:
        return "did you mean `of`?"
    owner = next((ONE[section] for section, word in WORDS.items() if word == name), None)
    return f"`{name}` is the word of a {owner}" if owner else ""


def _at(value: Any, path: tuple[str | int, ...]) -> Any:
    for step in path:
        value = value[step]
    return value


def _value_at(value: Value, path: tuple[str | int, ...]) -> Value:
    """The part of a value, as far as it is written out in the file."""
    for step in path:
        inside_list = isinstance(value, Items) and isinstance(step, int)
        if not inside_list and not (isinstance(value, Table) and step in value.values):
            break
        value = value.values[step]  # type: ignore[union-attr,index]
    return value


def mismatch(declared: Declared, error: Mismatch, params: Params, report: Callable[[Location, str, str], None]) -> None:
    """What a function says does not fit, at the parameter that it names or at the node."""
    name = error.parameter
    place, note, message = declared.location, "", str(error)
    if name == "of" and declared.of_places:
        place = declared.of_places[0]
    elif name is not None and name in declared.values:
        value = declared.values[name]
        place, message = _pointed(value, declared.given[name], message)
        note = params.note(value)
    hint = error.hint or note
    if not hint and name is not None and name != "of" and name not in declared.values:
        hint = f"`{name}` is not given: this is its default"
    report(place, message, hint)


def _pointed(value: Value, given: Any, message: str) -> tuple[Location, str]:
    """The place that a message about a text means, where it ends in `at character N` from its first letter."""
    place, pointing = value.location, AT_CHARACTER.fullmatch(message)
    start = inside(place, given) if isinstance(given, str) else place
    if pointing is None or not isinstance(given, str) or not start.text.startswith(given, start.column - 1):
        return place, message
    blanks = len(given) - len(given.lstrip())
    return replace(start, column=start.column + blanks + int(pointing[2]) - 1), pointing[1]


def connect(bound: Bound, flow: Declaration, params: Params, faults: Faults) -> tuple[str, ...] | None:
    """The nodes that a step or a sink reads; `None` where they cannot be told."""
    declared = bound.declared
    if declared.section == "sources":
        return ()
    op = registry.get_op(declared.use) if declared.section == "steps" else None
    if op is not None and op.inputs is not None:
        return _named_by(op, bound, flow, params, faults)
    if declared.of is None:
        if not (declared.broken or declared.partial) and not any(
            name in ALSO_SAID["of"] and name in _unknown(bound) for name in declared.given
        ):
            what = f"the {ONE[declared.section]} `{declared.name}`"
            faults.error(declared.location, f"expected `of` in {what}, found none", "`of` names the node that it reads")
        return None
    if op is not None and not _fits(op, declared, faults):
        return None
    known = [
        _is_known(name, place, flow, params, faults)
        for name, place in zip(declared.of, declared.of_places, strict=True)
    ]
    return declared.of if all(known) else None


def _unknown(bound: Bound) -> set[str]:
    """Parameters given that the function does not take (each is reported already)."""
    return set(bound.declared.given) - set(parameter_names(bound.function))


def _fits(op: operation.Op, declared: Declared, faults: Faults) -> bool:
    fewest, most = op.arity
    count = len(declared.of or ())
    if fewest <= count and (most is None or count <= most):
        return True
    upto = str(fewest) if fewest == most else f"{fewest} to {most}"
    wanted = f"at least {fewest}" if most is None else upto
    nodes = "node" if wanted in ("1", "at least 1") else "nodes"
    faults.error(declared.of_places[0], f"expected {wanted} {nodes} for `{op.name}` to read, found {count}")
    return False


def _named_by(
    op: operation.Op, bound: Bound, flow: Declaration, params: Params, faults: Faults
) -> tuple[str, ...] | None:
    """The inputs of an op that names them in a parameter (`expr`)."""
    declared = bound.declared
    if declared.of is not None:
        hint = f"`{op.name}` names the nodes that it reads itself"
        faults.error(declared.of_places[0], f"expected no `of` for `{op.name}`, found one", hint)
    if bound.params is None or op.inputs is None:
        return None
    try:
        names = op.inputs(**operation.accepted(op.inputs, {"nodes": frozenset(flow.known), **bound.params}))
    except Mismatch as error:
        mismatch(declared, error, params, faults.error)
        return None
    except (RecursionError, MemoryError, ValueError):
        faults.error(declared.location, f"expected a shorter `{op.name}`, found one too deep to read")
        return None
    places = [_place_of(name, declared) for name in names]
    known = [_is_known(name, place, flow, params, faults) for name, place in zip(names, places, strict=True)]
    return tuple(names) if all(known) and declared.of is None else None


def _place_of(name: str, declared: Declared) -> Location:
    """Where a name stands inside one of a node's texts."""
    for key, value in declared.values.items():
        text = declared.given[key]
        if isinstance(text, str) and name in text:
            return inside(value.location, name)
    return declared.location


def _is_known(name: str, place: Location, flow: Declaration, params: Params, faults: Faults) -> bool:
    if name in flow.nodes:
        return True
    if name in flow.known or flow.hidden:
        return False
    hint = ""
    if name in params.values:
        hint = f"`{name}` is a parameter: write `${{{name}}}`"
    elif name in flow.sinks:
        hint = f"`{name}` is a sink, which nothing reads"
    hint = faults.suggest(name, flow.known) or hint
    faults.error(place, f"expected the name of a source or a step, found `{name}`", hint)
    return False


def order(bounds: Mapping[str, Bound], faults: Faults) -> list[str]:
    """Names in an order in which every node follows its inputs; those on a cycle are left out."""
    reads = {name: [one for one in bound.of or () if one in bounds] for name, bound in bounds.items()}
    for _ in range(MOST_CYCLES):
        sorter = TopologicalSorter(reads)
        try:
            sorter.prepare()
        except CycleError as error:
            cycle = _report_cycle(error.args[1], bounds, faults)
            reads = {name: [one for one in of if one not in cycle] for name, of in reads.items() if name not in cycle}
        else:
            return list(TopologicalSorter(reads).static_order())
    return []


def _report_cycle(found: list[str], bounds: Mapping[str, Bound], faults: Faults) -> set[str]:
    # graphlib lists inputs first; a reader of the file goes the other way.
    cycle = found[:0:-1]
    places = {name: bounds[name].declared.location for name in cycle}
    first = min(cycle, key=lambda name: (places[name].line, places[name].column))
    start = cycle.index(first)
    names = [*cycle[start:], *cycle[:start], first]
    if len(names) == 2:
        message = f"expected `{first}` to read other nodes, found itself"
    else:
        shown = [f"`{name}`" for name in names]
        if len(shown) > 12:
            shown = [*shown[:6], f"… {len(shown) - 8} more …", *shown[-2:]]
        message = f"expected no cycle, found {' reads '.join(shown)}"
    faults.error(places[first], message)
    return set(cycle)

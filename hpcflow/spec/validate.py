"""A flow file to a checked `Flow`, or to every fault in it at once."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from hpcflow.errors import FlowError, Location
from hpcflow.secrets import conceal
from hpcflow.spec.bind import Bound, bind, connect, order
from hpcflow.spec.check import Checked, beside, check_paths
from hpcflow.spec.declare import SECTIONS, Declaration, declare
from hpcflow.spec.flow import Flow, Node, Sink
from hpcflow.spec.outputs import check_outputs
from hpcflow.spec.params import Params, read_params
from hpcflow.text.document import Leaf, Table, parse, plain, read
from hpcflow.text.faults import Faults


def load(
    path: str | os.PathLike[str],
    params: Mapping[str, Any] | None = None,
    *,
    missing_ok: bool = False,
    overwrite: bool | None = None,
) -> Flow:
    """Read a flow file and hold it against what exists.

    Parameters
    ----------
    path : path
        The YAML file.
    params : mapping, optional
        Values in place of the flow's own `params`.
    missing_ok : bool
        Whether an input that is not there is a warning only.
    overwrite : bool, optional
        Also look at what stands where the outputs are to be written, and whether data of others may be replaced.

    Raises
    ------
    FlowError
        With every fault in the file.
    """
    file = os.fspath(path)
    faults = Faults()
    text = read(file, "a flow", faults)
    return _checked(text, file, params or {}, faults, missing_ok=missing_ok, overwrite=overwrite)


def loads(
    text: str, file: str = "<flow>", params: Mapping[str, Any] | None = None, *, missing_ok: bool = False
) -> Flow:
    """As `load`, for a text; `file` is its name in messages."""
    return _checked(text.removeprefix("\ufeff"), file, params or {}, Faults(), missing_ok=missing_ok)


def _checked(
    text: str,
    file: str,
    overrides: Mapping[str, Any],
    faults: Faults,
    *,
    missing_ok: bool,
    overwrite: bool | None = None,
) -> Flow:
    root = parse(text, file, faults)
    if not isinstance(root, Table):
        if not faults.wrong:
            place = root.location if root is not None else Location(file, 1, 1, "")
            empty = root is None or (isinstance(root, Leaf) and root.value is None)
            shown = "an empty file" if empty else "no mapping"
            faults.error(place, f"expected a flow, found {shown}", f"it starts with `flow: NAME`, then {_sections()}")
        raise FlowError(*faults.sorted())
    _conceal(root, overrides)
    params = read_params(root.values.get("params"), overrides, faults)
    declared = declare(root, params, faults)
    checked = Checked(params, faults, missing_ok)
    _check(declared, params, checked, faults)
    if overwrite is not None:
        run_dir = Path("runs", declared.name)
        check_outputs(checked.sinks, declared.name, file, run_dir, faults, overwrite=overwrite)
    faults.check()
    _unused(params, checked.nodes, checked.sinks, faults)
    return Flow(
        name=declared.name,
        about=declared.about,
        file=file,
        text=text,
        params=dict(params.values),
        nodes=_needed(checked.nodes, checked.sinks),
        sinks=checked.sinks,
        block=declared.block,
        warnings=faults.sorted(),
    )


def _conceal(root: Table, overrides: Mapping[str, Any]) -> None:
    """Note what is secret in a flow before anything is said of it."""
    conceal(overrides)
    conceal(plain(root.values.get("params")))
    for section in ("sources", "sinks"):
        nodes = plain(root.values.get(section))
        conceal(list(nodes.values()) if isinstance(nodes, dict) else None)  # their names are no parameters


def _sections() -> str:
    return ", ".join(f"`{one}`" for one in SECTIONS if one not in ("flow", "about", "block", "params"))


def _check(declared: Declaration, params: Params, checked: Checked, faults: Faults) -> None:
    bounds: dict[str, Bound] = {}
    for name, node in declared.nodes.items():
        bound = bind(node, params, faults)
        if bound is not None:
            bounds[name] = replace(beside(bound), of=connect(bound, declared, params, faults))
    for name in order(bounds, faults):
        step = checked.open if bounds[name].declared.section == "sources" else checked.infer
        step(bounds[name])
    for node in declared.sinks.values():
        bound = bind(node, params, faults)
        if bound is not None:
            checked.sink(replace(beside(bound), of=connect(bound, declared, params, faults)))
    check_paths(checked.sinks, checked.nodes, faults)


def _needed(nodes: Mapping[str, Node], sinks: Mapping[str, Sink]) -> dict[str, Node]:
    """The nodes that a sink needs, each after its inputs."""
    wanted = {name for sink in sinks.values() for name in sink.of}
    for name in reversed(list(nodes)):
        if name in wanted:
            wanted.update(nodes[name].of)
    return {name: node for name, node in nodes.items() if name in wanted}


def _unused(params: Params, nodes: Mapping[str, Node], sinks: Mapping[str, Sink], faults: Faults) -> None:
    readers: list[Node | Sink] = [*nodes.values(), *sinks.values()]
    read = {name for reader in readers for name in reader.of}
    for name, node in nodes.items():
        if name not in read:
            faults.warning(node.location, f"expected something to read `{name}`, found nothing", "it is not computed")
    for name, place in params.places.items():
        if name not in params.used:
            faults.warning(place, f"expected something to use the parameter `{name}`, found nothing")

"""A flow as a graph of plain values, for what draws it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from hpcflow.meta import Meta
from hpcflow.secrets import redact

if TYPE_CHECKING:
    from hpcflow.spec.flow import Flow, Node, Sink

LONGEST = 60
"""Characters of a parameter's value that are shown."""


def flow_graph(flow: Flow) -> dict[str, Any]:
    """Nodes and edges of a flow, as `planning.graph` gives them for a plan; without stages."""
    nodes = [
        node_json(n, "source" if n.source is not None else "step", of=flow, meta=n.meta) for n in flow.nodes.values()
    ]
    nodes += [node_json(sink, "sink", of=flow, meta=flow.nodes[sink.of[0]].meta) for sink in flow.sinks.values()]
    edges = [[name, node.name] for node in flow.nodes.values() for name in node.of]
    edges += [[name, f"sink:{sink.name}"] for sink in flow.sinks.values() for name in sink.of]
    return {"flow": flow.name, "about": flow.about, "nodes": nodes, "edges": edges, "stages": []}


def node_json(
    node: Node | Sink, kind: str, *, of: Flow, meta: Meta | None, stages: list[int] | None = None, stored: bool = False
) -> dict[str, Any]:
    """A node as JSON values."""
    return {
        "id": f"sink:{node.name}" if kind == "sink" else node.name,
        "name": node.name,
        "kind": kind,
        "use": node.use,
        "params": _params(node, of),
        "shape": list(meta.shape) if meta else None,
        "dtype": _dtype(meta),
        "dims": list(meta.dims) if meta else [],
        "stages": stages or [],
        "stored": stored,
    }


def _params(node: Node | Sink, flow: Flow) -> str:
    """The parameters that the flow gives, in short; axes by their names."""
    dims = flow.nodes[node.of[0]].meta.dims if node.of and flow.nodes[node.of[0]].meta else ()  # type: ignore[union-attr]
    given = {name: value for name, value in node.params.items() if name in node.places and name != "dims"}
    if set(given) == {"expr"}:
        return _short(str(given["expr"]))
    return ", ".join(
        _value(name, value, dims) if name == "path" else f"{name} {_value(name, value, dims)}"
        for name, value in given.items()
    )


def _value(name: str, value: Any, dims: tuple[str | None, ...]) -> str:
    if name in ("axis", "axes"):
        axes = value if isinstance(value, (tuple, list)) else [value]
        named = [
            str(dims[axis]) if isinstance(axis, int) and -len(dims) <= axis < len(dims) and dims[axis] else str(axis)
            for axis in axes
        ]
        return " ".join(named)
    if isinstance(value, Mapping):
        return _short(", ".join(f"{key}: {one}" for key, one in value.items()))
    if isinstance(value, (tuple, list)):
        return _short(" ".join(map(str, value)))
    return _short(str(value))


def _short(text: str) -> str:
    text = redact(text)
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def _dtype(meta: Meta | None) -> str | None:
    if meta is None:
        return None
    return "records of " + ", ".join(meta.dtype.names) if meta.dtype.names else str(meta.dtype)

"""A plan as a graph of plain values: what is drawn of it, and kept in the report."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from hpcflow.planning.describe import halo
from hpcflow.planning.stages import Stage
from hpcflow.report.diagram import shape
from hpcflow.spec.drawing import node_json
from hpcflow.spec.flow import Sink

if TYPE_CHECKING:
    from hpcflow.planning.plan import Plan


def graph(plan: Plan) -> dict[str, Any]:
    """Nodes, edges and stages of a plan, as JSON values.

    Returns
    -------
    dict
        ``flow``, ``about``; ``nodes``, each with its ``id``, ``name``, ``kind`` (source, step, sink),
        ``use``, ``params``, ``shape``, ``dtype``, ``dims`` and the numbers of the ``stages`` it runs
        in; ``edges``, pairs of ids; ``stages`` with their names, blocks and memory.
    """
    flow = plan.flow
    homes = _homes(plan.stages)
    stored = {name for stage in plan.stages for name in stage.sources if flow.nodes[name].source is None}
    nodes = [
        node_json(
            node,
            "source" if node.source is not None else "step",
            of=flow,
            meta=node.meta,
            stages=homes.get(node.name, []),
            stored=node.name in stored,
        )
        for node in flow.nodes.values()
    ]
    edges = [[name, node.name] for node in flow.nodes.values() for name in node.of]
    metas = {output.name: output.meta for output in plan.outputs}
    for sink in flow.sinks.values():
        numbers = [i for i, stage in enumerate(plan.stages) if _writes(stage, sink)]
        nodes.append(node_json(sink, "sink", of=flow, meta=metas.get(sink.name), stages=numbers))
        edges += [[name, f"sink:{sink.name}"] for name in sink.of]
    return {
        "flow": flow.name,
        "about": flow.about,
        "nodes": nodes,
        "edges": edges,
        "stages": [_stage(stage) for stage in plan.stages],
    }


def branches(drawn: Mapping[str, Any], number: int) -> list[str]:
    """What a stage reads, runs and writes, a line for each.

    Parameters
    ----------
    drawn : mapping
        The `graph` of a plan.
    number : int
        Of the stage.
    """
    stage, nodes = drawn["stages"][number], {node["id"]: node for node in drawn["nodes"]}
    lines = []
    for name in stage["reads"]:
        node = nodes[name]
        if node["kind"] == "source":
            lines.append(f"reads {_described(node)}: {_held(node)}")
        else:
            lines.append(f"reads {name}, as an earlier stage leaves it")
    lines += [_described(nodes[name]) for name in stage["steps"] if name in nodes]
    lines += [
        f"writes {_described(node)}" for node in nodes.values() if node["kind"] == "sink" and number in node["stages"]
    ]
    kept = [name for name in (*stage["writes"], *stage["steps"]) if nodes.get(name, {}).get("stored")]
    return lines + [f"keeps {name} for later stages" for name in dict.fromkeys(kept)]


def endings(drawn: Mapping[str, Any]) -> list[str]:
    """The documents that are made at the end, of what the stages left."""
    of = {stop: start for start, stop in drawn["edges"]}
    sinks = [node for node in drawn["nodes"] if node["kind"] == "sink" and not node["stages"]]
    return [f"writes {_described(node)}, of {of[node['id']]}" for node in sinks]


def _described(node: Mapping[str, Any]) -> str:
    return f"{node['name']}: {' '.join(filter(None, (node['use'], node['params'])))}"


def _held(node: Mapping[str, Any]) -> str:
    return f"{shape(node['shape'], node['dims'])} {node['dtype']}".strip()


def _homes(stages: tuple[Stage, ...]) -> dict[str, list[int]]:
    """The stages that read or run each node, by number."""
    homes: dict[str, list[int]] = {}
    for number, stage in enumerate(stages):
        for name in (*stage.sources, *stage.steps):
            homes.setdefault(name, []).append(number)
    return homes


def _writes(stage: Stage, sink: Sink) -> bool:
    return any(write.target.path == sink.sink.path for write in stage.writes)


def _stage(stage: Stage) -> dict[str, Any]:
    return {
        "name": stage.name,
        "tasks": stage.tasks,
        "block": list(stage.block),
        "halo": halo(stage),
        "task_memory": stage.task_memory,
        "steps": list(stage.steps),
        "reads": list(stage.sources),
        "writes": [write.node for write in stage.writes],
    }

"""The JSON Schema of a flow (draft 2020-12), for editors: from the parameter models."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hpcflow import registry
from hpcflow.parameters import parameter_model
from hpcflow.spec.bind import KINDS
from hpcflow.spec.catalog import Entry, entries
from hpcflow.spec.declare import LONGEST, ONE, SAFE, WORDS
from hpcflow.spec.params import NAME

Schema = dict[str, Any]
REFERENCE: Schema = {"$ref": "#/$defs/reference"}
NOISE = ("title",)


_HEAD: Schema = {
    "flow": {
        "type": "string",
        "pattern": f"^{SAFE.pattern}$",
        "maxLength": LONGEST,
        "description": "The name of the flow; it also names the folder of its runs.",
    },
    "about": {"type": ["string", "null"], "description": "What the flow is for."},
    "block": {
        "description": "The extents of a task's block along the leading axes; `auto` lets the planner choose.",
        "anyOf": [
            {"const": "auto"},
            {"type": "integer", "minimum": 1},
            {"type": "array", "items": {"type": "integer", "minimum": 1}, "minItems": 1},
            {"type": "string", "pattern": r"^\$\{[^}]*\}$"},
        ],
    },
    "params": {
        "type": ["object", "null"],
        "propertyNames": {"pattern": f"^{NAME.pattern}$"},
        "description": "Values to be filled in as `${name}`; `-p NAME=VALUE` overrides them.",
    },
}
"""What stands above the nodes."""


def flow_schema() -> Schema:
    """The schema of a whole flow file; imports every op, source and sink."""
    definitions: Schema = {
        "reference": {
            "type": "string",
            "pattern": r"\$\{",
            "description": "a parameter of the flow: `${name}`",
        },
        "nodes": {
            "description": "The node that is read, or a list of them.",
            "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1}],
        },
    }
    for section in WORDS:
        definitions.update(_section(section))
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "An hpcflow flow",
        "type": "object",
        "required": ["flow", "sinks"],
        "additionalProperties": False,
        "properties": {
            **_HEAD,
            "sources": _nodes("sources", "Arrays to read, by name: `{from: KIND, …}`."),
            "steps": _nodes("steps", "What is computed, by name: `{op: OP, of: NODE, …}`."),
            "sinks": {
                **_nodes("sinks", "What is written: `{to: KIND, of: NODE, …}`."),
                "type": "object",
                "minProperties": 1,
            },
        },
        "$defs": definitions,
    }


def _nodes(section: str, description: str) -> Schema:
    return {
        "type": ["object", "null"],
        "description": description,
        "propertyNames": {"pattern": f"^{NAME.pattern}$"},
        "additionalProperties": {"$ref": f"#/$defs/{ONE[section]}"},
    }


def _section(section: str) -> Schema:
    """The definition of a section's nodes, and one for each function that they can name."""
    word, kind, one = WORDS[section], KINDS[section], ONE[section]
    listed = entries(kind)
    uses = [{"const": one.name, "description": one.summary, "markdownDescription": _markdown(one)} for one in listed]
    branches = [
        {
            "if": {"properties": {word: {"const": entry.name}}, "required": [word]},
            "then": {"$ref": f"#/$defs/{one}.{entry.name}"},
        }
        for entry in listed
    ]
    definitions: Schema = {
        one: {
            "type": "object",
            "required": [word],
            "properties": {word: {"anyOf": [*uses, REFERENCE]}},
            "allOf": branches,
        }
    }
    for entry in listed:
        node, inner = _node(section, entry, registry.function(kind, entry.name))
        definitions[f"{one}.{entry.name}"] = node
        definitions.update(inner)
    return definitions


def _markdown(entry: Entry) -> str:
    """What an editor shows of an entry: what it does, and how it is used."""
    example = f"```yaml\n{entry.example}\n```" if entry.example else ""
    return "\n\n".join(part for part in (entry.summary, entry.text, example) if part)


def _node(section: str, entry: Entry, function: Callable[..., Any]) -> tuple[Schema, Schema]:
    """The schema of one use, and the definitions that it refers to."""
    model = parameter_model(function).model_json_schema(by_alias=True)
    types = {parameter.name: parameter.type for parameter in entry.parameters}
    properties = {
        name: {**_accepting(schema), "description": f"{types[name]}\n\n{schema.get('description', '')}".strip()}
        for name, schema in model.get("properties", {}).items()
    }
    required = [WORDS[section], *model.get("required", [])]
    head: Schema = {WORDS[section]: True}
    if section == "sinks" or (section == "steps" and registry.get_op(entry.name).inputs is None):
        head["of"] = {"$ref": "#/$defs/nodes"}
        required.append("of")
    node = {
        "description": entry.summary,
        "properties": {**head, **properties},
        "required": required,
        "additionalProperties": False,
    }
    return node, model.get("$defs", {})


def _accepting(schema: Schema) -> Schema:
    """The schema of a value, or of text that holds ``${…}``, at any depth."""
    inner = {key: value for key, value in schema.items() if key not in NOISE}
    for key in ("items", "additionalProperties"):
        if isinstance(inner.get(key), dict) and inner[key]:
            inner[key] = _accepting(inner[key])
    if "anyOf" in inner:
        inner["anyOf"] = [_accepting_items(one) for one in inner["anyOf"]]
    if _takes_text(inner):
        return inner
    if "anyOf" in inner:
        return {**inner, "anyOf": [*inner["anyOf"], REFERENCE]}
    outer: Schema = {key: inner.pop(key) for key in ("default", "description", "examples") if key in inner}
    return {**outer, "anyOf": [inner, REFERENCE]} if inner else outer


def _accepting_items(branch: Schema) -> Schema:
    """One branch of a union: only what is inside it may hold references, the union itself takes them."""
    accepting = _accepting(branch)
    nested = accepting.get("anyOf", [])
    return nested[0] if len(nested) == 2 and nested[1] == REFERENCE else accepting


def _takes_text(schema: Schema) -> bool:
    """Whether any text fits, so that a reference does too."""
    plain = schema.get("type") == "string" and not schema.keys() & {"enum", "const", "pattern", "format", "maxLength"}
    return plain or not schema or any(_takes_text(one) for one in schema.get("anyOf", []))

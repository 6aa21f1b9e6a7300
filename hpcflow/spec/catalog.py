"""What a flow can use: every op, source, sink and model, as data and as plain text."""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from hpcflow import registry
from hpcflow.errors import HpcflowError, Mismatch
from hpcflow.expectations import describe
from hpcflow.parameters import parameter_model
from hpcflow.scalars import short

SINGULAR = {"ops": "op", "sources": "source", "sinks": "sink", "models": "model"}
WIDTH = 88
SECTION = re.compile(r"^(\w[\w ]*)\n-{3,}\n", re.MULTILINE)


@dataclass(frozen=True)
class Parameter:
    """One parameter of an entry."""

    name: str
    type: str
    """What it must be, in words."""
    required: bool
    default: Any
    doc: str

    @property
    def head(self) -> str:
        """Name, type and default on one line."""
        if self.required:
            return f"{self.name}: {self.type} (required)"
        return f"{self.name}: {self.type} (default: {short(self.default)})"


@dataclass(frozen=True)
class Entry:
    """One op, source, sink or model."""

    name: str
    kind: str
    """``"op"``, ``"source"``, ``"sink"`` or ``"model"``."""
    summary: str
    """One line."""
    text: str
    """What follows it: all that the docstring says but parameters and examples."""
    reads: str
    """What stands behind `of`, in words; empty where nothing does."""
    parameters: tuple[Parameter, ...]
    example: str

    def to_json(self) -> dict[str, Any]:
        """The entry as JSON values."""
        parameters = [
            {"name": p.name, "type": p.type, "required": p.required, "default": p.default, "doc": p.doc}
            for p in self.parameters
        ]
        return {
            "name": self.name,
            "kind": self.kind,
            "summary": self.summary,
            "text": self.text,
            "reads": self.reads,
            "parameters": parameters,
            "example": self.example,
        }


def entries(kind: str | None = None) -> list[Entry]:
    """Everything there is, or everything of one kind (``"ops"``, ``"sources"``, …)."""
    kinds = registry.KINDS if kind is None else (kind,)
    return [entry for one in kinds for name in registry.names(one) if (entry := _try(one, name))]


def find(name: str) -> list[Entry]:
    """Everything of a name: `zarr` is a source and a sink.

    Raises
    ------
    Mismatch
        Where there is nothing; it suggests what may be meant.
    """
    found = [_entry(kind, name) for kind in registry.KINDS if name in registry.names(kind)]
    if not found:
        known = {one for kind in registry.KINDS for one in registry.names(kind)}
        near = get_close_matches(name.casefold(), sorted(known), n=1)
        hint = f"did you mean `{near[0]}`?" if near else "`hpcflow ops` lists them all"
        raise Mismatch(f"expected an op, source, sink or model, found `{name}`", hint=hint)
    return found


def _try(kind: str, name: str) -> Entry | None:
    """The entry; `None` for what needs a package that is not installed."""
    try:
        return _entry(kind, name)
    except (HpcflowError, ImportError):
        return None


def _entry(kind: str, name: str) -> Entry:
    function = registry.function(kind, name)
    head, sections = _sections((inspect.getdoc(function) or "").replace("``", "`"))
    summary, _, text = head.partition("\n\n")
    return Entry(
        name=name,
        kind=SINGULAR[kind],
        summary=" ".join(summary.split()),
        text=text.strip(),
        reads=_reads(kind, name),
        parameters=tuple(_parameters(function)),
        example=re.sub(r"^>>> ", "", sections.get("Examples", "").strip(), flags=re.MULTILINE),
    )


def _sections(document: str) -> tuple[str, dict[str, str]]:
    """A docstring's text before the first numpydoc section, and the sections."""
    head, *rest = SECTION.split(document)
    return head.strip(), dict(zip(rest[::2], rest[1::2], strict=True))


def _reads(kind: str, name: str) -> str:
    if kind == "sinks":
        return "one node or several"
    if kind != "ops":
        return ""
    op = registry.get_op(name)
    if op.inputs is not None:
        return "names the nodes that it reads itself"
    fewest, most = op.arity
    words = {1: "one node", 2: "two nodes", 3: "three nodes"}
    if most is None:
        return "one node or several" if fewest == 1 else f"{fewest} nodes or more"
    return words.get(most, f"{most} nodes") if fewest == most else f"{fewest} to {most} nodes"


def _parameters(function: Callable[..., Any]) -> Sequence[Parameter]:
    annotations = {
        name: parameter.annotation for name, parameter in inspect.signature(function, eval_str=True).parameters.items()
    }
    return [
        Parameter(
            name=str(field.alias),
            type=re.sub(r"^(an?|the) ", "", describe(annotations[str(field.alias)])),
            required=field.is_required(),
            default=None if field.is_required() else field.default,
            doc=(field.description or "").replace("``", "`"),
        )
        for field in parameter_model(function).model_fields.values()
    ]


def render_list(listed: Sequence[Entry]) -> str:
    """One line for each entry, by kind."""
    width = max((len(entry.name) for entry in listed), default=0)
    blocks = []
    for kind in SINGULAR.values():
        lines = [f"  {entry.name:<{width}}  {entry.summary}" for entry in listed if entry.kind == kind]
        if lines:
            blocks.append("\n".join([f"{kind}s", *lines]))
    return "\n\n".join(blocks)


def render(entry: Entry) -> str:
    """Everything about one entry."""
    blocks = [f"{entry.name} ({entry.kind})\n{_wrapped(entry.summary, '')}"]
    blocks += [_wrapped(part, "") for part in entry.text.split("\n\n") if part]
    if entry.reads and entry.kind != "sink":
        blocks.append(f"Reads: {entry.reads}")
    if entry.parameters:
        parts = [f"{_wrapped(p.head, '  ')}\n{_wrapped(p.doc, '      ')}".rstrip() for p in entry.parameters]
        blocks.append("Parameters\n" + "\n".join(parts))
    if entry.example:
        blocks.append("Example\n" + textwrap.indent(entry.example, "  "))
    return "\n\n".join(blocks)


def _wrapped(text: str, indent: str) -> str:
    further = indent + "  " if indent == "  " else indent
    return textwrap.fill(
        " ".join(text.split()),
        WIDTH,
        initial_indent=indent,
        subsequent_indent=further,
        break_on_hyphens=False,
        break_long_words=False,
    )

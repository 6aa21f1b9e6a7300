"""The reference: what flows may say, from the catalog; commands and Python, from signatures and docstrings."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

import click
import pictures
import typer

import hpcflow
from hpcflow.cli import app
from hpcflow.scalars import short
from hpcflow.spec.catalog import Entry, Parameter, entries
from hpcflow.spec.schema import flow_schema

WIDE = 88
TITLES = {"op": "Ops", "source": "Sources", "sink": "Sinks", "model": "Models"}


def write(pages: Path) -> dict[str, list[str]]:
    """Write every page; what the navigation shows, by section."""
    folder = pages / "reference"
    folder.mkdir()
    sections: dict[str, list[str]] = {"": ["reference/index.md"]}
    found = entries()
    for kind, title in TITLES.items():
        for entry in (one for one in found if one.kind == kind):
            path = folder / f"{kind}s" / f"{entry.name}.md"
            path.parent.mkdir(exist_ok=True)
            picture = pictures.draw(entry, path.with_suffix(".png")) if kind == "op" else ""
            path.write_text(page(entry, picture), encoding="utf-8")
            sections.setdefault(title, []).append(str(path.relative_to(pages)))
    (folder / "index.md").write_text(overview(found), encoding="utf-8")
    for name, text in {"commands": commands(), "python": python(), "flow": flow()}.items():
        (folder / f"{name}.md").write_text(text, encoding="utf-8")
        sections[name.capitalize()] = [f"reference/{name}.md"]
    return sections


def page(entry: Entry, picture: str) -> str:
    """One op, source, sink or model."""
    parts = [f"# {entry.name}", escaped(entry.summary), *map(escaped, entry.text.split("\n\n"))]
    if picture:
        parts += [f"![Before and after `{entry.name}`]({entry.name}.png)", f"```yaml\n{picture}\n```"]
    if entry.reads and entry.kind == "op":
        parts.append(f"Reads: {entry.reads}.")
    if entry.parameters:
        listed = [f"- `{p.name}`: {escaped(p.type)}, {default(p)}\n\n    {cell(p.doc)}" for p in entry.parameters]
        parts += ["## Parameters", "\n".join(listed)]
    if entry.example:
        parts += ["## Example", f"```yaml\n{entry.example}\n```"]
    return "\n\n".join(part for part in parts if part) + "\n"


def default(parameter: Parameter) -> str:
    """What holds where a flow does not say."""
    return "required" if parameter.required else f"by default `{short(parameter.default)}`"


def cell(text: str) -> str:
    """Text within a table."""
    return escaped(" ".join(text.split())).replace("|", "\\|")


def escaped(text: str) -> str:
    """Text in which no word is taken for HTML; what stands between backquotes is left alone."""
    parts = re.split(r"(`[^`]*`)", text)
    return "".join(part if part.startswith("`") else part.replace("<", "&lt;").replace("*", "\\*") for part in parts)


def overview(found: list[Entry]) -> str:
    """All that a flow may name, one line each."""
    parts = ["# All that a flow may name", "`hpcflow ops` prints this list, `hpcflow ops NAME` one of its pages."]
    for kind, title in TITLES.items():
        rows = [f"| [{e.name}]({kind}s/{e.name}.md) | {cell(e.summary)} |" for e in found if e.kind == kind]
        parts += [f"## {title}", "\n".join(["| | |", "| --- | --- |", *rows])]
    return "\n\n".join(parts) + "\n"


def commands() -> str:
    """Every command, as it describes itself."""
    group: Any = typer.main.get_command(app)
    parts = ["# Commands"]
    for name, command in group.commands.items():
        context = click.Context(command, info_name=f"hpcflow {name}")
        usage = command.get_usage(context).removeprefix("Usage: ")
        rows = []
        for parameter in command.params:
            record = parameter.get_help_record(context)
            names, text = record or (parameter.make_metavar(context), getattr(parameter, "help", "") or "")
            names = re.sub(r" <[^>]*>$", "", names)
            rows.append(f"| `{names.replace('|', chr(92) + '|')}` | {cell(text)} |")
        table = "\n".join(["| | |", "| --- | --- |", *rows])
        parts += [f"## {name}", escaped(command.help or ""), f"```text\n{usage}\n```", table]
    return "\n\n".join(parts) + "\n"


def python() -> str:
    """What `import hpcflow` gives, and what add-ons import."""
    from hpcflow import registry  # noqa: PLC0415

    public = [("hpcflow", name, getattr(hpcflow, name)) for name in hpcflow.__all__ if name != "__version__"]
    add_on = [("hpcflow.registry", n, getattr(registry, n)) for n in ("op", "reduction", "source", "sink", "model")]
    parts = ["# Python"]
    for module, name, thing in [*public, *add_on]:
        if not callable(thing):
            continue
        parts += [f"## {module}.{name}", f"```text\n{head(name, thing)}\n```", numpydoc(inspect.getdoc(thing) or "")]
    return "\n\n".join(parts) + "\n"


def head(name: str, thing: Any) -> str:
    """A signature as it is written: one parameter on a line where they do not fit on one."""
    try:
        signature = inspect.signature(thing)
    except (TypeError, ValueError):
        return f"{name}(...)"
    kinds, shown, starred = inspect.Parameter, [], False
    for one in signature.parameters.values():
        if one.kind is kinds.VAR_POSITIONAL:
            starred = True
        elif one.kind is kinds.KEYWORD_ONLY and not starred:
            shown.append("*")
            starred = True
        shown.append(plainly(str(one)))
    result = "" if signature.return_annotation in (signature.empty, "None") else f" -> {signature.return_annotation}"
    line = f"{name}({', '.join(shown)}){plainly(result)}"
    return line if len(line) <= WIDE else plainly(f"{name}(\n    " + ",\n    ".join(shown) + f",\n){result}")


def plainly(text: str) -> str:
    """An annotation without the quotes and the modules that only an interpreter needs."""
    return re.sub(r"\b(?:hpcflow|collections|typing|os|_typeshed)(?:\.\w+)*\.(\w+)", r"\1", text).replace("'", "")


def numpydoc(text: str) -> str:
    """A docstring's sections as headings, its parameters as lists."""
    head, *rest = re.split(r"^(\w[\w ]*)\n-{3,}\n", text, flags=re.MULTILINE)
    parts = [escaped(head.strip().replace("``", "`"))]
    for title, body in zip(rest[::2], rest[1::2], strict=True):
        items = re.sub(r"^(\S.*)$", lambda m: f"\n- **{escaped(m[1])}**\n", body.strip(), flags=re.MULTILINE)
        parts += [f"**{title}**", items.replace("``", "`")]
    return "\n\n".join(parts)


def flow() -> str:
    """The parts of a flow, from its schema."""
    schema = flow_schema()
    rows = [
        f"| `{name}` | {'yes' if name in schema['required'] else ''} | {cell(one.get('description', ''))} |"
        for name, one in schema["properties"].items()
    ]
    words = "`from`, `op`, `of` and `to` are the only words with a meaning of their own within a node."
    return "\n\n".join(["# A flow", words, "\n".join(["| part | required | |", "| --- | --- | --- |", *rows])]) + "\n"

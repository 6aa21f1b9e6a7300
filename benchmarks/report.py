"""Results as text, as a document and as a page."""

from __future__ import annotations

import json
import statistics
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.measure import Result, Times
from benchmarks.plot import svg
from benchmarks.rows import ROWS


@dataclass
class Measured:
    """All that was measured."""

    machine: dict[str, str]
    rows: list[Result] = field(default_factory=list)
    ingest: list[dict[str, Any]] = field(default_factory=list)
    """What `ingest.py` says: figures, with what was asked for."""

    def to_json(self) -> dict[str, Any]:
        """For other programs."""
        return {"machine": self.machine, "rows": [row.to_json() for row in self.rows], "ingest": self.ingest}


HEAD = ("", "min s", "median s", "× hpcflow", "cpu s", "MiB", "rounds")


def text(result: Result) -> str:
    """A row as a table for the terminal."""
    lines = [f"{result.title}: {result.about}  ({result.seconds:.0f} s)"]
    table = [HEAD, *_cells(result)]
    widths = [max(len(line[column]) for line in table) for column in range(len(HEAD))]
    for line in table:
        cells = [line[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(line[1:], widths[1:], strict=False))]
        lines.append("  " + "  ".join(cells))
    lines += [f"  {one.name}: {one.fault}" for one in result.times if one.fault]
    lines += [f"  {sentence(reach)}" for reach in result.reaches]
    return "\n".join(lines) + "\n"


def _cells(result: Result) -> list[tuple[str, ...]]:
    ours = next((one for one in result.times if one.name == "hpcflow" and one.seconds), None)
    return [_line(one, ours) for one in result.times]


def _line(one: Times, ours: Times | None) -> tuple[str, ...]:
    if one.fault or not one.seconds:
        return (one.name, "–", "–", "", "", "", "")
    ratio = f"{one.median / ours.median:.2f}" if ours else ""
    name = f"{one.name} (a {1 / one.scale:.3g} part, scaled)" if one.scale > 1 else one.name
    figures = (one.least, one.median, statistics.median(one.cpu))
    least, median, cpu = map(seconds, figures)
    return (name, least, median, ratio, cpu, f"{one.memory / 2**20:.0f}", str(len(one.seconds)))


def seconds(value: float) -> str:
    """Three digits of it."""
    return f"{value:.3f}" if value < 10 else f"{value:.1f}" if value < 100 else f"{value:,.0f}"


def wanted(reach: dict[str, Any]) -> str:
    """A figure to be reached, in words."""
    if reach["what"] == "at most":
        return f"{reach['other']} within {reach['times']:g} s"
    ours = "" if reach["ours"] == "hpcflow" else f"{reach['ours']}: "
    what = "the speed of" if reach["what"] == "seconds" else "as thrifty with memory as"
    return f"{ours}{reach['times']:g} × {what} {reach['other']}"


def found(reach: dict[str, Any]) -> str:
    """What came out, as a figure."""
    if reach["found"] is None:
        return "–"
    return f"{seconds(reach['found'])} s" if reach["what"] == "at most" else f"{reach['found']:.2f} ×"


def verdict(reach: dict[str, Any]) -> str:
    """Whether a figure was reached."""
    if reach["found"] is None:
        return "not measured"
    least = reach["what"] != "at most"
    return "reached" if (reach["found"] >= reach["times"] if least else reach["found"] <= reach["times"]) else "missed"


def sentence(reach: dict[str, Any]) -> str:
    """A figure to be reached, and what came out."""
    return f"{wanted(reach)}: {verdict(reach)}, {found(reach)}"


def ingest_text(figures: list[dict[str, Any]]) -> str:
    """What fetching reaches, for the terminal."""
    return "".join(f"  {asked}: {came}\n" for asked, came in _ingest_lines(figures))


def write_docs(done: Measured, folder: Path) -> None:
    """Write `benchmarks.md` and its plots; rows that were not measured now stay as they were."""
    kept = folder / "benchmarks.json"
    before = json.loads(kept.read_text(encoding="utf-8")) if kept.exists() else {"rows": []}
    rows = {row["name"]: Result.from_json(row) for row in before["rows"]} | {one.name: one for one in done.rows}
    ordered = [rows[name] for name in ROWS if name in rows]
    now = Measured(done.machine, ordered, done.ingest or before.get("ingest", []))
    kept.write_text(json.dumps(now.to_json(), indent=1) + "\n", encoding="utf-8")
    plots = folder / "benchmarks"
    plots.mkdir(parents=True, exist_ok=True)
    for result in ordered:
        if any(one.seconds for one in result.times):
            (plots / f"{result.name}.svg").write_text(svg(result), encoding="utf-8")
    (folder / "benchmarks.md").write_text(page(now), encoding="utf-8")


INTRODUCTION = """# Benchmarks

Written by `make bench`: do not edit. `python -m benchmarks NAME… --docs docs` measures single rows anew, and
`--quick` does so on small data.

Every row is one job, done by hpcflow, by what one would use in its place (each with the settings that its own
documentation advises, and as many threads as there are cores), and by what binds it: a copy, the codecs, BLAS, one
loop written for it. Each works in a process of its own; they take turns, a round each, after a warm-up in which all
answers are held against each other. An entry whose answer differs has no figures. The suite keeps to about half an
hour, so that slow entries get fewer rounds than the five that others get; a round of 15 s and more needs no warm-up,
which then counts as one, unless it loads, exports or compiles what later rounds find.

`hpcflow` is `hpcflow.run` on the threads of one process, as the peers are, unless its name says otherwise. `command` is
the whole of `python -m hpcflow run`, from the start of the interpreter, with the cluster that it starts by default.
Neither takes up what an earlier run has left. `cpu s` are the seconds of work of
all cores. Memory is the most that all processes of an entry had to themselves in
any round; the pages of a mapped file are not counted. Results are written into memory (`/dev/shm`) where there is
room, as the speed of most disks changes by the minute; inputs have been read before.
"""


def page(done: Measured) -> str:
    """The page: what was reached, then each row with its plot and its table."""
    facts = " · ".join(f"{name} {value}" for name, value in done.machine.items())
    lines = [INTRODUCTION, f"Measured on: {facts}.\n", "## What was asked, and what was found\n"]
    lines += ["| row | asked | found | |", "| --- | --- | ---: | --- |"]
    for result in done.rows:
        for reach in result.reaches:
            said = verdict(reach).replace("missed", "**missed**")
            lines.append(f"| [{result.title}](#{result.name}) | {wanted(reach)} | {found(reach)} | {said} |")
    lines += [f"| [Fetching](#ingest) | {asked} | {came} | |" for asked, came in _ingest_lines(done.ingest)]
    lines += ["", "## Median seconds\n", "| row | `hpcflow.run` | whole command | best peer | limit |"]
    lines += ["| --- |" + " ---: |" * 4, *map(_summary, done.rows)]
    for result in done.rows:
        lines += ["", *_section(result)]
    return "\n".join([*lines, *_ingest_section(done.ingest)]) + "\n"


def _summary(result: Result) -> str:
    """The row in one line: the first hpcflow, its command, the best peer and the best limit."""
    cells = [f"[{result.title}](#{result.name})"]
    for kind in ("hpcflow", "command", "peer", "limit"):
        of_kind = [one for one in result.times if one.kind == kind and one.seconds and not one.fault]
        chosen = of_kind[:1] if kind in ("hpcflow", "command") else sorted(of_kind, key=lambda one: one.median)[:1]
        cells.append("".join(f"{seconds(one.median)}{_named(one)}" for one in chosen) or "–")
    return "| " + " | ".join(cells) + " |"


def _named(one: Times) -> str:
    return f" ({one.name})" if one.kind in ("peer", "limit") else ""


def _section(result: Result) -> list[str]:
    small = "" if result.size == "full" else f" ({result.size} size)"
    small += f"; {result.when}" if result.when else ""
    lines = [f'## <a name="{result.name}"></a>{result.title}', "", f"{result.about}{small}", ""]
    if any(one.seconds for one in result.times):
        lines += [f"![{result.title}](benchmarks/{result.name}.svg)", ""]
    lines += ["| " + " | ".join(HEAD) + " |", "| --- |" + " ---: |" * (len(HEAD) - 1)]
    lines += ["| " + " | ".join(line) + " |" for line in _cells(result)]
    faults = [f"- {one.name}: {one.fault}" for one in result.times if one.fault]
    return [*lines, *(["", *faults] if faults else [])]


def _ingest_lines(figures: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """What was asked of fetching, and what was found."""
    return [
        (f"{one['figure']}: {one['what']} {one['wanted']}", f"{one['value']}")
        for one in figures
        if one.get("wanted", "") != ""
    ]


def _ingest_section(figures: list[dict[str, Any]]) -> list[str]:
    if not figures:
        return []
    lines = ["", '## <a name="ingest"></a>Fetching', ""]
    lines += [
        "From a server of this machine that answers after 50 ms, 128 requests at once; `ingest.py` measures it.",
        "",
    ]
    lines += ["| figure | what | asked | found |", "| --- | --- | ---: | ---: |"]
    for one in figures:
        if "what" in one:
            lines.append(f"| {one['figure']} | {one['what']} | {one['wanted']} | {one['value']} |")
    for one in figures:
        if "what" not in one:
            lines += ["", "Seconds: " + ", ".join(f"{name} {value}" for name, value in one["value"].items()) + "."]
    return lines

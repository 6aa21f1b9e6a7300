"""Results as text, as a document and as a page."""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import Any

from tests.benchmarks.measure import Result, Times
from tests.benchmarks.plot import svg
from tests.benchmarks.rows import ROWS

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
    ours = "" if reach["ours"] == "hpcflow" else f"{reach['ours']}: "
    what = "the speed of" if reach["what"] == "seconds" else "as thrifty with memory as"
    return f"{ours}{reach['times']:g} × {what} {reach['other']}"


def reached(reach: dict[str, Any]) -> bool:
    """Whether it was."""
    return reach["found"] is not None and reach["found"] >= reach["times"]


def sentence(reach: dict[str, Any]) -> str:
    """A figure to be reached, and what came out."""
    if reach["found"] is None:
        return f"{wanted(reach)}: not measured"
    return f"{wanted(reach)}: {'reached' if reached(reach) else 'missed'}, {reach['found']:.2f} ×"


def document(results: list[Result], machine: dict[str, str]) -> dict[str, Any]:
    """All that was measured, for other programs."""
    return {"machine": machine, "rows": [result.to_json() for result in results]}


def write_docs(results: list[Result], machine: dict[str, str], folder: Path) -> None:
    """Write `benchmarks.md` and its plots; rows that were not measured now stay as they were."""
    kept = folder / "benchmarks.json"
    before = json.loads(kept.read_text(encoding="utf-8")) if kept.exists() else {"rows": []}
    rows = {row["name"]: row for row in before["rows"]} | {one.name: one.to_json() for one in results}
    ordered = [Result.from_json(rows[name]) for name in ROWS if name in rows]
    kept.write_text(json.dumps(document(ordered, machine), indent=1) + "\n", encoding="utf-8")
    plots = folder / "benchmarks"
    plots.mkdir(parents=True, exist_ok=True)
    for result in ordered:
        (plots / f"{result.name}.svg").write_text(svg(result), encoding="utf-8")
    (folder / "benchmarks.md").write_text(page(ordered, machine), encoding="utf-8")


INTRODUCTION = """# Benchmarks

Written by `make bench`: do not edit. `python -m tests.benchmarks NAME… --docs docs` measures single rows anew, and
`--quick` does so on small data.

Every row is one job, done by hpcflow, by what one would use in its place (each with the settings that its own
documentation advises, and as many threads as there are cores), and by what binds it: a copy, the codecs, BLAS, one
loop written for it. Each works in a process of its own; they take turns, a round each, after a warm-up in which all
answers are held against each other. A row whose answers differ has no figures.

`hpcflow` is `hpcflow.run` on the threads of one process, as the peers are, unless its name says otherwise. `command` is
the whole of `python -m hpcflow run`, from the start of the interpreter, with the cluster that it starts by default.
Neither takes up what an earlier run has left. `cpu s` are the seconds of work of
all cores. Memory is the most that all processes of an entry had to themselves in
any round; the pages of a mapped file are not counted. Results are written into memory (`/dev/shm`) where there is
room, as the speed of most disks changes by the minute; inputs have been read before.
"""


def page(results: list[Result], machine: dict[str, str]) -> str:
    """The page: what was reached, then each row with its plot and its table."""
    facts = " · ".join(f"{name} {value}" for name, value in machine.items())
    lines = [INTRODUCTION, f"Measured on: {facts}.\n", "## What was to be reached\n"]
    lines += ["| row | figure | found | |", "| --- | --- | ---: | --- |"]
    for result in results:
        for reach in result.reaches:
            found = "–" if reach["found"] is None else f"{reach['found']:.2f} ×"
            verdict = "not measured" if reach["found"] is None else "reached" if reached(reach) else "**missed**"
            lines.append(f"| [{result.title}](#{result.name}) | {wanted(reach)} | {found} | {verdict} |")
    for result in results:
        lines += ["", *_section(result)]
    return "\n".join(lines) + "\n"


def _section(result: Result) -> list[str]:
    small = "" if result.size == "full" else f" ({result.size} size)"
    lines = [f'## <a name="{result.name}"></a>{result.title}', "", f"{result.about}{small}", ""]
    if any(one.seconds for one in result.times):
        lines += [f"![{result.title}](benchmarks/{result.name}.svg)", ""]
    lines += ["| " + " | ".join(HEAD) + " |", "| --- |" + " ---: |" * (len(HEAD) - 1)]
    lines += ["| " + " | ".join(line) + " |" for line in _cells(result)]
    faults = [f"- {one.name}: {one.fault}" for one in result.times if one.fault]
    return [*lines, *(["", *faults] if faults else [])]

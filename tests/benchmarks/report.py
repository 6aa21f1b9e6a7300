"""Results as text, as a document and as a page."""

from __future__ import annotations

from typing import Any

from tests.benchmarks.measure import Result, Times

HEAD = ("", "min s", "median s", "× hpcflow", "MiB", "rounds")


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
        return (one.name, "–", "–", "", "", "")
    ratio = f"{one.median / ours.median:.2f}" if ours else ""
    name = f"{one.name} (a {1 / one.scale:.3g} part, scaled)" if one.scale > 1 else one.name
    return (name, seconds(one.least), seconds(one.median), ratio, f"{one.memory / 2**20:.0f}", str(len(one.seconds)))


def seconds(value: float) -> str:
    """Three digits of it."""
    return f"{value:.3f}" if value < 10 else f"{value:.1f}" if value < 100 else f"{value:,.0f}"


def sentence(reach: dict[str, Any]) -> str:
    """A figure to be reached, and what came out."""
    ours = "" if reach["ours"] == "hpcflow" else f"{reach['ours']}: "
    what = "the speed of" if reach["what"] == "seconds" else "as little memory as"
    wanted = f"{ours}{reach['times']:g} × {what} {reach['other']}"
    if reach["found"] is None:
        return f"{wanted}: not measured"
    return f"{wanted}: {'reached' if reach['found'] >= reach['times'] else 'missed'}, {reach['found']:.2f} ×"

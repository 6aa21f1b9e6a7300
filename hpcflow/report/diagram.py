"""A flow as a drawing: SVG text with its own colours for light and dark, and no script.

Nodes stand in rows by the longest way to them (Sugiyama's method): an edge over several rows bends at
a place of its own in each, and rows are ordered so that edges cross little.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from graphlib import TopologicalSorter
from itertools import pairwise
from typing import Any
from xml.sax.saxutils import escape

WIDTH, HEIGHT, GAP_X, GAP_Y, MARGIN = 216, 66, 24, 34, 16
BEND = 20
"""Width of the place at which an edge passes a row."""
AROUND = 32
"""The most rows that an edge bends around; over more it goes in one curve, so that drawing stays linear."""
SWEEPS = 8
LETTERS = {"name": 24, "small": 34, "round": 29}
"""Characters that fit into a node, by the size of the text."""
LIGHT = ("#dbeafe", "#dcfce7", "#fef3c7", "#fae8ff", "#ffe4e6", "#cffafe", "#e2e8f0", "#fed7aa")
DARK = ("#1e3a5f", "#1d4a33", "#574412", "#4d2456", "#5c2131", "#164a56", "#374151", "#5f3615")
LINES = ("#2563eb", "#16a34a", "#ca8a04", "#c026d3", "#e11d48", "#0891b2", "#64748b", "#ea580c")
"""Fills in light and dark, and outlines, of the stages in turn."""
STYLE = """
.hf text{font-family:system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif;font-size:11px;fill:#475569}
.hf .name{font-size:13px;font-weight:600;fill:#0f172a}.hf .edge{fill:none;stroke:#94a3b8;stroke-width:1.5}
.hf .tip{fill:#94a3b8}.hf rect{stroke-width:1.5}.hf .plain{fill:#f8fafc;stroke:#94a3b8}
"""
STYLE_DARK = """
.hf text{fill:#a9b4c4}.hf .name{fill:#f1f5f9}.hf .edge{stroke:#64748b}.hf .tip{fill:#64748b}
.hf .plain{fill:#1e2530;stroke:#64748b}
"""


@dataclass
class _Place:
    """A node, or the bend of an edge, in its row."""

    id: str
    row: int
    width: float
    x: float = 0.0
    """Of its middle."""
    node: Mapping[str, Any] | None = None


def svg(graph: Mapping[str, Any], *, standalone: bool = False) -> str:
    """Draw a graph as `planning.graph` gives it.

    Parameters
    ----------
    graph : mapping
    standalone : bool
        For a file of its own, with a background; otherwise for a page, as wide as there is room.

    Returns
    -------
    str
        ``<svg …>…</svg>``.
    """
    rows, ways = _layout(graph)
    for one in (one for row in rows for one in row):
        one.x += MARGIN
    places = {one.id: one for row in rows for one in row}
    width = max((one.x + one.width / 2 for one in places.values()), default=0) + MARGIN
    height = 2 * MARGIN + len(rows) * (HEIGHT + GAP_Y) - GAP_Y
    head = f'<svg xmlns="http://www.w3.org/2000/svg" class="hf" role="img" viewBox="0 0 {width:.0f} {height:.0f}" '
    size = f'width="{width:.0f}" height="{height:.0f}"'
    style = f'style="max-width:100%;height:auto;{"background:Canvas;color-scheme:light dark" if standalone else ""}"'
    title = f"<title>{escape(str(graph['flow']))}</title>"
    drawn = [*(_edge(way, places) for way in ways)]
    drawn += [_node(one, graph) for one in places.values() if one.node is not None]
    return f"{head}{size} {style}>{title}<style>{_style(graph)}</style>{''.join(drawn)}</svg>"


def _style(graph: Mapping[str, Any]) -> str:
    count = min(len(graph["stages"]), len(LINES))
    light = "".join(f".hf .s{i}{{fill:{LIGHT[i]};stroke:{LINES[i]}}}" for i in range(count))
    dark = "".join(f".hf .s{i}{{fill:{DARK[i]}}}" for i in range(count))
    return (STYLE + light + "@media (prefers-color-scheme:dark){" + STYLE_DARK + dark + "}").replace("\n", "")


def _layout(graph: Mapping[str, Any]) -> tuple[list[list[_Place]], list[list[str]]]:
    """Rows of places, and each edge as the places that it passes."""
    nodes = {node["id"]: node for node in graph["nodes"]}
    row_of = _rows(nodes, graph["edges"])
    rows: list[list[_Place]] = [[] for _ in range(max(row_of.values(), default=-1) + 1)]
    for name, node in nodes.items():
        rows[row_of[name]].append(_Place(name, row_of[name], WIDTH, node=node))
    ways = []
    for number, (start, stop) in enumerate(graph["edges"]):
        way = [start]
        between = range(row_of[start] + 1, row_of[stop])
        for row in between if len(between) <= AROUND else ():
            bend = _Place(f"bend {number} {row}", row, BEND)
            rows[row].append(bend)
            way.append(bend.id)
        ways.append([*way, stop])
    pairs = [pair for way in ways for pair in pairwise(way)]
    above, below = _neighbours(pairs), _neighbours([(b, a) for a, b in pairs])
    _order(rows, above, below)
    _spread(rows, above, below)
    return rows, ways


def _rows(nodes: Mapping[str, Any], edges: Sequence[Sequence[str]]) -> dict[str, int]:
    """The row of each node: below all it reads, and sources just above what first reads them."""
    row, read = dict.fromkeys(nodes, 0), _neighbours([(start, stop) for start, stop in edges])
    readers = _neighbours([(stop, start) for start, stop in edges])
    for name in TopologicalSorter(read).static_order():
        row[name] = max((row[one] + 1 for one in read.get(name, ())), default=0)
    for name, node in nodes.items():
        if node["kind"] == "source" and name in readers:
            row[name] = min(row[one] for one in readers[name]) - 1
    return row


def _neighbours(pairs: Sequence[tuple[str, str]]) -> dict[str, list[str]]:
    """For the second of each pair, the firsts."""
    found: dict[str, list[str]] = {}
    for first, second in pairs:
        found.setdefault(second, []).append(first)
    return found


def _order(rows: list[list[_Place]], above: Mapping[str, list[str]], below: Mapping[str, list[str]]) -> None:
    """Put each place at the mean of its neighbours' ranks, downwards and upwards in turn."""
    for sweep in range(SWEEPS):
        known = above if sweep % 2 == 0 else below
        passed: dict[str, float] = {}
        for row in rows if sweep % 2 == 0 else reversed(rows):
            ranks = {one.id: float(i) for i, one in enumerate(row)}
            for one in row:
                near = [passed[name] for name in known.get(one.id, []) if name in passed]
                ranks[one.id] = sum(near) / len(near) if near else ranks[one.id]
            row.sort(key=lambda one: ranks[one.id])
            passed.update({one.id: i + 0.5 - len(row) / 2 for i, one in enumerate(row)})


def _spread(rows: list[list[_Place]], above: Mapping[str, list[str]], below: Mapping[str, list[str]]) -> None:
    """Give places their x: near their neighbours' means, never over one another."""
    at = {one.id: one for row in rows for one in row}
    for row in rows:
        x = 0.0
        for one in row:
            one.x, x = x + one.width / 2, x + one.width + GAP_X
    middle = max((row[-1].x for row in rows if row), default=0) / 2
    for row in rows:
        shift = middle - (row[0].x + row[-1].x) / 2
        for one in row:
            one.x += shift
    for sweep in range(SWEEPS):
        known = (above, below)[sweep % 2]
        for row in rows if sweep % 2 == 0 else reversed(rows):
            want = [_mean([at[name].x for name in known.get(one.id, [])], one.x) for one in row]
            _settle(row, want)
    least = min((one.x - one.width / 2 for one in at.values()), default=0)
    for one in at.values():
        one.x -= least


def _settle(row: Sequence[_Place], want: Sequence[float]) -> None:
    """Move places as near to where they want to be as their order and their widths allow.

    Those that would overlap form a group at the mean of what its members want (pool adjacent violators).
    """
    offsets = [0.0]
    for one, following in pairwise(row):
        offsets.append(offsets[-1] + (one.width + following.width) / 2 + GAP_X)
    groups: list[tuple[float, int]] = []
    for place, offset in zip(want, offsets, strict=True):
        mean, size = place - offset, 1
        while groups and groups[-1][0] > mean:
            before, members = groups.pop()
            mean, size = (before * members + mean * size) / (members + size), members + size
        groups.append((mean, size))
    starts = [mean for mean, size in groups for _ in range(size)]
    for one, start, offset in zip(row, starts, offsets, strict=True):
        one.x = start + offset


def _mean(values: Sequence[float], otherwise: float) -> float:
    return sum(values) / len(values) if values else otherwise


def _edge(way: Sequence[str], places: Mapping[str, _Place]) -> str:
    points = list(_points([places[name] for name in way]))
    path = f"M{points[0][0]:.1f} {points[0][1]:.1f}"
    for (ax, ay), (bx, by) in pairwise(points):
        turn = (ay + by) / 2
        path += f"C{ax:.1f} {turn:.1f} {bx:.1f} {turn:.1f} {bx:.1f} {by:.1f}"
    x, y = points[-1]
    tip = f"M{x - 4:.1f} {y - 1:.1f}L{x + 4:.1f} {y - 1:.1f}L{x:.1f} {y + 6:.1f}Z"
    return f'<path class="edge" d="{path}"/><path class="tip" d="{tip}"/>'


def _points(way: Sequence[_Place]) -> Iterator[tuple[float, float]]:
    for i, one in enumerate(way):
        top = MARGIN + one.row * (HEIGHT + GAP_Y)
        if i:
            yield one.x, top - (7 if i == len(way) - 1 else 0)
        if i < len(way) - 1:
            yield one.x, top + HEIGHT


def _node(place: _Place, graph: Mapping[str, Any]) -> str:
    node = place.node
    assert node is not None
    left, top = place.x - WIDTH / 2, MARGIN + place.row * (HEIGHT + GAP_Y)
    stages = node["stages"]
    fill = f"s{stages[0] % len(LINES)}" if stages else "plain"
    corner = HEIGHT / 2 if node["kind"] == "source" else 4 if node["kind"] == "sink" else 12
    word = {"source": "from", "step": "", "sink": "to"}[node["kind"]]
    use = " ".join(filter(None, (word, node["use"], node["params"])))
    held = shape(node["shape"], node["dims"]), node["dtype"] or ""
    about = [f"{node['name']}: {use}", " ".join(held), *(graph["stages"][i]["name"] for i in stages)]
    dashed = ' stroke-dasharray="5 3"' if node["kind"] == "sink" and not stages else ""
    lines = [("name", node["name"], 21), ("", use, 38), ("", " ".join(filter(None, held)), 54)]
    small = "round" if node["kind"] == "source" else "small"
    middle = f'x="{place.x:.1f}" text-anchor="middle"'
    cut = [(kind, escape(_cut(line, kind or small)), top + y) for kind, line, y in lines]
    text = "".join(f'<text class="{kind}" {middle} y="{y:.1f}">{line}</text>' for kind, line, y in cut)
    box = f'x="{left:.1f}" y="{top:.1f}" width="{WIDTH}" height="{HEIGHT}" rx="{corner}"'
    return f'<g><title>{escape(chr(10).join(about))}</title><rect class="{fill}" {box}{dashed}/>{text}</g>'


def shape(extents: Sequence[int] | None, dims: Sequence[str | None]) -> str:
    """``y 8192 × x 8192``; empty where it is not known or there is no axis."""
    named = zip(extents or [], [*dims, *[None] * len(extents or [])], strict=False)
    return " × ".join(f"{name} {n:,}" if name else f"{n:,}" for n, name in named)


def _cut(text: str, kind: str) -> str:
    most = LETTERS[kind]
    return text if len(text) <= most else text[: most - 1] + "…"

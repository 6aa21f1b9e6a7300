"""A bar chart for a row: peers beside hpcflow beside the limit, in plain SVG."""

from __future__ import annotations

from html import escape

from benchmarks.measure import Result, Times

COLOURS = {"hpcflow": "#1f6feb", "command": "#79b0f7", "peer": "#9a9a9a", "limit": "#2da44e"}
KINDS = {"hpcflow": "hpcflow", "command": "the whole command", "peer": "peers", "limit": "limits"}
WIDTH, BAR, GAP, TOP, NAMES, NUMBERS = 760, 18, 8, 64, 250, 120
LONGEST = 12.0
"""Bars longer than this many times hpcflow's are cut, and drawn so."""
STYLE = (
    "text{font:13px system-ui,sans-serif;fill:#24292f}.head{font-size:16px;font-weight:600}"
    ".small{font-size:12px;fill:#57606a}"
    "@media(prefers-color-scheme:dark){text{fill:#e6edf3}.small{fill:#9198a1}}"
)


def svg(result: Result) -> str:
    """The chart: medians, shorter is better, from the slowest to the limits."""
    measured = sorted((one for one in result.times if one.seconds), key=lambda one: (one.kind == "limit", -one.median))
    height = TOP + len(measured) * (BAR + GAP) + GAP
    end = _end(measured)
    bars = [line for index, one in enumerate(measured) for line in _bar(one, TOP + index * (BAR + GAP), end)]
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}">',
        f"<title>{escape(result.title)}</title>",
        f"<style>{STYLE}</style>",
        f'<text class="head" x="8" y="22">{escape(result.title)}</text>',
        *_legend(measured),
        *bars,
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def _end(measured: list[Times]) -> float:
    """What the longest bar stands for."""
    ours = [one.median for one in measured if one.kind == "hpcflow"]
    most = max(one.median for one in measured)
    return min(most, LONGEST * max(ours)) if ours else most


def _legend(measured: list[Times]) -> list[str]:
    lines, x = [], 8
    for kind, name in KINDS.items():
        if any(one.kind == kind for one in measured):
            lines.append(f'<rect x="{x}" y="36" width="12" height="12" rx="2" fill="{COLOURS[kind]}"/>')
            lines.append(f'<text class="small" x="{x + 17}" y="46">{name}</text>')
            x += 40 + 7 * len(name)
    lines.append(f'<text class="small" x="{WIDTH - 8}" y="46" text-anchor="end">seconds, shorter is better</text>')
    return lines


def _bar(one: Times, y: int, end: float) -> list[str]:
    room = WIDTH - NAMES - NUMBERS
    width = max(1.0, room * min(one.median / end, 1.0))
    lines = [
        f'<text x="{NAMES - 8}" y="{y + 14}" text-anchor="end">{escape(one.name)}</text>',
        f'<rect x="{NAMES}" y="{y}" width="{width:.1f}" height="{BAR}" rx="2" fill="{COLOURS[one.kind]}"/>',
        f'<text x="{NAMES + width + 6:.1f}" y="{y + 14}">{_label(one)}</text>',
    ]
    if one.median > end * 1.001:  # two white strokes: the bar goes on
        x = NAMES + room - 30
        lines += [
            f'<path d="M{x + shift} {y + BAR + 2}l8 -{BAR + 4}" stroke="#fff" stroke-width="3"/>' for shift in (0, 8)
        ]
    return lines


def _label(one: Times) -> str:
    value = one.median
    text = f"{value * 1000:.0f} ms" if value < 1 else f"{value:.2f} s" if value < 100 else f"{value:,.0f} s"
    return f"{text}, scaled" if one.scale > 1 else text

"""The page of a run: one file that loads nothing, drawn from what the run has left in its folder.

It is drawn from JSON by scripts within it, so that a run's end need not wait for Bokeh's models
to be imported, which takes longer than many runs do.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from hpcflow.files import OWN, write
from hpcflow.report.diagram import svg
from hpcflow.report.pictures import pictures
from hpcflow.report.record import HISTORY, PAGE, REPORT
from hpcflow.secrets import redacted
from hpcflow.sizes import show_size

if TYPE_CHECKING:
    from jinja2 import Template

BUDGET = 0.5
"""Seconds that pictures of the outputs may take."""
LISTED = 200
"""Bad items that are listed."""
LONGEST = 100_000
"""Characters of a flow that are shown."""
MOODS = {"complete": "good", "failed": "bad", "interrupted": "fair"}
SCRIPTS = ("bokeh.min.js", "bokeh-api.min.js")
NOTHING: dict[str, Any] = {
    "timeline": {"lanes": [], "bars": [], "joined": 0},
    "rates": {"width": 1, "bins": []},
    "memory": {"width": 1, "bins": []},
    "spent": {},
    "events": [],
    "untold": 0,
    "graph": {"flow": "", "about": "", "nodes": [], "edges": [], "stages": []},
    "provenance": {},
    "directory": ".",
}


def draw(run_dir: Path) -> Path:
    """Draw the page of a run from its ``report.json``, and what else is there of it.

    Returns
    -------
    Path
        ``RUN_DIR/report.html``.
    """
    report = json.loads((run_dir / REPORT).read_bytes())
    try:
        history = json.loads((run_dir / HISTORY).read_bytes())
    except (OSError, ValueError):
        history = {}
    if history.get("run") != report.get("run"):
        history = {}  # of another run
    path = run_dir / PAGE
    write(path, page(report, {**NOTHING, **history}), mode=OWN, lasting=False)
    return path


def is_drawn(run_dir: Path, report: Mapping[str, Any]) -> bool:
    """Whether a run's page is there, and of this run."""
    try:
        with (run_dir / PAGE).open(encoding="utf-8") as file:
            return f'content="{report.get("run", "")}"' in file.read(1000)
    except OSError:
        return False


def page(report: Mapping[str, Any], history: Mapping[str, Any]) -> str:
    """The page, as HTML.

    Parameters
    ----------
    report : mapping
        As ``report.json`` holds it.
    history : mapping
        As ``history.json`` holds it.
    """
    from markupsafe import Markup  # noqa: PLC0415  (commands that draw nothing do without)

    report, history = redacted(dict(report)), redacted(dict(history))
    graph, provenance = history["graph"], history["provenance"]
    outputs: list[dict[str, Any]] = []
    if report["status"] == "complete":
        room = report["memory"]["budget"] - psutil.Process().memory_info().rss
        outputs = pictures(report["outputs"], Path(history["directory"]), time.monotonic() + BUDGET, max(room, 0))
    for one in outputs:
        one["histogram"] = Markup(one.get("histogram", ""))  # noqa: S704  (drawn from numbers)
    charts = any(history[name]["bins"] for name in ("memory", "rates")) or bool(history["timeline"]["bars"])
    return _template(
        "page.html"
    ).render(
        report=report,
        history=history,
        graph=graph,
        diagram=Markup(svg(graph)),  # noqa: S704  (escaped where it is made)
        mood="fair" if report["exit_code"] == 3 else MOODS.get(report["status"], "bad"),
        status=_status(report),
        tiles=_tiles(report),
        spent=_spent(history, [stage["name"] for stage in graph["stages"]]),
        busy=_seconds(sum(sum(one.values()) for one in history["spent"].values())),
        outputs=outputs,
        provenance=_provenance(report, provenance),
        text=str(provenance.get("flow", ""))[:LONGEST],
        most=LISTED,
        size=show_size,
        style=Markup(_asset("page.css")),  # noqa: S704  (a file of this package)
        data=_data(report, history),
        charts=charts,
        bokeh=Markup(_bokeh()) if charts else "",  # noqa: S704  (a file of Bokeh's)
        script=Markup(_asset("page.js")),  # noqa: S704  (a file of this package)
    )


def plan_page(graph: Mapping[str, Any], text: str) -> str:
    """A plan as a page: its drawing, and what it says in words.

    Parameters
    ----------
    graph : mapping
        As `planning.graph` gives it.
    text : str
        The plan as it is printed.
    """
    from markupsafe import Markup  # noqa: PLC0415

    drawn = {"diagram": Markup(svg(graph)), "style": Markup(_asset("page.css"))}  # noqa: S704  (escaped; our own)
    return _template("plan.html").render(graph=graph, text=text, **drawn)


@cache
def _template(name: str) -> Template:
    from jinja2 import Environment  # noqa: PLC0415

    return Environment(autoescape=True, trim_blocks=True).from_string(_asset(name))


@cache
def _asset(name: str) -> str:
    return files("hpcflow.report").joinpath(name).read_text(encoding="utf-8")


@cache
def _bokeh() -> str:
    """BokehJS, from the package, which need not be imported for that."""
    found = find_spec("bokeh")
    assert found is not None
    assert found.origin is not None
    folder = Path(found.origin).parent / "server/static/js"
    scripts = (folder.joinpath(name).read_text(encoding="utf-8") for name in SCRIPTS)
    return "\n".join(scripts).replace("</script", "<\\/script")


def _data(report: Mapping[str, Any], history: Mapping[str, Any]) -> dict[str, Any]:
    """What the charts are drawn from."""
    ends = [bar[3] for bar in history["timeline"]["bars"]]
    ends += [len(history[name]["bins"]) * history[name]["width"] for name in ("memory", "rates")]
    stages = [stage["name"] for stage in history["graph"]["stages"]]
    return {
        "seconds": max([report["seconds"]["total"], *ends]),
        "stages": stages or list(dict.fromkeys(bar[1] for bar in history["timeline"]["bars"])),
        "timeline": history["timeline"],
        "memory": history["memory"],
        "rates": history["rates"],
        "limits": report["memory"],
    }


def _status(report: Mapping[str, Any]) -> str:
    code = report["exit_code"]
    bad = len(report["quarantine"])
    words = {0: "complete", 3: f"complete, {bad:,} set apart"}
    return words.get(code, f"{report['status']} (exit code {code})")


def _tiles(report: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    seconds, tasks, memory, cluster = report["seconds"], report["tasks"], report["memory"], report["cluster"]
    spent = ", ".join(f"{name} {_seconds(seconds[name])}" for name in ("startup", "compute") if name in seconds)
    counts = ", ".join(f"{tasks[name]:,} {name}" for name in ("executed", "reused", "retried") if tasks.get(name))
    tiles = [
        ("time", _seconds(seconds["total"]), spent),
        ("blocks", f"{tasks['total']:,}", counts),
        ("memory at peak", show_size(memory["measured_peak"]), f"{show_size(memory['projected_peak'])} projected"),
        ("read", show_size(report.get("bytes_read", 0)), ""),
        ("written", show_size(report.get("bytes_written", 0)), ""),
    ]
    if cluster:
        many = f"{cluster['threads']} thread" + ("" if cluster["threads"] == 1 else "s")
        threads = f"{many} each, {cluster.get('device', 'cpu')}"
        tiles.append(("workers", f"{cluster['workers']}", f"{cluster['kind']}, {threads}"))
    return tiles


def _seconds(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.2f} s" if seconds < 10 else f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s"


def _spent(history: Mapping[str, Any], stages: list[str]) -> list[dict[str, Any]]:
    """Rows of the table of where the time went, the longest first."""
    rows = [
        (seconds, _words(name, history["graph"]), stages.index(stage) if stage in stages else 0)
        for stage, spent in history["spent"].items()
        for name, seconds in spent.items()
    ]
    rows.sort(key=lambda row: -row[0])
    most = max((seconds for seconds, *_ in rows), default=0) or 1
    return [
        {"seconds": _seconds(seconds), "share": f"{100 * seconds / most:.2f}", "name": name, "stage": stage}
        for seconds, name, stage in rows[:40]
    ]


def _words(name: str, graph: Mapping[str, Any]) -> str:
    """A name of a stopwatch in words."""
    use = {node["name"]: node["use"] for node in graph["nodes"] if node["kind"] != "sink"}
    sources = {node["name"] for node in graph["nodes"] if node["kind"] == "source"}
    if name in sources:
        return f"read {name}"
    if "+" in name:
        return f"{', '.join(name.split('+'))} (one loop)"
    return f"{name} ({use[name]})" if name in use else name


def _provenance(report: Mapping[str, Any], provenance: Mapping[str, Any]) -> list[tuple[str, list[tuple[str, str]]]]:
    inputs = {
        name: ", ".join(f"{key}: {value}" for key, value in one.items())
        for name, one in provenance.get("inputs", {}).items()
    }
    run = {"git commit": provenance.get("commit"), "file": provenance.get("file"), "command's folder": ""}
    return [
        ("Run", [(key, str(value)) for key, value in run.items() if value]),
        ("Parameters", [(key, str(value)) for key, value in provenance.get("params", {}).items()]),
        ("Inputs", list(inputs.items())),
        ("Versions", list(report.get("versions", {}).items())),
    ]

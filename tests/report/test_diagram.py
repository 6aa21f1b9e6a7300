"""Drawings of flows and plans: nothing hides anything else, whatever the flow."""

import io
import json
import re
from pathlib import Path
from xml.etree import ElementTree as ET

import browser
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

import hpcflow
from hpcflow.cli import app
from hpcflow.display import show_plan
from hpcflow.report.diagram import HEIGHT, WIDTH, svg
from tests.timing import cpu_within

SVG = "{http://www.w3.org/2000/svg}"
FLOW = """\
flow: two
about: Shares <of> the sum.
sources:
  x: {from: npy, path: x.npy, dims: [y, x]}
steps:
  soft: {op: gaussian, of: x, sigma: 1.5}
  total: {op: sum, of: soft}
  share: {op: expr, expr: "soft / total"}
sinks:
  share: {to: zarr, of: share, path: out/share.zarr}
  total: {to: json, of: total, path: out/total.json}
"""


@st.composite
def graphs(draw):
    """Any flow: each node reads some of those before it."""
    count = draw(st.integers(1, 14))
    names = draw(st.lists(st.text(min_size=1, max_size=40), min_size=count, max_size=count, unique=True))
    # XML has no words for some characters, and neither have names of nodes.
    names = [re.sub(r"[^ -~À-ÿ]", "?", name) + str(i) for i, name in enumerate(names)]
    nodes, edges = [], []
    for i, name in enumerate(names):
        of = draw(st.lists(st.integers(0, i - 1), max_size=4, unique=True)) if i else []
        kind = "step" if of else "source"
        edges += [[names[one], name] for one in of]
        nodes.append(
            {
                "id": name, "name": name, "kind": kind, "use": "op<&>", "params": name * 3, "dtype": "float32",
                "shape": [10**9] * draw(st.integers(0, 5)), "dims": [], "stored": False,
                "stages": draw(st.lists(st.integers(0, 2), max_size=2)),
            }
        )  # fmt: skip
    return {"flow": "any", "about": "", "nodes": nodes, "edges": edges, "stages": [{"name": one} for one in "abc"]}


@given(graphs())
def test_no_box_hides_another_and_every_edge_goes_down(graph):
    root = ET.fromstring(svg(graph))
    width, height = (float(one) for one in root.get("viewBox").split()[2:])
    boxes = {}
    for group in root.findall(f"{SVG}g"):
        rect = group.find(f"{SVG}rect")
        name = re.match(r"(.*): (from )?op<&>", group.find(f"{SVG}title").text)[1]
        boxes[name] = float(rect.get("x")), float(rect.get("y"))
    assert len(boxes) == len(graph["nodes"])
    placed = list(boxes.values())
    for i, (x, y) in enumerate(placed):
        assert 0 <= x <= width - WIDTH
        assert 0 <= y <= height - HEIGHT
        assert not any(abs(x - u) < WIDTH and abs(y - v) < HEIGHT for u, v in placed[:i])
    for start, stop in graph["edges"]:
        assert boxes[start][1] < boxes[stop][1]


@pytest.mark.parametrize("of", [lambda i: [i - 1, 0], lambda i: [i - 1, max(i - 2, 0), i // 2], lambda _: [0]])
def test_a_large_flow_is_drawn_in_seconds(of):
    count = 4000
    plain = {"kind": "step", "use": "clip", "params": "", "shape": [1], "dtype": "u1", "dims": [], "stages": []}
    nodes = [{**plain, "id": str(i), "name": str(i), "stored": False} for i in range(count)]
    edges = [[str(one), str(i)] for i in range(1, count) for one in dict.fromkeys(of(i))]
    with cpu_within(4):
        drawn = svg({"flow": "large", "about": "", "nodes": nodes, "edges": edges, "stages": []})
    assert len(drawn) < count * 2000


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("x.npy", np.ones((64, 64), "float32"))
    Path("two.yaml").write_text(FLOW)
    return tmp_path


def call(*arguments):
    return CliRunner().invoke(app, list(arguments))


def test_a_plan_is_a_tree_for_each_stage(folder):
    text = call("plan", "two.yaml", "--cluster", "threads").stdout
    tree = [line for line in text.splitlines() if line.startswith(("├", "└"))]
    assert tree == [
        "├─ reads x: npy x.npy: y 64 × x 64 float32",
        "├─ soft: gaussian sigma 1.5",
        "├─ total: sum",
        "└─ keeps total for later stages",
        "├─ reads x: npy x.npy: y 64 × x 64 float32",
        "├─ reads total, as an earlier stage leaves it",
        "├─ soft: gaussian sigma 1.5",
        "├─ share: expr soft / total",
        "└─ writes share: zarr out/share.zarr",
    ]
    assert "writes total: json out/total.json, of total" in text


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_terminal_gets_the_same_in_colours(folder, monkeypatch):
    planned = hpcflow.plan("two.yaml", cluster="threads")
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.setenv("TERM", "xterm-256color")
    stream = Terminal()
    show_plan(planned, stream)
    plain = re.sub(r"\x1b\[[0-9;]*m", "", stream.getvalue())
    assert plain != stream.getvalue()
    for line in str(planned).splitlines():
        assert line.strip("├─└ ") in plain, line


def test_a_plan_can_be_drawn(folder):
    done = call("plan", "two.yaml", "--cluster", "threads", "--html", "plan.html", "--svg", "plan.svg")
    assert done.exit_code == 0, done.stderr
    assert done.stdout == ""
    root = ET.parse("plan.svg").getroot()
    titles = [one.text for one in root.iter(f"{SVG}title")]
    assert "share: expr soft / total\ny 64 × x 64 float32\nshare" in titles
    text = Path("plan.html").read_text()
    assert "Shares &lt;of&gt; the sum." in text
    assert "├─ soft: gaussian sigma 1.5" in text
    both = call("plan", "two.yaml", "--cluster", "threads", "--svg", "again.svg", "--json")
    assert json.loads(both.stdout)["flow"] == "two"
    assert Path("again.svg").read_bytes() == Path("plan.svg").read_bytes()
    missing = call("plan", "two.yaml", "--cluster", "threads", "--svg", "no/such/plan.svg")
    assert missing.exit_code == 1
    assert "no/such" in missing.stderr


@pytest.mark.skipif(browser.COMMAND is None, reason="needs chromium")
def test_a_browser_shows_a_plan_without_a_complaint(folder):
    call("plan", "two.yaml", "--cluster", "threads", "--html", "plan.html", "--svg", "plan.svg")
    shots = {"wide": (1280, "light"), "phone": (390, "dark")}
    for path, measure in {"plan.html": "document.documentElement.scrollWidth", "plan.svg": "0"}.items():
        looks, complaints, requests = browser.look(path, shots, measure=measure)
        assert complaints == []
        assert {one for one in requests if not one.startswith("data:")} == {Path(path).absolute().as_uri()}
        assert all(width <= shots[name][0] for name, (_, width) in looks.items())

"""What comes out of a good flow, and that no flow at all gives a traceback."""

import random
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpcflow import registry
from hpcflow.errors import FlowError
from hpcflow.parameters import parameter_names
from hpcflow.scalars import show
from hpcflow.spec.validate import load, loads
from tests.timing import cpu_within

ROOT = Path(__file__).parents[2]
FLOWS = sorted((ROOT / "flows").glob("*.yaml"))
BROKEN = sorted((ROOT / "tests" / "broken").glob("*.yaml"))

EDGES = """
flow: edges
about: Edge energy of a large plane.
params:
  sigma: 1.5
sinks:
  energy: {to: zarr, of: energy, path: out/energy.zarr, chunks: [16, 16]}
  total: {to: json, of: total, path: out/total.json}
steps:
  total: {op: sum, of: energy}
  energy: {op: expr, expr: "sqrt(gx**2 + gy**2)"}
  gx: {op: sobel, of: smooth, axis: x}
  gy: {op: sobel, of: smooth, axis: -2}
  smooth: {op: gaussian, of: plane, sigma: "${sigma}"}
sources:
  plane: {from: random, shape: [64, 32], dtype: float32, dims: [y, x]}
"""


def test_a_whole_flow():
    flow = loads(EDGES, params={"sigma": 2})
    assert (flow.name, flow.about, flow.params) == ("edges", "Edge energy of a large plane.", {"sigma": 2})
    assert flow.text == EDGES
    assert flow.warnings == ()
    names = list(flow.nodes)
    assert set(names) == {"plane", "smooth", "gx", "gy", "energy", "total"}
    for name, node in flow.nodes.items():
        assert all(names.index(one) < names.index(name) for one in node.of)
    assert flow.nodes["energy"].of == ("gx", "gy")
    assert flow.nodes["gx"].params["axis"] == 1
    assert flow.nodes["gy"].params["axis"] == 0
    assert flow.nodes["smooth"].params["mode"] == "reflect"
    assert flow.nodes["energy"].meta.shape == (64, 32)
    assert flow.nodes["energy"].meta.dtype == np.float32
    assert flow.nodes["energy"].meta.dims == ("y", "x")
    assert flow.nodes["total"].meta.shape == ()
    assert flow.nodes["plane"].source is not None
    assert str(flow.nodes["smooth"].location) == "<flow>:14:3"
    assert str(flow.nodes["smooth"].places["sigma"]) == "<flow>:14:44"
    assert flow.sinks["energy"].of == ("energy",)


def test_unused_nodes_are_left_out_and_named():
    flow = loads(EDGES + "  other: {from: full, shape: [3], value: 1}\n")
    assert "other" not in flow.nodes
    assert [str(fault.location) for fault in flow.warnings] == ["<flow>:17:3"]


def test_items_carry_the_name_of_their_source(tmp_path):
    photos = ROOT / "data" / "photos"
    text = f"flow: a\nsources:\n  pics: {{from: images, path: {photos}}}\nsinks:\n"
    flow = loads(text + f"  out: {{to: npy, of: pics, path: {tmp_path}/a.npy}}\n")
    assert flow.nodes["pics"].meta.items == "pics"


@pytest.mark.parametrize("path", FLOWS, ids=lambda path: path.stem)
def test_flows_that_ship(path, monkeypatch):
    if "infer" in Path(path).read_text():
        pytest.importorskip("torch")
    monkeypatch.chdir(ROOT)
    flow = load(path, missing_ok=True)
    assert all("expected a file or folder at" in fault.message for fault in flow.warnings)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        (
            "nowhere.yaml",
            "nowhere.yaml: error: expected a flow to read, found no such file or directory\n  hint: looked in `HERE`",
        ),
        (".", ".: error: expected a file, found a folder at `.`"),
        ("a\0b", "a\0b: error: expected a file, found 'a\\x00b', which is no path"),
    ],
)
def test_a_file_that_cannot_be_read(path, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FlowError) as caught:
        load(path)
    assert str(caught.value) == message.replace("HERE", str(tmp_path))


def test_a_plugin_that_breaks_is_a_fault_of_its_node(monkeypatch):
    def broken(*, path: str):
        raise KeyError(path)

    names, function = registry.names, registry.function
    monkeypatch.setattr(registry, "names", lambda kind: ("broken", *names(kind)) if kind == "sources" else names(kind))
    monkeypatch.setattr(registry, "function", lambda kind, name: broken if name == "broken" else function(kind, name))
    text = "flow: a\nsources:\n  x: {from: broken, path: p}\nsinks:\n  o: {to: npy, of: x, path: out/o.npy}\n"
    with pytest.raises(
        FlowError, match="<flow>:3:27: error: expected `broken` to take this, found KeyError: 'p'"
    ) as caught:
        loads(text)
    assert isinstance(caught.value.__cause__, KeyError)


def test_a_plugin_that_cannot_be_imported_is_a_fault_of_its_node(monkeypatch):
    def missing(kind, name):
        raise ModuleNotFoundError("No module named 'far_away'")

    monkeypatch.setattr(registry, "function", missing)
    with pytest.raises(FlowError, match="expected `random` to load, found ModuleNotFoundError: No module named"):
        loads(EDGES)


def refused(text, **options):
    """The error that a text gives, if it gives one; any other exception goes through."""
    try:
        loads(text, **options)
    except FlowError as error:
        return error
    return None


def checked(text):
    """Load a text; only a `FlowError` may come of it, within a second."""
    start = time.thread_time()
    error = refused(text, missing_ok=True)
    assert error is None or (error.faults and len(str(error)) < 10**6)
    assert time.thread_time() - start < 1


SOURCES = [path.read_bytes().decode(errors="replace") for path in (*FLOWS, *BROKEN)] + [EDGES]


@settings(deadline=None, max_examples=150)
@given(st.sampled_from(SOURCES), st.randoms(use_true_random=False))
def test_mutated_flows_give_faults_only(text, chance):
    checked(_mutated(text, chance))


def _mutated(text: str, chance: random.Random) -> str:
    pieces = [
        "",
        " ",
        ":",
        "[",
        "]",
        "{",
        "}",
        "${",
        "}",
        "null",
        "-1",
        "\n",
        "\n  ",
        "[1, 2]",
        "of: ",
        "x",
        "9" * 30,
        ".nan",
        "*",
    ]
    for _ in range(chance.randint(1, 6)):
        start = chance.randint(0, len(text))
        stop = min(len(text), start + chance.choice([0, 0, 1, 3, 10]))
        if chance.random() < 0.3:
            other = chance.randint(0, len(text))
            text = text[:start] + text[other : other + chance.randint(0, 30)] + text[stop:]
        else:
            text = text[:start] + chance.choice(pieces) + text[stop:]
    return text


values = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 70) | st.sampled_from([10**25, -(10**25), 0.5, -1.0, 1e300])
    | st.sampled_from(["x", "y", "plane", "float32", "reflect", "${sigma}", "", "a b", "1:2"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["x", "y", "op"]), inner, max_size=2),
    max_leaves=4,
)  # fmt: skip
STEPS = [name for name in registry.names("ops") if name != "infer"]


@settings(deadline=None, max_examples=300)
@given(st.data())
def test_any_parameters_give_a_meta_or_faults(data):
    """Whatever an op or a source is given: a fault of the flow, never another exception."""
    name = data.draw(st.sampled_from(STEPS))
    known = parameter_names(registry.function("ops", name))
    params = data.draw(st.dictionaries(st.sampled_from([*known, "nothing"]), values, max_size=4))
    of = data.draw(st.sampled_from(["plane", ["plane", "plane"], ["plane", "row", "plane"], "row"]))
    node = {"op": name, **({} if name == "expr" else {"of": of}), **params}
    text = f"""
flow: any
params: {{sigma: 2}}
sources:
  plane: {{from: random, shape: [6, 4], dims: [y, x]}}
  row: {{from: full, shape: [4], value: 1}}
steps:
  step: {show(node)}
sinks:
  out: {{to: npy, of: step, path: out/step.npy}}
"""
    error = refused(text)
    assert error is None or error.__cause__ is None, f"{node}: {error.__cause__!r}"


@pytest.mark.timeout(30)
@pytest.mark.parametrize("kind", ["chain", "cycle", "unknown", "faulty", "expr", "sinks", "long names"])
def test_a_large_flow_costs_seconds_at_most(kind):
    n = 1000 if kind == "sinks" else 2000
    head = "flow: a\nsources:\n  s0: {from: full, shape: [2], value: 1}\nsteps:\n"
    of = {
        "chain": lambda i: f"{{op: clip, of: s{i - 1}, min: 0}}",
        "cycle": lambda i: f"{{op: clip, of: s{i % n + 1}, min: 0}}",
        "unknown": lambda i: f"{{op: clip, of: t{i}, min: 0}}",
        "faulty": lambda i: f"{{op: clpi, off: s{i - 1}}}",
        "expr": lambda i: f"{{op: expr, expr: s{i - 1} + s0}}",
        "sinks": lambda i: f"{{op: clip, of: s0, min: {i}}}",
        "long names": lambda i: f"{{op: clip, of: {'x' * 150}, min: 0}}",
    }[kind]
    text = head + "".join(f"  s{i}: {of(i)}\n" for i in range(1, n + 1)) + "sinks:\n"
    text += "".join(
        f"  o{i}: {{to: npy, of: s{i}, path: out/{i}.npy}}\n" for i in range(1 if kind == "sinks" else n, n + 1)
    )
    with cpu_within(2):
        error = refused(text)
    assert "values in a flow" not in str(error)
    assert len(str(error)) < 10**6


@settings(deadline=None, max_examples=60)
@given(st.lists(st.lists(st.sampled_from(["o", "o.npy", "p"]), min_size=1, max_size=3), min_size=1, max_size=4))
def test_outputs_lie_apart_from_each_other_and_from_inputs(places):
    """Refused where two paths, the first of them the source's, are one or lie one inside another."""
    paths = [Path("out", *place) for place in places]
    text = "flow: a\nsources:\n  x: {from: npy, path: " + str(paths[0]) + "}\n  y: {from: full, shape: [2]}\nsinks:\n"
    text += "".join(f"  s{i}: {{to: npy, of: y, path: {path}}}\n" for i, path in enumerate(paths[1:]))
    error = refused(text, missing_ok=True)
    said = [fault.message for fault in error.faults] if error else []
    outputs = paths[1:]
    assert any("of its own" in one for one in said) == any(
        a == b or a in b.parents or b in a.parents for i, a in enumerate(outputs) for b in outputs[:i]
    )
    assert any("of the source" in one for one in said) == any(paths[0] == b or b in paths[0].parents for b in outputs)


def test_a_formula_may_be_longer_than_a_name_of_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("x.npy", np.ones(3))
    formula = "  +  ".join(["x"] * 60)
    Path("flow.yaml").write_text(
        f'flow: long\nsources: {{x: {{from: npy, path: x.npy}}}}\nsteps: {{y: {{op: expr, expr: "{formula}"}}}}\n'
        "sinks: {y: {to: npy, of: y, path: y.npy}}\n"
    )
    assert load("flow.yaml").nodes["y"].meta.shape == (3,)

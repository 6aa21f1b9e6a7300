"""What finished work is known by: it must stay valid from one release to the next."""

import json
from pathlib import Path

import numpy as np
import pytest

import hpcflow
from hpcflow.execute import receipts
from hpcflow.execute.manifest import manifest_of
from hpcflow.execute.receipts import Receipt, parse, stage_key
from hpcflow.meta import Bad

FLOW = """
flow: golden
block: [16, 16]
sources:
  x: {from: npy, path: x.npy, dims: [y, x]}
steps:
  smooth: {op: gaussian, of: x, sigma: 1.5}
  edge: {op: sobel, of: smooth, axis: x}
  energy: {op: expr, expr: "sqrt(edge ** 2 + smooth)"}
sinks:
  energy: {to: npy, of: energy, path: energy.npy}
"""
LINE = (
    b'b4fd3f1b6bbf19bf {"block":3,"outputs":{"a.npy":"0f"},"inputs":{"x":["s","h"]},'
    b'"partials":{"t":[["<f8",[1],"AAAAAAAA8D8="]]},"bad":[["p",1,"b.jpg","torn"]]}\n'
)


@pytest.fixture
def flow(tmp_path, monkeypatch):
    """A small flow of ops that ship, whose key depends on no package that happens to be installed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(receipts, "_versions", lambda: {"numpy": "0"})
    np.save("x.npy", np.ones((64, 64), np.float32))
    Path("golden.yaml").write_text(FLOW)
    return "golden.yaml"


KEY = "b63e663e2c6fbd6f20e2df4562c1e20c"


def test_the_key_of_a_stage_stays(flow):
    (stage,) = hpcflow.plan(flow, cluster="synchronous", memory="2GiB").stages
    assert stage_key(stage) == KEY


def test_a_receipt_stays():
    receipt = Receipt(3, {"a.npy": "0f"}, {"x": ("s", "h")}, {"t": (np.ones(1),)}, (Bad("p", 1, "b.jpg", "torn"),))
    assert receipt.line() == LINE
    assert parse(LINE).number == 3


def test_a_manifest_stays(flow):
    hpcflow.run(flow, cluster="synchronous", memory="2GiB")
    found = json.loads(manifest_of("energy.npy").read_text())
    assert set(found) >= {
        "version",
        "output",
        "flow",
        "path",
        "run_dir",
        "run",
        "provenance",
        "files",
        "array",
        "blocks",
    }
    assert found["version"] == 1
    assert found["array"] | {"params": None} == {
        "sink": "npy", "shape": [64, 64], "dtype": "<f4", "dims": ["y", "x"], "params": None,
    }  # fmt: skip
    assert set(found["blocks"]) == {"domain", "block", "stage", "key", "receipts", "hash"}
    assert (found["blocks"]["key"], found["blocks"]["block"], found["blocks"]["domain"]) == (KEY, [16, 16], [64, 64])

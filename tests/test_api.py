"""What `import hpcflow` gives, and the fields that other programs read."""

import json
from pathlib import Path

import numpy as np
import pytest

import hpcflow

FLOW = """
flow: fields
sources: {x: {from: npy, path: x.npy, dims: [y, x]}}
steps:
  smooth: {op: gaussian, of: x, sigma: 1}
  total: {op: sum, of: smooth}
sinks:
  smooth: {to: zarr, of: smooth, path: out/smooth.zarr, chunks: [32, 64]}
  total: {to: json, of: total, path: out/total.json}
"""


@pytest.fixture
def flow(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("x.npy", np.ones((64, 64), "float32"))
    Path("fields.yaml").write_text(FLOW)
    return "fields.yaml"


def test_the_public_names_are_there():
    assert all(hasattr(hpcflow, name) for name in hpcflow.__all__)
    with pytest.raises(AttributeError):
        hpcflow.nothing  # noqa: B018


def test_a_plan_has_its_fields(flow):
    plan = hpcflow.plan(flow, memory="2GiB").to_json()
    assert plan["flow"] == "fields"
    assert plan["bytes_read"] >= 64 * 64 * 4
    assert plan["bytes_written"] == 64 * 64 * 4
    assert plan["memory"]["budget"] == 2 * 2**30
    assert 0 < plan["memory"]["per_task"] <= plan["memory"]["peak"] <= plan["memory"]["budget"]
    (stage,) = plan["stages"]
    assert {"name", "steps", "tasks", "block", "halo", "task_memory"} <= stage.keys()
    assert stage["halo"] == [4, 4]
    assert plan["tasks"] == stage["tasks"]
    output = {"name": "smooth", "path": "out/smooth.zarr", "shape": [64, 64], "dtype": "float32", "chunks": [32, 64]}
    assert plan["outputs"][0] == output
    json.dumps(plan)


def test_a_report_has_its_fields(flow):
    report = hpcflow.run(flow, cluster="threads", memory=2 * 2**30, max_bad="10%")
    written = json.loads(Path("runs/fields/report.json").read_text())
    assert written == json.loads(json.dumps(report.to_json()))
    assert (written["flow"], written["status"], written["exit_code"]) == ("fields", "complete", 0)
    assert written["seconds"].keys() >= {"total", "startup", "compute"}
    assert written["tasks"]["executed"] == written["tasks"]["total"] > 0
    assert written["tasks"].keys() >= {"reused", "retried"}
    assert written["memory"].keys() >= {"projected_peak", "measured_peak", "budget"}
    assert written["cluster"].keys() >= {"kind", "workers", "threads", "device", "dashboard"}
    assert written["quarantine"] == []
    assert written["versions"]["numpy"] == np.__version__


def test_a_failed_run_has_a_report_too(flow):
    x = np.load("x.npy")
    loaded = hpcflow.load(flow)
    np.save("x.npy", x[:10])
    with pytest.raises(hpcflow.RunError, match=r"fields\.yaml:3:11.*`x` failed in .*block \[0, 0\]"):
        hpcflow.run(loaded, cluster="synchronous")
    report = json.loads(Path("runs/fields/report.json").read_text())
    assert (report["status"], report["exit_code"]) == ("failed", 1)
    assert "x.npy" in report["error"]


@pytest.mark.parametrize("memory", ["2 potatoes", 0, -1])
def test_memory_that_is_none_is_refused(flow, memory):
    with pytest.raises(ValueError, match="expected a size"):
        hpcflow.plan(flow, memory=memory)

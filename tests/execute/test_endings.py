"""How runs and commands end: errors said once, the report of the work kept, errors as JSON."""

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import hpcflow
from hpcflow.cli import app
from hpcflow.errors import BlockError

FLOW = """flow: ends
block: [8, 8]
sources:
  x: {from: npy, path: x.npy, dims: [y, x]}
steps:
  y: {op: expr, expr: "2 * x"}
sinks:
  out: {to: npy, of: y, path: out.npy}
"""


@pytest.fixture
def flow(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("x.npy", np.arange(576.0).reshape(24, 24))
    Path("flow.yaml").write_text(FLOW)
    return "flow.yaml"


def call(*words):
    return CliRunner().invoke(app, list(words))


@pytest.mark.parametrize("cluster", ["synchronous", "threads", "local"])
def test_what_goes_wrong_alike_in_many_blocks_is_said_once(flow, cluster):
    loaded = hpcflow.load(flow)
    Path("x.npy").write_bytes(Path("x.npy").read_bytes()[:-1] + b"")
    np.save("x.npy", np.zeros((2, 2)))  # every block fails, and for one reason
    with pytest.raises(BlockError) as caught:
        hpcflow.run(loaded, cluster=cluster)
    said = str(caught.value)
    assert said.count("error:") == 1, said
    assert "`x` failed in 9 blocks of the stage `y`, the first block [0, 0] [0:8, 0:8], the last [2, 2]" in said
    report = Path("runs/ends/report.json").read_text()
    assert json.loads(report)["error"] == said
    assert Path("runs/ends/report.html").read_text().count("failed in 9 blocks") >= 1


def test_the_report_of_the_run_that_did_the_work_stays(flow):
    run_dir = Path("runs/ends")
    hpcflow.run(flow, cluster="synchronous")
    before = {one.name: one.read_bytes() for one in run_dir.iterdir() if one.suffix in (".html", ".json")}
    again = hpcflow.run(flow, cluster="synchronous")
    assert (again.tasks["executed"], again.tasks["reused"]) == (0, 9)
    after = {one.name: one.read_bytes() for one in run_dir.iterdir() if one.suffix in (".html", ".json")}
    beside = json.loads(after.pop("report-again.json"))
    assert after == before
    assert (beside["tasks"]["reused"], beside["status"]) == (9, "complete")
    hpcflow.run(flow, cluster="synchronous", fresh=True)
    assert json.loads((run_dir / "report.json").read_text())["run"] != json.loads(before["report.json"])["run"]
    assert not (run_dir / "report-again.json").exists()


@pytest.mark.parametrize(
    "words",
    [
        ["run", "flow.yaml", "-p", "a"],
        ["run", "none.yaml"],
        ["run", "flow.yaml", "--run-dir", "x.npy"],
        ["plan", "flow.yaml", "--memory", "1KiB"],
        ["plan", "wrong.yaml"],
        ["check", "flow.yaml", "-C", "nowhere"],
        ["report", "runs/none"],
        ["verify", "none.npy"],
        ["fetch", "none.csv", "--to", "there"],
        ["ops", "gausian"],
        ["view", "none.npy"],
    ],
)
def test_every_command_that_fails_prints_its_error_as_json(flow, words):
    Path("wrong.yaml").write_text(FLOW.replace("expr, expr", "expt, expr"))
    plain, result = call(*words), call(*words, "--json")
    assert result.exit_code == plain.exit_code == 2
    document = json.loads(result.stdout)
    assert document.keys() == {"error", "faults"}
    assert document["error"].keys() == {"message", "place", "hint"}
    assert document["error"]["message"] in plain.stderr
    if words[1] == "wrong.yaml":
        assert document["error"]["place"] == {"file": "wrong.yaml", "line": 6, "column": 11}
        assert document["faults"][0]["message"] == document["error"]["message"]


def test_a_run_that_fails_says_where_as_json(flow):
    Path(flow).write_text(
        FLOW.replace('{op: expr, expr: "2 * x"}', "{op: astype, of: x, dtype: uint8, casting: refuse}")
    )
    result = call("run", flow, "--cluster", "synchronous", "--json")
    assert result.exit_code == 1
    error = json.loads(result.stdout)["error"]
    assert "that uint8 cannot hold" in error["message"]
    assert error["place"]["line"] == 6

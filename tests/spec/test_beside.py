"""A flow's relative paths are looked for in the working directory, then beside the flow; messages say where."""

from pathlib import Path

import numpy as np
import pytest

import hpcflow
from hpcflow.errors import FlowError

FLOW = """flow: away
sources:
  x: {from: npy, path: data/x.npy, dims: [y, x]}
steps:
  y: {op: top_k, of: x, k: 1}
sinks:
  out: {to: csv, of: y, path: out/y.csv, labels: data/names.txt}
"""


@pytest.fixture
def away(tmp_path, monkeypatch):
    (tmp_path / "flows" / "data").mkdir(parents=True)
    (tmp_path / "here").mkdir()
    np.save(tmp_path / "flows/data/x.npy", np.eye(3))
    (tmp_path / "flows/data/names.txt").write_text("a\nb\nc\n")
    (tmp_path / "flows/flow.yaml").write_text(FLOW)
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path


def test_what_is_read_is_found_beside_the_flow_and_what_is_written_goes_here(away):
    hpcflow.run("../flows/flow.yaml", cluster="synchronous")
    assert (away / "here/out/y.csv").read_text().count("\n") == 4
    assert not (away / "flows/out").exists()
    Path("data").mkdir()
    np.save("data/x.npy", np.ones((5, 3)))  # what is here comes first
    assert hpcflow.load("../flows/flow.yaml").nodes["x"].meta.shape == (5, 3)


def test_a_path_that_leads_nowhere_names_both_places(away):
    (away / "flows/data/x.npy").unlink()
    with pytest.raises(FlowError) as caught:
        hpcflow.load("../flows/flow.yaml")
    assert f"looked in `{away / 'here'}`, and beside the flow in `{away / 'here/../flows'}`" in str(caught.value)

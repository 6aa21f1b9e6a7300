"""What outputs say of where they came from: enough to make them again, and nothing that changes by itself."""

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import zarr

import hpcflow

FLOW = """\
flow: told
params: {value: 2, key: "${env:HPCFLOW_CANARY}"}
sources:
  x: {from: npy, path: x.npy, dims: [y, x]}
steps:
  more: {op: expr, expr: "x * ${value}"}
block: [16, 16]
sinks:
  more: {to: zarr, of: more, path: more.zarr, chunks: [16, 16]}
  rows: {to: parquet, of: more, path: rows.parquet}
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HPCFLOW_CANARY", "canary-7c1")
    return fill(tmp_path / "first", monkeypatch)


def fill(folder, monkeypatch, flow=FLOW):
    folder.mkdir()
    monkeypatch.chdir(folder)
    np.save("x.npy", np.arange(64.0 * 64).reshape(64, 64))
    Path("told.yaml").write_text(flow)
    return folder


def run(**options):
    return hpcflow.run("told.yaml", cluster="threads", threads=2, memory="1GiB", **options)


def told():
    return zarr.open_array("more.zarr", mode="r").attrs["hpcflow"]


def files(folder):
    return {str(one.relative_to(folder)): one.read_bytes() for one in folder.rglob("*") if one.is_file()}


def test_an_output_says_how_it_can_be_made_again(folder, monkeypatch):
    run()
    said = told()
    assert json.loads(pq.read_schema("rows.parquet").metadata[b"hpcflow"]) == said
    assert said["inputs"]["x"]["path"] == "x.npy"
    assert len(said["inputs"]["x"]["hash"]) == 32
    assert said["versions"]["zarr"] == zarr.__version__
    assert "canary" not in json.dumps(said)
    made = files(Path("more.zarr"))
    # By what it says alone, elsewhere:
    other = folder.with_name("second")
    other.mkdir()
    shutil.copy("x.npy", other)
    monkeypatch.chdir(other)
    Path(said["file"]).write_text(said["flow"])
    hpcflow.run(said["file"], params={"value": said["params"]["value"]}, cluster="synchronous", memory="1GiB")
    assert files(Path("more.zarr")) == made
    assert Path("rows.parquet").read_bytes() == (folder / "rows.parquet").read_bytes()


def test_what_is_said_changes_no_block(folder):
    run()
    before = files(Path("more.zarr/c"))
    for args in (
        ["init", "--quiet"],
        ["add", "told.yaml"],
        ["-c", "user.name=a", "-c", "user.email=b", "commit", "-qm", "c"],
    ):
        subprocess.run(["git", *args], check=True, capture_output=True)
    head = subprocess.run(["git", "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()
    assert told()["commit"] != head
    assert run().tasks["executed"] == 0
    assert told()["commit"] == head
    assert files(Path("more.zarr/c")) == before
    assert hpcflow.verify("more.zarr").sound
    # Half of it again: what is taken up is signed anew with the rest.
    Path("told.yaml").write_text(FLOW + "# the same, with a remark\n")
    Path("more.zarr/c/0/0").write_bytes(b"torn")
    assert 0 < run().tasks["executed"] < 32
    assert told()["flow"].endswith("remark\n")
    assert hpcflow.verify("more.zarr").sound


def test_a_repair_brings_back_what_was_said(folder):
    run()
    whole = Path("more.zarr/zarr.json").read_bytes()
    Path("more.zarr/zarr.json").write_bytes(whole.replace(b"more", b"less"))
    assert not hpcflow.verify("more.zarr").sound
    assert hpcflow.verify("more.zarr", repair=True).sound
    assert Path("more.zarr/zarr.json").read_bytes() == whole

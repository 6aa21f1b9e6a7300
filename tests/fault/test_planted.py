"""What somebody else has planted in a folder that a run writes into leads it nowhere, and it leaves nothing open."""

import os
import stat

import numpy as np
import pytest

import hpcflow
from hpcflow.errors import RunError

FLOW = """
flow: edges
block: [8, 8]
sources:
  x: {from: npy, path: x.npy, dims: [y, x]}
steps:
  twice: {op: expr, expr: "2 * x"}
  total: {op: sum, of: twice}
  rows: {op: sum, of: twice, axis: x}
sinks:
  tiled: {to: zarr, of: twice, path: out/tiled.zarr, chunks: [8, 8]}
  plain: {to: npy, of: twice, path: out/plain.npy}
  total: {to: json, of: total, path: out/total.json}
  table: {to: parquet, of: rows, path: out/rows.parquet}
  lines: {to: csv, of: rows, path: out/rows.csv}
"""
OUTPUTS = ("tiled.zarr", "plain.npy", "total.json", "rows.parquet", "rows.csv")
KEPT = ("run.json", "flow.yaml", "report.json", "history.json", "report.html")


@pytest.fixture
def flow(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("x.npy", np.arange(256.0).reshape(16, 16))
    (tmp_path / "flow.yaml").write_text(FLOW)
    (tmp_path / "victim").write_text("years of work")
    for folder in ("out", "runs"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder).chmod(0o777)
    return tmp_path / "flow.yaml"


def test_links_under_every_name_that_can_be_guessed_are_not_followed(flow, tmp_path):
    victim = tmp_path / "victim"
    run_dir = tmp_path / "runs" / "edges"
    run_dir.mkdir()
    for folder, names in ((tmp_path / "out", OUTPUTS), (run_dir, KEPT)):
        for name in names:
            for planted in (f"{name}.part", f".{name}.manifest.json", f".{name}.manifest.json.part"):
                (folder / planted).symlink_to(victim)
    for name in KEPT:
        (run_dir / name).symlink_to(victim)
    report = hpcflow.run(flow, cluster="synchronous")
    assert report.status == "complete"
    assert np.array_equal(np.load("out/plain.npy"), 2 * np.load("x.npy"))
    assert victim.read_text() == "years of work"
    assert not any((run_dir / name).is_symlink() for name in KEPT)


@pytest.mark.parametrize("planted", ["out/.plain.npy.lock", "runs/.edges.lock", "runs/edges", "runs/edges/receipts"])
def test_a_link_where_a_lock_or_a_folder_of_the_run_should_be_ends_it(flow, tmp_path, planted):
    target = tmp_path / ("victim" if planted.endswith("lock") else "elsewhere")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / planted).parent.mkdir(exist_ok=True)
    (tmp_path / planted).symlink_to(target)
    with pytest.raises(RunError, match="could not write"):
        hpcflow.run(flow, cluster="synchronous")
    assert (tmp_path / "victim").read_text() == "years of work"
    assert list((tmp_path / "elsewhere").iterdir()) == []


@pytest.mark.parametrize("cluster", ["local", "synchronous"])
def test_what_a_run_keeps_is_its_owners_alone_and_outputs_are_as_the_umask_says(flow, tmp_path, monkeypatch, cluster):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    before = os.umask(0o022)
    try:
        hpcflow.run(flow, cluster=cluster)
    finally:
        os.umask(before)
    kept = [tmp_path / "runs" / "edges", tmp_path / "cache" / "hpcflow"]
    found = [one for folder in kept if folder.exists() for one in (folder, *folder.rglob("*"))]
    assert {one.name for one in found} >= {"report.json", "complete.jsonl", "run.json", "manifests"}
    assert [one for one in found if stat.S_IMODE(one.stat().st_mode) & 0o077] == []
    made = [tmp_path / "out" / name for name in OUTPUTS]
    assert {stat.S_IMODE(one.stat().st_mode) for one in made} == {0o644, 0o755}
    assert [one for one in tmp_path.rglob("*") if one.name.endswith((".partial", ".part"))] == []


def test_a_folder_that_is_for_other_things_too_keeps_its_mode(flow, tmp_path):
    tmp_path.chmod(0o755)
    hpcflow.run(flow, cluster="synchronous", run_dir=".")
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o755
    assert stat.S_IMODE((tmp_path / "run.json").stat().st_mode) == 0o600

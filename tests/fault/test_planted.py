"""What somebody else has planted in a folder that a run writes into leads it nowhere, and it leaves nothing open."""

import os
import stat
import subprocess
import sys
from contextlib import suppress

import numpy as np
import pytest

import hpcflow
from hpcflow.clusters.profiles import profile
from hpcflow.errors import FlowError, Mismatch, RunError
from hpcflow.kernels import compiling
from hpcflow.ops.gaussian import gaussian

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
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o755)
    (shared / "notes.txt").write_text("of another kind")
    hpcflow.run(flow, cluster="synchronous", run_dir=shared)
    assert stat.S_IMODE(shared.stat().st_mode) == 0o755
    assert stat.S_IMODE((shared / "run.json").stat().st_mode) == 0o600


ROOT_ONLY = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
STRANGER = 12345


@ROOT_ONLY
def test_a_manifest_of_somebody_else_is_compared_and_never_carried_out(flow, tmp_path):
    """It names a flow, a profile and a folder: a repair would start whatever those say."""
    hpcflow.run(flow, cluster="synchronous")
    output = tmp_path / "out" / "total.json"
    manifest = tmp_path / "out" / ".total.json.manifest.json"
    output.write_text("1")
    os.chown(manifest, STRANGER, STRANGER)
    assert not hpcflow.verify(output).sound
    with pytest.raises(RunError, match="manifest of your own"):
        hpcflow.verify(output, repair=True)
    assert output.read_text() == "1"

    # Nor is a copy believed that stands where a run's folder may be.
    (copy,) = (tmp_path / "runs" / "edges" / "manifests").glob("total.json-*")
    planted = tmp_path / "runs" / "a" / "manifests" / copy.name
    planted.parent.mkdir(parents=True)
    planted.write_bytes(manifest.read_bytes())
    os.chown(planted, STRANGER, STRANGER)
    manifest.unlink()
    assert hpcflow.verify(output, repair=True).sound  # by the copy that is the user's own
    assert output.read_text() != "1"


def test_a_pipe_where_a_manifest_should_be_is_not_waited_for(flow, tmp_path):
    (tmp_path / "out" / "plain.npy").write_bytes(b"x")
    os.mkfifo(tmp_path / "out" / ".plain.npy.manifest.json")
    with pytest.raises(Mismatch, match="named pipe"):
        hpcflow.verify("out/plain.npy")


@ROOT_ONLY
@pytest.mark.timeout(60)
@pytest.mark.parametrize("name", OUTPUTS)
@pytest.mark.parametrize("planted", ["{}", ".{}.unfinished.json", ".{}.manifest.json", ".{}.lock"])
def test_a_pipe_under_any_name_of_a_run_is_not_waited_for(flow, tmp_path, name, planted):
    pipe = tmp_path / "out" / planted.format(name)
    os.mkfifo(pipe)
    os.chown(pipe, STRANGER, STRANGER)
    with suppress(FlowError, RunError):
        assert hpcflow.run(flow, cluster="synchronous").status == "complete"
    if planted == "{}":
        with pytest.raises(FlowError, match="found other data"):
            hpcflow.run(flow, cluster="synchronous")
        with suppress(Mismatch, RunError):
            assert hpcflow.run(flow, cluster="synchronous", overwrite=True).status == "complete"


@ROOT_ONLY
def test_a_profile_that_somebody_else_has_put_under_a_name_is_not_started(flow, tmp_path):
    planted = tmp_path / "cluster" / "local.yaml"
    planted.parent.mkdir()
    (tmp_path / "evil.py").write_text(f"open({str(tmp_path / 'canary')!r}, 'w').close()\n")
    planted.write_text(f"kind: local\nworkers: 1\noptions: {{preload: [{tmp_path / 'evil.py'}]}}\n")
    os.chown(planted, STRANGER, STRANGER)
    with pytest.raises(FlowError, match="profile of your own"):
        hpcflow.run(flow)
    assert not (tmp_path / "canary").exists()
    assert profile("cluster/local.yaml").workers == 1  # its path says that it is meant
    os.chown(tmp_path, STRANGER, STRANGER)
    assert profile("local").workers == 1  # in a folder that is theirs, so is all that is found there


def test_the_working_folder_does_not_say_from_where_compiled_code_is_unpickled(tmp_path):
    (tmp_path / ".numba_config.yaml").write_text(f"cache_dir: {tmp_path}\n")
    script = (
        "import contextlib, sys; from hpcflow.cli import main; sys.argv = ['hpcflow', '--version']\n"
        "with contextlib.suppress(SystemExit): main()\n"
        "import numba; print(repr(numba.config.CACHE_DIR))"
    )
    environment = {name: value for name, value in os.environ.items() if name != "NUMBA_CACHE_DIR"}
    ran = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert ran.stdout.splitlines()[-1] == "''"


def test_all_that_numba_unpickles_lies_in_a_folder_that_nobody_else_can_enter(tmp_path, monkeypatch):
    """By itself Numba looks below `$XDG_CACHE_HOME/numba`, whoever has made that."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(compiling, "_loaded", {})
    gaussian(np.zeros((2, 1024, 1024), np.uint16), sigma=1, axes=(0, 1, 2), xp=np)
    kept = [*tmp_path.rglob("*.nbi"), *tmp_path.rglob("*.nbc")]
    assert len(kept) >= 2
    assert all(tmp_path / "hpcflow" / "loops" in one.parents for one in kept)
    assert stat.S_IMODE((tmp_path / "hpcflow" / "loops").stat().st_mode) == 0o700

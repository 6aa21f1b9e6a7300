"""Workers from a real Slurm of one node, by the profile and by the script for several nodes."""

import json
import os
import stat
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

import hpcflow
from hpcflow.clusters._examine import examine
from hpcflow.clusters.profiles import Profile, open_pool
from hpcflow.clusters.slurm import lifetime, parse_walltime, slurm_options
from hpcflow.errors import Mismatch, RunError
from tests.clusters.servers import CannotStart, answers, slurm_server

pytest.importorskip("dask_jobqueue")
ROOT = Path(__file__).parents[2]
FLOW = (
    "flow: smooth\nparams: {size: 3}\nblock: [16, 700]\nsources:\n  x: {from: npy, path: x.npy}\n"
    'steps:\n  y: {op: median, of: x, size: "${size}"}\nsinks:\n  y: {to: npy, of: y, path: y.npy}\n'
)


@pytest.fixture(scope="module")
def slurm(tmp_path_factory):
    try:
        with slurm_server(tmp_path_factory.mktemp("slurm")) as environment:
            yield {**environment, "PYTHONPATH": str(ROOT), "HPCFLOW_PYTHON": sys.executable}
    except CannotStart as error:
        pytest.skip(str(error))


@pytest.fixture
def folder(slurm, tmp_path, monkeypatch):
    for name, value in slurm.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    np.save("x.npy", np.random.default_rng(0).random((800, 700), dtype="float32"))
    Path("smooth.yaml").write_text(FLOW)
    return tmp_path


@pytest.mark.slurm
@pytest.mark.slow
def test_a_flow_runs_on_jobs_and_leaves_none_behind(folder):
    hpcflow.run("smooth.yaml", cluster="synchronous")
    expected = Path("y.npy").read_bytes()
    options = {"interface": "lo", "walltime": "00:05:00", "log_directory": "logs"}
    keys = {"kind": "slurm", "workers": 2, "memory": "1GiB", "dashboard": False, "options": options}
    Path("jobs.yaml").write_text(yaml.safe_dump(keys))
    report = hpcflow.run("smooth.yaml", cluster="jobs.yaml", fresh=True)
    assert (report.cluster["kind"], report.cluster["workers"]) == ("slurm", 2)
    assert Path("y.npy").read_bytes() == expected
    assert not list(folder.glob(".hpcflow-*"))
    deadline = time.monotonic() + 20
    while listed("squeue", "--noheader") and time.monotonic() < deadline:
        time.sleep(0.5)
    assert not listed("squeue", "--noheader")


@pytest.mark.slurm
@pytest.mark.slow
def test_nobody_else_gets_an_answer_or_finds_a_key(folder):
    options = {"interface": "lo", "log_directory": "logs"}
    with open_pool(Profile("slurm", 1, 1, 2**30, dashboard=False, options=options)) as pool:
        assert pool.submit("abs-0", abs, -1).result(60) == 1
        [private] = folder.glob(".hpcflow-*")
        assert stat.S_IMODE(private.stat().st_mode) == 0o700
        assert {stat.S_IMODE(path.stat().st_mode) for path in private.glob("tls_*")} == {0o600}
        assert "PRIVATE KEY" not in pool.client.cluster.job_script()
        told = pool.client.scheduler_info(n_workers=-1)
        known = {told["address"], *told["workers"], *(one["nanny"] for one in told["workers"].values())}
        assert len(known) == 3
        [worker] = told["workers"].values()
        assert not answers(worker["services"]["dashboard"])
        places = [place.removeprefix("tls://") for place in known]
        command = [sys.executable, str(ROOT / "tests/fault/stranger.py"), str(folder / "canary"), *places]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert json.loads(done.stdout) == {place: {} for place in places}
    assert not (folder / "canary").exists()
    assert not private.exists()


@pytest.mark.slurm
@pytest.mark.slow
def test_jobs_that_start_no_worker_are_named(folder):
    options = {"interface": "lo", "python": "/no/such/python"}
    Path("jobs.yaml").write_text(yaml.safe_dump({"kind": "slurm", "memory": "1GiB", "options": options}))
    with pytest.raises(RunError, match="no job came to start a worker: "):
        hpcflow.run("smooth.yaml", cluster="jobs.yaml")


@pytest.mark.slurm
@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "limit",
    [
        "signal",
        pytest.param(
            "walltime", marks=pytest.mark.skipif(os.environ.get("HPCFLOW_FAULT") != "full", reason="takes minutes")
        ),
    ],
)
def test_a_job_that_is_cut_goes_on_and_ends_with_the_same_bytes(folder, limit):
    size = "size=9" if limit == "signal" else "size=31"
    hpcflow.run("smooth.yaml", params={"size": int(size[5:])}, cluster="local")
    expected = Path("y.npy").read_bytes()
    for file in folder.rglob("receipts-*"):
        file.unlink()
    Path("y.npy").unlink()
    script = ["--nodes=1", "--cpus-per-task=2", "--output=out.txt", str(ROOT / "cluster" / "slurm-multinode.sbatch")]
    cut = ["--time=5"] if limit == "signal" else ["--time=2", "--signal=B:USR1@20"]
    run = ["smooth.yaml", "-p", size, "--memory", "500MiB", "--run-dir", "runs/cut"]
    job = listed("sbatch", "--parsable", *cut, *script, *run)[0]
    if limit == "signal":
        until(lambda: any(Path("runs/cut").rglob("*.running")))
        listed("scancel", "--batch", "--signal=USR1", job)
    until(lambda: not listed("squeue", "--noheader", "--states=all", "--format=%T", "--jobs", job) or ended(job))
    text = Path("out.txt").read_text()
    assert ended(job) == "COMPLETED", text
    assert "back into the queue" in text
    assert Path("y.npy").read_bytes() == expected
    assert not list(Path("runs").glob("slurm-*"))


def ended(job):
    state = listed("squeue", "--noheader", "--states=all", "--format=%T", "--jobs", job)
    return state[0] if state and state[0] in {"COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL"} else ""


def listed(*command):
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()


def until(there, seconds=500):
    deadline = time.monotonic() + seconds
    while not there():
        assert time.monotonic() < deadline, Path("out.txt").read_text()
        time.sleep(0.3)


@given(st.integers(0, 20), st.integers(0, 23), st.integers(0, 59), st.integers(0, 59))
def test_every_form_of_a_time_limit_is_understood(days, hours, minutes, seconds):
    whole = ((days * 24 + hours) * 60 + minutes) * 60 + seconds
    assert parse_walltime(f"{days}-{hours:02}:{minutes:02}:{seconds:02}") == whole
    assert parse_walltime(f"{days}-{hours:02}:{minutes:02}") == whole - seconds
    assert parse_walltime(f"{days}-{hours}") == whole - seconds - minutes * 60
    assert parse_walltime(f"{hours:02}:{minutes:02}:{seconds:02}") == whole - days * 86400
    assert parse_walltime(f"{minutes}:{seconds:02}") == minutes * 60 + seconds
    assert parse_walltime(str(minutes)) == minutes * 60


@given(st.integers(1, 10_000))
def test_every_worker_retires_before_the_limit(minutes):
    found = dict(zip(*[iter(lifetime(str(minutes)))] * 2, strict=True))
    life, stagger = int(found["--lifetime"][:-1]), int(found["--lifetime-stagger"][:-1])
    assert life - stagger > 0
    assert life + stagger < 60 * minutes


def test_a_time_limit_that_is_none_is_refused():
    with pytest.raises(Mismatch, match="expected `walltime` as HH:MM:SS"):
        lifetime("two hours")


def test_a_profile_becomes_what_jobqueue_takes():
    given = {"processes": 8, "queue": "gpu", "job_extra_directives": ["--gres=gpu:8"], "walltime": "01:00:00"}
    found = slurm_options(Profile("slurm", 16, 4, 2**30, "cuda", dashboard=False, options=given))
    assert (found["cores"], found["memory"], found["queue"]) == (32, f"{8 * 2**30}B", "gpu")
    assert found["worker_command"] == "dask_cuda.cli worker"
    assert found["worker_extra_args"][:3] == ["--memory-limit", "0", "--no-dashboard"]
    assert "export OMP_NUM_THREADS=1" in found["job_script_prologue"]
    with pytest.raises(Mismatch, match="a multiple of the 8 `processes` of a job, found 12 workers"):
        slurm_options(Profile("slurm", 12, 4, 2**30, options=given))


@pytest.mark.slurm
@pytest.mark.slow
def test_doctor_asks_slurm_for_the_partition(folder):
    def problems(**options):
        found = examine(Profile("slurm", 1, 1, 2**30, dashboard=False, options=options))
        return [check.problem for check in found if check.severity == "error"]

    assert problems() == problems(queue="cpu", interface="lo") == []
    assert problems(queue="gpu") == ["there is no gpu"]

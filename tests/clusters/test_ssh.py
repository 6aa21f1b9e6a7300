"""Workers over SSH: a real server on loopback, with a key of the test's own."""

import json
import os
import signal
import stat
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import yaml
from scipy import ndimage

import hpcflow
from hpcflow.clusters._examine import examine
from hpcflow.clusters.profiles import Profile, open_pool, profile
from hpcflow.clusters.ssh import ssh_options
from hpcflow.errors import Mismatch
from tests.clusters.servers import CannotStart, ssh_server

pytest.importorskip("asyncssh")
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    try:
        with ssh_server(tmp_path_factory.mktemp("sshd")) as connect:
            yield connect
    except CannotStart as error:
        pytest.skip(str(error))


def laid_out(server, shape, op, **profile):
    """Leave an array, a flow of one op over a hundred rows of it at a time, and a profile of two workers; the array."""
    x = np.random.default_rng(0).random(shape, dtype="float32")
    np.save("x.npy", x)
    Path("flow.yaml").write_text(
        f"flow: smooth\nblock: [100, {shape[1]}]\nsources:\n  x: {{from: npy, path: x.npy}}\n"
        f"steps:\n  y: {{{op}, of: x}}\nsinks:\n  y: {{to: npy, of: y, path: y.npy}}\n"
    )
    here = {name: {"host": "127.0.0.1"} for name in ("scheduler_options", "worker_options")}
    options = {"hosts": ["127.0.0.1"] * 3, "connect_options": server, **here}
    keys = {"kind": "ssh", "workers": 2, "memory": "1GiB", "options": options, **profile}
    Path("over-ssh.yaml").write_text(yaml.safe_dump(keys))
    return x


@pytest.mark.slow
def test_a_flow_runs_on_workers_over_ssh(server, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    x = laid_out(server, (300, 400), "op: uniform, size: 5", dashboard=":0")
    report = hpcflow.run("flow.yaml", cluster="over-ssh.yaml")
    assert (report.cluster["kind"], report.cluster["workers"]) == ("ssh", 2)
    np.testing.assert_allclose(np.load("y.npy"), ndimage.uniform_filter(x, 5), rtol=1e-5)
    assert report.memory["measured_worker"] > 0


@pytest.mark.slow
def test_nobody_else_gets_an_answer(server, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    laid_out(server, (300, 400), "op: uniform, size: 5", dashboard=False)
    with open_pool(profile("over-ssh.yaml")) as pool:
        assert pool.submit("abs-0", abs, -1).result(30) == 1
        [folder] = tmp_path.glob(".hpcflow-*")
        files = [path for path in folder.iterdir() if path.name.startswith("tls_")]
        assert len(files) == 7
        assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        # What any user sees of a process.
        assert not [one for one in Path("/proc").glob("[0-9]*/cmdline") if b"PRIVATE KEY" in _read(one)]
        told = pool.client.scheduler_info(n_workers=-1)
        known = {told["address"], *told["workers"], *(one["nanny"] for one in told["workers"].values())}
        assert len(known) == 5
        places = [place.removeprefix("tls://") for place in known]
        command = [sys.executable, str(ROOT / "tests/fault/stranger.py"), str(tmp_path / "canary"), *places]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert json.loads(done.stdout) == {place: {} for place in places}
    assert not (tmp_path / "canary").exists()
    assert not folder.exists()


def _read(path):
    try:
        return path.read_bytes()
    except OSError:  # it has ended
        return b""


@pytest.mark.slow
def test_a_worker_over_ssh_that_stops_is_replaced(server, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    x = laid_out(server, (1600, 1600), "op: median, size: 13", threads=1, dashboard=False)
    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(hpcflow.run, "flow.yaml", cluster="over-ssh.yaml", deadline=5)
        while not (notes := list(Path("runs").glob("smooth/receipts/*/*/*.running"))):
            assert not done.done()
            time.sleep(0.01)
        worker = int(notes[0].name.split("-")[-2])
        os.kill(worker, signal.SIGSTOP)
        report = done.result(timeout=100)
    assert report.tasks["retried"] > 0
    assert not Path(f"/proc/{worker}").exists()
    np.testing.assert_array_equal(np.load("y.npy"), ndimage.median_filter(x, 13))


def options(**profile):
    return ssh_options(Profile("ssh", profile.pop("workers", 4), 3, **profile))


def test_workers_are_shared_out_among_the_hosts():
    found = options(options={"hosts": ["a", "b", "c"], "worker_options": {"local_directory": "/scratch"}})
    assert found["hosts"] == ["a", "b", "c"]
    expected = {"nthreads": 3, "memory_limit": 0, "n_workers": 2, "local_directory": "/scratch"}
    assert found["worker_options"] == expected
    # Whoever can reach the dashboard's host by SSH can reach the dashboard, and nobody else.
    assert found["scheduler_options"] == {"dashboard": False, "dashboard_address": "127.0.0.1:8787"}
    found = options(options={"hosts": ["a", "b"]}, dashboard=":9000")
    assert found["scheduler_options"]["dashboard_address"] == "127.0.0.1:9000"


def test_gpus_have_a_worker_each():
    found = options(device="cuda", workers=16, options={"hosts": ["a", "b", "c"]})
    assert found["worker_class"] == "dask_cuda.CUDAWorker"
    assert found["worker_options"] == {"nthreads": 3, "memory_limit": 0}


@pytest.mark.parametrize("hosts", [None, [], ["a"]])
def test_hosts_are_needed(hosts):
    with pytest.raises(Mismatch, match="expected `hosts`") as caught:
        options(options={"hosts": hosts})
    assert "hosts: [node1, node1, node2]" in caught.value.hint


def test_workers_that_cannot_be_shared_out_are_refused():
    with pytest.raises(Mismatch, match="as many workers on each of 2 hosts, found 3"):
        options(workers=3, options={"hosts": ["a", "b", "c"]})


@pytest.mark.slow
def test_doctor_logs_in_and_compares_versions(server, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    given = {"hosts": ["127.0.0.1", "127.0.0.1"], "connect_options": server}
    found = list(examine(Profile("ssh", 1, 1, 2**30, options=given)))
    assert not [check for check in found if check.severity == "error"]
    assert any("answers over SSH" in check.found for check in found)
    broken = list(examine(Profile("ssh", 1, 1, 2**30, options={**given, "remote_python": "/no/such/python"})))
    assert any(check.severity == "error" and "/no/such/python" in check.hint for check in broken)

"""`hpcflow doctor`: what would go wrong on this machine, and with a profile."""

import json
import platform
import tomllib
from importlib.metadata import version
from pathlib import Path

import psutil
import pytest
from distributed import LocalCluster
from typer.testing import CliRunner

from hpcflow.cli import app
from hpcflow.clusters import _examine
from hpcflow.clusters.profiles import profile

RUNNER = CliRunner()


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def doctor(*arguments):
    """The exit code, and the checks by name."""
    done = RUNNER.invoke(app, ["doctor", "--json", *arguments])
    found = json.loads(done.stdout)
    assert (done.exit_code == 0) == found["ok"], done.output
    return found["ok"], {check["name"]: check for check in found["checks"]}


def write(text):
    Path("mine.yaml").write_text(text)
    return "--cluster", "mine.yaml"


def test_a_sound_machine_is_described():
    sound, checks = doctor()
    assert sound
    assert {"python", "versions", "cores", "memory", "disk", "open files", "loopback", "gpus"} <= checks.keys()
    lines = RUNNER.invoke(app, ["doctor"]).stdout.splitlines()
    assert any(line.startswith("ok      cores") for line in lines)


def test_what_would_end_a_run_is_wrong_and_has_a_remedy(monkeypatch):
    monkeypatch.setattr(_examine, "LEAST_MEMORY", psutil.virtual_memory().total * 2)
    monkeypatch.setattr(_examine, "LEAST_DISK", 2**80)
    sound, checks = doctor()
    assert not sound
    assert all(checks[name]["severity"] == "error" and checks[name]["hint"] for name in ("memory", "disk"))


def test_what_was_not_tested_is_said(monkeypatch):
    """A newer release is a warning; one older than pyproject.toml admits is wrong, and has a remedy."""
    assert doctor()[1]["tested"]["severity"] == "ok"
    monkeypatch.setattr(_examine, "TESTED", {**_examine.TESTED, "python": "3.10"})
    sound, checks = doctor()
    assert sound
    assert checks["tested"]["severity"] == "warning"
    assert f"python {platform.python_version()} (to 3.10)" in checks["tested"]["problem"]
    monkeypatch.setattr(_examine, "version", lambda name: {"zarr": "2.18.7"}.get(name) or version(name))
    sound, checks = doctor()
    assert not sound
    assert checks["versions"]["problem"].startswith("zarr 2.18.7 is installed")
    assert checks["versions"]["hint"].startswith("pip install 'zarr>=3")


def test_the_newest_python_that_is_tested_is_the_newest_that_is_claimed():
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
    claimed = [one.rpartition(" ")[2] for one in project["classifiers"] if " :: Python :: 3." in one]
    assert (f">={claimed[0]}", claimed[-1]) == (project["requires-python"], _examine.TESTED["python"])


def test_a_taken_port_is_no_error(monkeypatch):
    monkeypatch.setattr(_examine, "free", lambda host, port: port == 0)
    sound, checks = doctor()
    assert sound
    assert checks["dashboard"]["severity"] == "warning"


def test_every_fault_of_a_profile_is_shown():
    done = RUNNER.invoke(app, ["doctor", *write("kind: nothing\nworkers: -1\n")])
    assert done.exit_code == 1
    assert done.stdout.count("wrong   profile") == 2
    assert "mine.yaml:2:10" in done.stdout
    assert not doctor("--cluster", "nowhere")[0]


def test_workers_elsewhere_want_their_memory_said():
    sound, checks = doctor(*write("kind: slurm\n"))
    assert not sound
    assert "memory: 16GiB" in checks["memory of a worker"]["hint"]


def test_slurm_wants_its_commands_and_a_time_limit(monkeypatch):
    monkeypatch.setattr(_examine.shutil, "which", lambda command: None)
    sound, checks = doctor(*write("kind: slurm\nmemory: 1GiB\noptions: {interface: none0}\n"))
    assert not sound
    assert all("PATH" in checks[name]["problem"] for name in ("sbatch", "squeue", "scancel"))
    assert "none0" in checks["interface"]["problem"]
    assert "walltime" in doctor(*write("kind: slurm\nmemory: 1GiB\noptions: {walltime: soon}\n"))[1]["slurm"]["problem"]


def test_an_existing_scheduler_is_asked_who_its_workers_are(monkeypatch):
    with LocalCluster(n_workers=1, threads_per_worker=1, host="127.0.0.1", dashboard_address="127.0.0.1:0") as cluster:
        given = write(f"kind: existing\nmemory: 1GiB\noptions: {{address: '{cluster.scheduler_address}'}}\n")
        sound, checks = doctor(*given)
        assert sound, checks
        assert "answers, 1 workers" in checks["scheduler"]["found"]
        # A worker with another version of a package cannot be trusted with this one's pickles.
        monkeypatch.setattr(_examine, "versions", lambda: {"dask": "1.0"})
        differing = list(_examine.examine(profile("mine.yaml")))
        assert any("install dask 1.0 there" in check.hint for check in differing)


def test_a_scheduler_out_of_reach_and_certificates_that_are_not_there(monkeypatch):
    monkeypatch.setattr(_examine, "REACH", 1.0)
    sound, checks = doctor(*write("kind: existing\nmemory: 1GiB\noptions: {address: 'tcp://127.0.0.1:9'}\n"))
    assert not sound
    assert checks["scheduler"]["severity"] == "error"
    sound, checks = doctor(*write("kind: existing\nmemory: 1GiB\noptions: {address: 'tls://node7:8786'}\n"))
    assert not sound
    assert "tls_ca_file" in checks["existing"]["problem"]


def test_a_host_that_ssh_does_not_reach_is_named():
    options = "{hosts: [127.0.0.1, 127.0.0.1], connect_options: {port: 9}}"
    sound, checks = doctor(*write(f"kind: ssh\nmemory: 1GiB\noptions: {options}\n"))
    assert not sound
    assert checks["127.0.0.1"]["severity"] == "error"

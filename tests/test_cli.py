"""The commands: what they print where, and the codes they end with."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from typer.testing import CliRunner

from hpcflow import api
from hpcflow.cli import app
from hpcflow.errors import Fault, FlowError, Location, MissingPackage, RunError

ROOT = Path(__file__).parents[1]
FLOW = """\
flow: tiny
params: {plane: plane.npy, value: 1}
sources:
  plane: {from: npy, path: "${plane}", dims: [y, x]}
steps:
  more: {op: expr, expr: "plane + ${value}"}
  total: {op: sum, of: more}
sinks:
  more: {to: npy, of: more, path: out/more.npy}
  total: {to: json, of: total, path: out/total.json}
"""

TABLE = "{to: csv, of: more, path: out/more.csv}"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working directory with a flow in it."""
    monkeypatch.chdir(tmp_path)
    np.save("plane.npy", np.arange(12, dtype="float32").reshape(3, 4))
    Path("tiny.yaml").write_text(FLOW)
    return tmp_path


@pytest.fixture
def terminate():
    """`run` takes SIGTERM over; give it back."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


def call(*arguments):
    return CliRunner().invoke(app, list(arguments))


def shell(*arguments, **options):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "hpcflow", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment, check=False, **options)


@dataclass
class Fake:
    """Stands for `hpcflow.api`: keeps what it was called with."""

    error: BaseException | None = None
    code: int = 0
    calls: dict = field(default_factory=dict)

    def load(self, path, params=None, *, trust_models=()):
        self.calls["load"] = (path, params)
        return SimpleNamespace(warnings=(Fault(Location("tiny.yaml", 1, 1), "unused", severity="warning"),))

    def plan(self, flow, **options):
        self.calls["plan"] = options
        return SimpleNamespace(to_json=lambda: {"flow": "tiny"})

    def run(self, flow, **options):
        self.calls["run"] = options
        if self.error:
            raise self.error
        report = {"flow": "tiny", "status": "complete", "seconds": {"total": 1.0}, "tasks": {}, "memory": {}}
        report |= {"outputs": [], "quarantine": []}
        return SimpleNamespace(flow="tiny", exit_code=self.code, printed=("a table",), to_json=lambda: report)


@pytest.fixture
def fake(monkeypatch, terminate):
    fake = Fake()
    for name in ("load", "plan", "run"):
        monkeypatch.setattr(api, name, getattr(fake, name))
    return fake


def test_help_answers_at_once():
    # Work, not time: what else the machine does is no fault of ours.
    seconds = []
    for _ in range(5):
        begun = os.times()
        assert shell("--help").returncode == 0
        ended = os.times()
        seconds.append(ended.children_user + ended.children_system - begun.children_user - begun.children_system)
    assert min(seconds) < 0.4


def test_the_command_line_imports_nothing_heavy():
    heavy = "{'dask', 'distributed', 'numpy', 'scipy', 'zarr', 'torch', 'pydantic', 'rich', 'yaml', 'PIL', 'pyarrow'}"
    code = f"import sys, hpcflow, hpcflow.cli; print(sorted({heavy} & set(sys.modules)))"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    assert done.stdout == "[]\n"


def test_check_imports_no_scheduler_and_no_libraries_of_kernels(folder):
    heavy = "{'dask', 'distributed', 'scipy', 'zarr', 'torch', 'PIL', 'pyarrow'}"
    code = (
        "import sys; from hpcflow.spec.validate import load; load('tiny.yaml', {}, missing_ok=True);"
        f"print(sorted({heavy} & set(sys.modules)))"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    assert done.stdout == "[]\n"


def test_a_run_imports_nothing_that_it_has_not_planned_for(folder):
    # Dask's arrays bring pandas and xarray where those are installed, and pyarrow would bring pandas: 100 MiB.
    (folder / "table.yaml").write_text(FLOW.replace("{to: npy, of: more, path: out/more.npy}", TABLE))
    code = (
        "import sys, hpcflow, hpcflow.clusters.local; hpcflow.run('table.yaml', cluster='synchronous');"
        "print(sorted({'dask.array', 'pandas', 'scipy', 'xarray'} & set(sys.modules)))"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize("command", ["run", "plan", "check", "verify", "ops", "schema", "report"])
def test_every_command_has_help(command):
    result = call(command, "--help")
    assert result.exit_code == 0
    assert result.stdout.startswith("Usage: ")


def test_version():
    result = call("--version")
    assert result.exit_code == 0
    assert result.stdout[0].isdecimal() or result.stdout.startswith("unknown: ")


def test_every_option_reaches_the_run(fake):
    given = "-p plane=x.npy -p sigma=3 -p on=true --cluster threads --workers 2 --threads 3 --memory 1.5G --run-dir r"
    given += " --fresh --overwrite --max-bad 10% --dashboard :8080 --retries 5 --deadline 60 --quiet"
    result = call("run", "tiny.yaml", *given.split())
    assert result.exit_code == 0, result.stderr
    assert fake.calls["load"] == ("tiny.yaml", {"plane": "x.npy", "sigma": 3, "on": True})
    options = fake.calls["run"]
    options.pop("progress")
    assert options == {
        "cluster": "threads",
        "workers": 2,
        "threads": 3,
        "memory": 1_500_000_000,
        "run_dir": "r",
        "fresh": True,
        "overwrite": True,
        "max_bad": 0.1,
        "dashboard": ":8080",
        "retries": 5,
        "deadline": 60,
    }


def test_left_out_options_leave_the_choice_to_the_run(fake):
    assert call("run", "tiny.yaml", "--no-dashboard").exit_code == 0
    options = fake.calls["run"]
    options.pop("progress")
    nothing = dict.fromkeys(("workers", "threads", "memory", "run_dir", "deadline"))
    chosen = {"cluster": "local", "fresh": False, "overwrite": False, "max_bad": 0, "dashboard": False, "retries": 3}
    assert options == {**nothing, **chosen}


def test_results_go_to_stdout_and_all_else_to_stderr(fake):
    result = call("run", "tiny.yaml")
    assert result.stdout == "a table\n"
    assert "tiny.yaml:1:1: warning: unused" in result.stderr
    assert "tiny: complete in 1.0 s" in result.stderr
    assert "runs/tiny/report.html" in result.stderr
    result = call("run", "tiny.yaml", "--json", "--quiet")
    assert json.loads(result.stdout)["status"] == "complete"


def test_the_report_s_code_is_the_command_s(fake):
    fake.code = 3
    assert call("run", "tiny.yaml").exit_code == 3


FAULT = Fault(
    Location("tiny.yaml", 4, 9, "  plane: {from: nyp}"), "expected a source, found `nyp`", "did you mean `npy`?"
)


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (FlowError(FAULT), 2, str(FAULT) + "\n"),
        (RunError("the disk is full"), 1, "error: the disk is full\n"),
        (RunError("tiny.yaml:4:9: error: `plane` failed"), 1, "tiny.yaml:4:9: error: `plane` failed\n"),
        (
            MissingPackage("expected torch; pip install hpcflow[torch]"),
            1,
            "error: expected torch; pip install hpcflow[torch]\n",
        ),
        (
            FileNotFoundError(2, "No such file or directory", "x.npy"),
            1,
            "error: [Errno 2] No such file or directory: 'x.npy'\n",
        ),
        (KeyboardInterrupt(), 130, "interrupted; the same command goes on where it stopped\n"),
        (SystemExit(143), 143, "terminated; the same command goes on where it stopped\n"),
        (
            KeyError("surprise"),
            1,
            "error: KeyError: 'surprise'\n  hint: this is a fault in hpcflow or an add-on; see `--debug`\n",
        ),
    ],
)
def test_an_error_is_a_message_and_a_code(fake, error, code, message):
    fake.error = error
    result = call("run", "tiny.yaml")
    assert result.exit_code == code
    assert result.stdout == ""
    assert result.stderr.endswith(message)
    assert "Traceback" not in result.stderr


def test_debug_shows_the_traceback(fake):
    fake.error = RunError("the disk is full")
    result = call("run", "tiny.yaml", "--debug")
    assert result.exception is fake.error


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (["--memory", "2 pounds"], "error: --memory: expected a size such as 2GiB or 500MB, found '2 pounds'\n"),
        (
            ["--max-bad", "most"],
            "error: --max-bad: expected a number such as 5, or a share such as 10% or 0.1, found 'most'\n",
        ),
        (["-p", "sigma"], "error: -p: expected NAME=VALUE, found 'sigma'\n"),
        (["-p", "=3"], "error: -p: expected NAME=VALUE, found '=3'\n"),
        (["-C", "nowhere"], "error: -C: expected a directory, found 'nowhere': No such file or directory\n"),
    ],
)
def test_a_wrong_option_is_one_message(fake, folder, option, message):
    result = call("run", "tiny.yaml", *option)
    assert (result.exit_code, result.stdout, result.stderr) == (2, "", message)


@pytest.mark.parametrize(
    "arguments", [["run"], ["run", "a", "b"], ["run", "a", "--workers", "0"], ["rum"], ["run", "a", "--thread"]]
)
def test_a_wrong_command_line_ends_with_2(arguments):
    result = call(*arguments)
    assert result.exit_code == 2
    assert "Error: " in result.stderr
    assert "╭" not in result.stderr


def test_plan_passes_its_options_and_prints(fake, folder):
    result = call("plan", "tiny.yaml", "--memory", "1GiB", "--threads", "2", "--json")
    assert json.loads(result.stdout) == {"flow": "tiny"}
    chosen = {"cluster": "local", "threads": 2, "memory": 2**30, "overwrite": False}
    assert fake.calls["plan"] == {"workers": None, "run_dir": None, **chosen}


def test_check_reports_every_file(folder):
    Path("broken.yaml").write_text(FLOW.replace("op: sum", "op: summ").replace("to: npy", "to: nyp"))
    result = call("check", "tiny.yaml", "broken.yaml", "absent.yaml")
    assert result.exit_code == 2
    assert result.stdout == "tiny.yaml: valid\n"
    assert "broken.yaml:7:15: error: " in result.stderr
    assert "did you mean `sum`?" in result.stderr
    assert "broken.yaml:9:" in result.stderr
    assert "absent.yaml" in result.stderr


def test_check_only_warns_of_a_missing_input(folder):
    Path("plane.npy").unlink()
    result = call("check", "tiny.yaml")
    assert result.exit_code == 0
    assert "warning: " in result.stderr
    result = call("plan", "tiny.yaml")
    assert result.exit_code == 2
    assert "error: " in result.stderr


def test_check_prints_json(folder):
    Path("broken.yaml").write_text(FLOW.replace("op: sum", "op: summ"))
    result = call("check", "tiny.yaml", "broken.yaml", "--json")
    assert result.exit_code == 2
    document = json.loads(result.stdout)
    assert document["valid"] is False
    assert document["flows"] == ["tiny.yaml", "broken.yaml"]
    (fault,) = document["faults"]
    assert (fault["file"], fault["line"], fault["column"], fault["severity"]) == ("broken.yaml", 7, 15, "error")


def test_ops_lists_and_shows():
    assert "  gaussian " in call("ops").stdout
    shown = call("ops", "gaussian")
    assert "sigma" in shown.stdout
    assert {one["kind"] for one in json.loads(call("ops", "zarr", "--json").stdout)} == {"source", "sink"}
    wrong = call("ops", "gausian")
    assert wrong.exit_code == 2
    assert "did you mean `gaussian`?" in wrong.stderr


def test_schema_is_json():
    document = json.loads(call("schema").stdout)
    assert "sources" in document["properties"]


def test_a_flow_runs_in_the_directory_it_is_told_to(folder, tmp_path, monkeypatch, terminate):
    monkeypatch.chdir("/")
    result = call("run", "tiny.yaml", "-C", str(folder), "--cluster", "threads", "-p", "value=2", "--json")
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["status"] == "complete"
    assert json.loads(Path("out/total.json").read_text()) == 66 + 2 * 12
    np.testing.assert_array_equal(np.load("out/more.npy"), np.arange(12).reshape(3, 4) + 2)
    shown = call("report", "runs/tiny")
    assert shown.exit_code == 0
    assert shown.stdout.startswith("tiny: complete in ")
    assert json.loads(call("report", "runs/tiny", "--json").stdout)["flow"] == "tiny"


@pytest.mark.parametrize("content", [None, "no json", "[]", "{}"])
def test_what_is_no_report_is_refused(folder, content):
    if content is not None:
        Path("report.json").write_text(content)
    result = call("report", ".")
    assert result.exit_code == 2
    assert result.stderr.startswith("error: expected the ")


def test_a_file_in_place_of_a_run_s_folder_is_named(folder, terminate):
    Path("taken").write_text("mine")
    result = call("run", "tiny.yaml", "--cluster", "synchronous", "--run-dir", "taken")
    assert result.exit_code == 2
    assert result.stderr == "error: --run-dir: expected a folder for the run, found a file at `taken`\n"
    shown = call("report", "taken")
    assert shown.exit_code == 2
    assert shown.stderr == f"error: expected the directory of a run, found no `taken/report.json` in `{Path.cwd()}`\n"
    assert Path("taken").read_text() == "mine"


def test_a_run_in_processes_from_the_shell(folder):
    done = shell("run", "tiny.yaml", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "dashboard: http://127.0.0.1:" in done.stderr
    assert "more" in done.stderr
    assert json.loads(Path("out/total.json").read_text()) == 66 + 12
    assert "Warning" not in done.stderr
    assert "distributed" not in done.stderr


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_run_ends_soon_and_says_so(folder, number, code):
    np.save("plane.npy", np.zeros((2000, 3000), "float32"))
    Path("slow.yaml").write_text(
        "flow: slow\n"
        "sources: {plane: {from: npy, path: plane.npy}}\n"
        "steps: {slow: {op: median, of: plane, size: 25}}\n"
        "sinks: {slow: {to: npy, of: slow, path: out/slow.npy}}\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "hpcflow", "run", "slow.yaml", "--memory", "600MB"]
    # A group of its own, and the signal to all of it: as a terminal and `timeout` do.
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, env=environment, start_new_session=True
    ) as process:
        assert "dashboard" in process.stderr.readline()
        time.sleep(1)
        begun = time.perf_counter()
        os.killpg(process.pid, number)
        rest = process.communicate(timeout=60)[1]
    assert process.returncode == code, rest
    assert time.perf_counter() - begun < 10
    assert "the same command goes on where it stopped" in rest
    assert "Traceback" not in rest
    report = json.loads(Path("runs/slow/report.json").read_text())
    assert (report["status"], report["exit_code"]) == ("interrupted", code)

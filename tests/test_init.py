"""`hpcflow init`: what it prints works, and nothing is overwritten."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from hpcflow.cli import app
from hpcflow.cli.init import FILES

ROOT = Path(__file__).parents[1]


def call(*arguments):
    return CliRunner().invoke(app, ["init", *arguments])


def test_the_printed_commands_work(tmp_path):
    made = call(str(tmp_path / "my project"))
    assert made.exit_code == 0
    *listed, _, _, _ = before = made.stdout.split("\n\nNext:\n\n")[0].splitlines() + [""] * 3
    assert [Path(one).name for one in before if one] == list(FILES)
    assert len(listed) == len(FILES)
    commands = [line.strip() for line in made.stdout.split("Next:")[1].splitlines() if line.strip()]
    assert shlex.split(commands[0]) == ["cd", str(tmp_path / "my project")]
    script = "\n".join(["set -e", *commands]).replace("python ", f"{shlex.quote(sys.executable)} ")
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=100,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "share = 0.03" in done.stdout
    assert "array\t(y: 1024, x: 1024) float32" in done.stdout
    assert (tmp_path / "my project/out/bright.png").exists()
    # Its own README says the same.
    readme = (tmp_path / "my project/README.md").read_text()
    assert [line.strip() for line in readme.splitlines()[2:]] == commands[1:]


@pytest.mark.parametrize("name", FILES)
def test_nothing_is_overwritten(tmp_path, name):
    (tmp_path / name).write_text("mine")
    refused = call(str(tmp_path))
    assert refused.exit_code == 2
    assert f"`{name}`" in refused.stderr
    assert [one.name for one in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == "mine"


def test_a_folder_that_is_there_is_used(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    assert call("-C", str(tmp_path), ".").exit_code == 0
    assert {one.name for one in tmp_path.iterdir()} == {*FILES, "notes.txt"}


def test_a_file_in_the_way(tmp_path):
    (tmp_path / "file").write_text("mine")
    refused = call(str(tmp_path / "file" / "below"))
    assert refused.exit_code == 2
    assert refused.stderr.startswith("error: expected a folder or nothing")

"""What a shell offers, asked as the shell asks."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture
def offered(tmp_path):
    (tmp_path / "edges.yaml").touch()
    (tmp_path / "notes.txt").touch()
    (tmp_path / "flows").mkdir()
    (tmp_path / "flows" / "image.yaml").touch()
    (tmp_path / "cluster").mkdir()
    (tmp_path / "cluster" / "campus.yaml").touch()

    def ask(*words):
        environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "_HPCFLOW_COMPLETE": "complete_bash",
            "COMP_WORDS": " ".join(["hpcflow", *words]),
            "COMP_CWORD": str(len(words)),
        }
        command = [sys.executable, "-c", "from hpcflow.cli import app; app(prog_name='hpcflow')"]
        done = subprocess.run(
            command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
        )
        return done.stdout.split()

    return ask


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["pl"], {"plan"}),
        (["run", "e"], {"edges.yaml"}),
        (["check", "flows/"], {"flows/image.yaml"}),
        (["ops", "gaus"], {"gaussian", "gaussian_laplace"}),
        (["ops", "ome"], {"ome_zarr"}),
        (["run", "edges.yaml", "--cluster", "ca"], {"campus"}),
        (["plan", "edges.yaml", "--cluster", "loc"], {"local", "local-cuda"}),
        (["plan", "edges.yaml", "--mem"], {"--memory"}),
    ],
)
def test_words_are_completed(offered, words, expected):
    assert set(offered(*words)) == expected

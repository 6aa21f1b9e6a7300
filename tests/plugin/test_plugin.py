"""An add-on, really built and installed: its op, source and model are used, listed and described."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("hatchling")
HERE = Path(__file__).parent
FLOW = """\
flow: texture
sources:
  plane: {from: ramp, side: 50}
  photos: {from: images, path: PHOTOS, size: 64}
steps:
  texture: {op: contrast, of: plane, size: 5}
  colours: {op: infer, of: photos, model: average}
sinks:
  texture: {to: npy, of: texture, path: texture.npy}
  colours: {to: npy, of: colours, path: colours.npy}
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A folder that pip has installed the add-on into."""
    folder = tmp_path_factory.mktemp("site")
    options = ["--no-deps", "--no-build-isolation", "--no-index", "--quiet", "--disable-pip-version-check"]
    command = [sys.executable, "-m", "pip", "install", *options, "--target", str(folder), str(HERE / "example")]
    subprocess.run(command, check=True, timeout=100)
    return folder


@pytest.fixture
def hpcflow(installed, tmp_path):
    """Run a command of hpcflow where the add-on is installed."""

    def call(*arguments):
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE.parents[1]), str(installed)])}
        command = [sys.executable, "-m", "hpcflow", *arguments]
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=100, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return call


def test_an_add_on_is_used_like_what_ships(hpcflow, tmp_path):
    import numpy as np  # noqa: PLC0415

    photos = HERE.parents[1] / "data" / "photos"
    (tmp_path / "texture.yaml").write_text(FLOW.replace("PHOTOS", str(photos)))
    # On processes of their own: workers find it, too.
    hpcflow("run", "texture.yaml", "--cluster", "local", "--workers", "1", "--no-dashboard", "-q")
    texture, colours = np.load(tmp_path / "texture.npy"), np.load(tmp_path / "colours.npy")
    assert (texture[2:-2, 2:-2] == 8).all()
    assert colours.shape == (len(list(photos.glob("*.jpg"))), 3)
    assert 0 < colours.min() < colours.max() < 255


def test_an_add_on_is_listed_and_described(hpcflow):
    listed = hpcflow("ops")
    assert "contrast  " in listed
    assert "Take the greatest minus the least value" in listed
    assert "ramp  " in listed
    assert "average  " in listed
    shown = hpcflow("ops", "contrast")
    assert "(default: 3)" in shown
    assert "How wide the window is" in shown
    definitions = json.loads(hpcflow("schema"))["$defs"]
    assert "How wide the window is" in json.dumps(definitions["step.contrast"])
    assert definitions["source.ramp"]["required"] == ["from", "side"]

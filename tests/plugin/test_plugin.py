"""An add-on, really built and installed: its op, source and model are used, listed and described."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

pytest.importorskip("hatchling")
HERE = Path(__file__).parent
ROOT = HERE.parents[1]
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
def python(installed, tmp_path):
    """Run Python where the add-on is installed."""

    def call(*arguments):
        paths = [ROOT, ROOT / "docs" / "site", installed]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, paths))}
        command = [sys.executable, *arguments]
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=100, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return call


@pytest.fixture
def hpcflow(python):
    """Run a command of hpcflow there."""
    return lambda *arguments: python("-m", "hpcflow", *arguments)


def test_an_add_on_is_used_like_what_ships(hpcflow, tmp_path):
    import numpy as np  # noqa: PLC0415

    photos = ROOT / "data" / "photos"
    (tmp_path / "texture.yaml").write_text(FLOW.replace("PHOTOS", str(photos)))
    # On processes of their own: workers find it, too.
    hpcflow("run", "texture.yaml", "--cluster", "local", "--workers", "1", "--no-dashboard", "-q")
    texture, colours = np.load(tmp_path / "texture.npy"), np.load(tmp_path / "colours.npy")
    assert (texture[2:-2, 2:-2] == 8).all()
    assert colours.shape == (len(list(photos.glob("*.jpg"))), 3)
    assert 0 < colours.min() < colours.max() < 255


def test_edited_code_computes_again_and_comments_do_not(installed, tmp_path):
    import numpy as np  # noqa: PLC0415

    site = tmp_path / "site"
    shutil.copytree(installed, site)
    (tmp_path / "texture.yaml").write_text(FLOW.replace("PHOTOS", str(ROOT / "data" / "photos")))
    package = site / "hpcflow_example"
    helper = package / "scale.py"

    def tasks():
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (ROOT, site)))}
        command = [sys.executable, "-m", "hpcflow", "run", "texture.yaml", "--cluster", "synchronous", "--json", "-q"]
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=100, check=False
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)["tasks"]

    def edit(path, old, new):
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))

    everything = tasks()["executed"]
    contrast = package / "contrast.py"
    edit(contrast, "    ndimage = companion", "    # A comment.\n    ndimage = companion")
    edit(contrast, "Take the greatest", "Takes the greatest")
    assert tasks()["executed"] == 0
    edit(contrast, "    return ndimage.max", "    return FACTOR * ndimage.max")
    edit(contrast, "from hpcflow.registry", "from hpcflow_example.scale import FACTOR\nfrom hpcflow.registry")
    helper.write_text("FACTOR = 3\n")
    assert tasks()["executed"] == 1
    assert np.load(tmp_path / "texture.npy")[9, 9] != 8
    helper.write_text("FACTOR = 2  # another module of the package\n")
    assert tasks()["executed"] == 1
    edit(package / "average.py", "\nfrom hpcflow", "\nimport math\nfrom hpcflow")
    edit(package / "ramp.py", "\nfrom hpcflow", "\nimport math\nfrom hpcflow")
    assert tasks()["executed"] == everything


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


DRAW = """\
import dataclasses, pathlib
import pictures, reference
from hpcflow.spec.catalog import find

(entry,) = find("contrast")
step = pictures.draw(entry, pathlib.Path("contrast.png"))
print(reference.page(entry, step))
assert not pictures.draw(dataclasses.replace(entry, example="a: {op: contrast, of: b, mode: none}"), "none.png")
"""


def test_the_documentation_draws_what_an_add_on_does(python, tmp_path):
    page = python("-c", DRAW)
    assert "![Before and after `contrast`](contrast.png)" in page
    assert "after: {op: contrast, of: photo, size: 5}" in page
    with Image.open(tmp_path / "contrast.png") as drawn:
        before, after = (drawn.convert("L").crop((left, 16, left + 256, 272)) for left in (16, 288))
        assert before.tobytes() != after.tobytes()
        assert min(one.getextrema()[1] - one.getextrema()[0] for one in (before, after)) > 200

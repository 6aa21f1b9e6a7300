"""What a block holds of a file while it is read."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hpcflow.execute.reading import Reader, digests
from hpcflow.planning.plan import make_plan
from hpcflow.program.evaluate import StepError
from hpcflow.regions import tiles
from hpcflow.spec.validate import loads

MAPS = Path("/proc/self/smaps")


def pages(path):
    """Bytes of a mapped file that this process holds; those of code come and go with what the system needs."""
    held = re.findall(rf"{re.escape(str(path))}\n(?:.*\n){{0,8}}?Rss:\s*(\d+)", MAPS.read_text())
    return sum(map(int, held)) * 1024


@pytest.mark.skipif(not MAPS.exists(), reason="needs Linux")
@pytest.mark.parametrize(
    ("op", "block", "tile"),
    [("transpose, of: x", (256, 4096), (256, 64)), ("uniform, of: x, size: 3", (4096, 4096), (64, 4096))],
)
def test_pages_of_a_tile_are_given_back_before_the_next(op, block, tile, tmp_path):
    np.save(tmp_path / "x.npy", np.ones((4096, 4096), np.float32))
    text = f"""
    flow: pages
    sources: {{x: {{from: npy, path: {tmp_path}/x.npy}}}}
    steps: {{y: {{op: {op}}}}}
    sinks: {{y: {{to: npy, of: y, path: {tmp_path}/y.npy}}}}
    """
    plan = make_plan(loads(text), run_dir=tmp_path / "run", workers=1, threads=1, budget=2**34)
    stage = replace(plan.stages[0], block=block, tile=tile)
    region = tuple((0, n) for n in block)
    read = Reader(stage, stage.program.bounds(stage.wanted(region)), None)
    most = 0
    for part in tiles(region, tile):
        view = read("x", stage.program.bounds(stage.wanted(part)).regions["x"])
        assert view.max() == 1
        most = max(most, pages(tmp_path / "x.npy"))
        del view
    # Those of a tile (1 MiB) and those around them that Linux maps along, not of 64 MiB.
    assert most < 2**23
    assert (most > 0) == op.startswith("transpose")  # what lies together is read, not mapped


def test_a_source_that_changed_since_the_plan_is_named(tmp_path):
    """Whether its blocks need be computed again is asked of hashes: that they cannot be had is an answer."""
    np.save(tmp_path / "x.npy", np.ones((64, 64), np.float32))
    text = f"""
    flow: changed
    sources: {{x: {{from: npy, path: {tmp_path}/x.npy}}}}
    steps: {{y: {{op: clip, of: x, min: 0}}}}
    sinks: {{y: {{to: npy, of: y, path: {tmp_path}/y.npy}}}}
    """
    (stage,) = make_plan(loads(text), run_dir=tmp_path / "run", workers=1, threads=1, budget=2**34).stages
    np.save(tmp_path / "x.npy", np.ones((32, 64), np.float32))
    with pytest.raises(StepError, match="it changed since opening") as caught:
        digests(stage, stage.region(0))
    assert caught.value.node == "x"

"""Ops of a package that is installed, some of which are not what they declare."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
ODD = '''\
"""Ops that are what they declare, and ops that are not."""

import time

import numpy as np
from scipy import ndimage

from hpcflow.meta import Meta
from hpcflow.parameters import Axes
from hpcflow.registry import op, reduction


@op()
def objects(x, /):
    """Number objects."""
    return ndimage.label(x > 0)[0]


@op()
def halved(x, /, *, by: float = 2.0):
    """Halve."""
    return np.sqrt(x) / np.float32(by)


@op(depth=4)
def smoothed(x, /, *, mode: str = "reflect"):
    """Smooth."""
    return ndimage.gaussian_filter(x, 1.0, mode=mode)


@op(depth=2)
def shallow(x, /, *, mode: str = "reflect"):
    """Smooth, with too small a depth."""
    return ndimage.gaussian_filter(x, 1.0, mode=mode)


@op(whole=lambda meta: (1,))
def ranked(x, /):
    """Sort the rows."""
    return np.sort(x, axis=1)


@op(whole=lambda meta: (0,))
def misranked(x, /):
    """Sort the rows, where the columns are declared."""
    return np.sort(x, axis=1)


@op()
def stuck(x, /):
    """Take for ever, but for a sample of one element."""
    while np.size(x) > 1:
        time.sleep(0.01)
    return x


@op(depth=1)
def picky(x, /):
    """Take no sample."""
    raise OSError("not this")


def _meta(meta, *, axis):
    return Meta(tuple(n for i, n in enumerate(meta.shape) if i not in axis), meta.dtype)


@reduction(combine=lambda a, b: (np.maximum(a[0], b[0]),), finalize=lambda p: p[0], meta=_meta)
def largest(x, /, *, axis: Axes = None):
    """Find the largest."""
    return (x.max(axis=axis, keepdims=True),)


@reduction(combine=lambda a, b: (b[0],), finalize=lambda p: p[0], meta=_meta)
def last(x, /, *, axis: Axes = None):
    """Find the largest of what comes last."""
    return (x.max(axis=axis, keepdims=True),)
'''
WRONG = {"objects", "shallow", "misranked", "last"}
RIGHT = {"halved", "smoothed", "ranked", "stuck", "picky", "largest"}


@pytest.fixture
def hpcflow(tmp_path):
    """Run a command where the package is installed, over a flow of all its ops."""
    site = tmp_path / "site"
    (site / "odd-1.dist-info").mkdir(parents=True)
    (site / "odd.py").write_text(ODD)
    (site / "odd-1.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: odd\nVersion: 1\n")
    points = "".join(f"{name} = odd:{name}\n" for name in WRONG | RIGHT)
    (site / "odd-1.dist-info" / "entry_points.txt").write_text(f"[hpcflow.ops]\n{points}")
    np.save(tmp_path / "x.npy", np.ones((300, 200), np.float32))
    steps = "".join(f"  {name}: {{op: {name}, of: x}}\n" for name in sorted(WRONG | RIGHT))
    sinks = "".join(f"  {name}: {{to: npy, of: {name}, path: {name}.npy}}\n" for name in sorted(WRONG | RIGHT))
    text = f"flow: odd\nsources:\n  x: {{from: npy, path: x.npy}}\nsteps:\n{steps}sinks:\n{sinks}"
    (tmp_path / "odd.yaml").write_text(text)

    def call(*arguments):
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(site)])}
        command = [sys.executable, *arguments]
        return subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=100, check=False
        )

    return call


@pytest.mark.parametrize("command", ["check", "plan"])
def test_an_op_that_is_not_what_it_declares_is_warned_of(hpcflow, command):
    done = hpcflow("-m", "hpcflow", command, "odd.yaml")
    assert done.returncode == 0, done.stderr
    warned = [line for line in done.stderr.splitlines() if "warning" in line]
    assert {line.split("`")[1] for line in warned} == WRONG, done.stderr
    assert done.stderr.count("its `@op` must declare the `depth`, the `whole` axes or the `reach`") == len(WRONG)
    line = next(i for i, one in enumerate((Path(done.args[0]).name, *done.stderr.splitlines())) if "`objects`" in one)
    assert "objects: {op: objects, of: x}" in done.stderr.splitlines()[line]
    assert "^" in done.stderr.splitlines()[line + 1]


BUILD = """
import time, hpcflow
hpcflow.load("odd.yaml")
begun = time.perf_counter()
flow = hpcflow.load("odd.yaml")  # what is found out is kept
assert time.perf_counter() - begun < 0.5
print(len(flow.warnings))
"""


def test_a_process_tries_an_op_once(hpcflow):
    done = hpcflow("-c", BUILD)
    assert done.stdout.strip() == str(len(WRONG)), done.stderr

"""A block that finds no memory: once more, alone, and no oftener."""

import errno
from pathlib import Path

import numpy as np
import pytest

import hpcflow
from hpcflow.errors import RunError
from hpcflow.execute import block
from hpcflow.execute.faults import passes, starved
from hpcflow.program.evaluate import StepError

FLOW = """\
flow: starved
block: [16, 16]
sources: {x: {from: npy, path: x.npy}}
steps: {smooth: {op: gaussian, of: x, sigma: 1}}
sinks: {smooth: {to: npy, of: smooth, path: smooth.npy}}
"""
BLOCKS, LARGE = 16, ((16, 32), (0, 16))


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Run a flow whose block LARGE finds no memory the first times; what was run, and beside how many others."""
    monkeypatch.chdir(tmp_path)
    np.save("x.npy", np.random.default_rng(0).random((64, 64)))
    Path("flow.yaml").write_text(FLOW)
    make, now, seen = block.make, [], []

    def make_or_starve(stage, region, *others):
        now.append(region)
        seen.append((region, len(now)))
        try:
            if region == LARGE and [one for one, _ in seen].count(LARGE) <= times:
                raise StepError("smooth", "MemoryError: unable to allocate 8 GiB") from MemoryError()
            return make(stage, region, *others)
        finally:
            now.remove(region)

    monkeypatch.setattr(block, "make", make_or_starve)
    times = 0

    def call(failing, **options):
        nonlocal times
        times = failing
        try:
            return seen, hpcflow.run("flow.yaml", cluster="threads", threads=2, **options)
        except RunError as error:
            return seen, error

    return call


def test_a_block_that_fits_alone_is_made_at_the_end(run):
    seen, report = run(1)
    assert report.tasks == {"total": BLOCKS, "executed": BLOCKS, "reused": 0, "retried": 1}
    assert seen[-1] == (LARGE, 1)
    assert len(seen) == BLOCKS + 1


@pytest.mark.parametrize(("retries", "tries"), [(3, 2), (0, 1)])
def test_a_block_that_fits_nowhere_is_named_and_the_others_are_made(run, retries, tries):
    seen, error = run(9, retries=retries)
    assert len(seen) == BLOCKS - 1 + tries
    assert "unable to allocate 8 GiB" in str(error)
    assert ("(tried 2 times)" in str(error)) == (tries == 2)
    assert "block [1, 0]" in str(error)


@pytest.mark.parametrize(
    ("error", "is_starved", "is_passing"),
    [
        (MemoryError(), True, False),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), True, False),
        (OSError(errno.EIO, "Input/output error"), False, True),
        (ValueError(), False, False),
    ],
)
def test_what_passes_and_what_finds_no_memory(error, is_starved, is_passing):
    wrapped = StepError("smooth", "failed")
    wrapped.__cause__ = error
    assert (starved(wrapped), passes(wrapped)) == (is_starved, is_passing)

"""The script that makes the flows' arrays."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

SCRIPT = Path(__file__).parents[2] / "data" / "make_arrays.py"


def make(folder, size):
    subprocess.run([sys.executable, SCRIPT, "--size", str(size), "--out", folder], check=True, timeout=60)
    return np.load(folder / "plane.npy"), np.load(folder / "stack.npy")


@pytest.mark.parametrize("size", [1, 300])
def test_the_same_arrays_every_time(tmp_path, size):
    plane, stack = make(tmp_path, size)
    assert (plane.shape, plane.dtype) == ((size, size), np.float32)
    assert stack.dtype == np.uint16
    assert 0 <= plane.min() <= plane.max() <= 1
    again = make(tmp_path / "again", size)
    np.testing.assert_array_equal(again[0], plane)
    np.testing.assert_array_equal(again[1], stack)
    assert sorted(path.name for path in tmp_path.glob("*.npy*")) == ["plane.npy", "stack.npy"]


def test_they_look_like_pictures(tmp_path):
    plane, stack = make(tmp_path, 600)
    assert plane.std() > 0.1
    # Neighbours are alike, which they are not in noise.
    assert np.abs(np.diff(plane, axis=0)).mean() < plane.std() / 4
    assert stack.max() > 4 * np.median(stack)

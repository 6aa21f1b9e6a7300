"""Every row on toy data: all who can run here give the same answer."""

import json
import os
import subprocess
import sys
from contextlib import ExitStack
from types import SimpleNamespace

import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks import answers, data
from benchmarks.declare import Case
from benchmarks.measure import LONG, present, reference_first, shared_out
from benchmarks.processes import ROOT
from benchmarks.rows import ROWS


# No figure is held against anything: the machine may be busy. Whole processes are left to `start`.
@pytest.mark.parametrize("name", [name for name in ROWS if name != "start"])
@pytest.mark.filterwarnings("ignore")
def test_answers_agree(name, tmp_path, monkeypatch):
    monkeypatch.setattr(data, "FOLDER", tmp_path)
    row = ROWS[name]
    size = SimpleNamespace(**row.sizes["toy"])
    inputs = SimpleNamespace(**{name: str(path) for name, path in row.inputs(size).items()})
    found = {}
    for entry in reference_first(row):
        if entry.kind == "command" or "toy" not in entry.sizes or not all(map(present, entry.needs)):
            continue
        with ExitStack() as stack:
            case = Case(size, inputs, tmp_path / entry.name.replace("/", " "), len(os.sched_getaffinity(0)), stack)
            case.clear()
            once = entry.start(case)
            if entry.name == row.reference:
                answers.keep(once(), tmp_path / "reference.npy", row.differ)
            elif (tmp_path / "reference.npy").exists():
                allowed = row.tolerance if entry.tolerance is None else entry.tolerance
                difference = answers.difference(once(), tmp_path / "reference.npy", row.differ)
                found[entry.name] = (difference, difference <= allowed)
    assert all(agrees for _, agrees in found.values()), found


def test_the_command(tmp_path):
    """One row through the command, each entry in a process of its own."""
    words = [sys.executable, "-m", "benchmarks", "start", "--quick", "--rounds", "1"]
    done = subprocess.run(
        [*words, "--json", tmp_path / "out.json"], cwd=ROOT, check=False, capture_output=True, text=True, timeout=200
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (row,) = json.loads((tmp_path / "out.json").read_text())["rows"]
    assert row["name"] == "start"
    assert all(len(one["seconds"]) == 1 for one in row["times"])
    assert "the speed of five lines of Dask" in done.stdout


@pytest.mark.parametrize(
    ("answer", "difference"), [(2.0, 0.0), (2.2, 0.1), (float("nan"), None), ([2.0], float("inf"))]
)
def test_difference_of_numbers(tmp_path, answer, difference):
    answers.keep(2.0, tmp_path / "kept.npy", "values")
    found = answers.difference(answer, tmp_path / "kept.npy", "values")
    assert found == pytest.approx(difference) if difference is not None else not found <= 1


def test_difference_of_arrays(tmp_path, monkeypatch):
    """Slab by slab, by the largest magnitude, a corner against the corner."""
    monkeypatch.setattr(answers, "SLAB", 10)
    array = answers.np.arange(50.0).reshape(10, 5) - 40
    answers.keep(array, tmp_path / "kept.npy", "values")
    other = array.copy()
    other[7, 3] += 4
    assert answers.difference(other, tmp_path / "kept.npy", "values") == pytest.approx(0.1)
    assert answers.difference(other[:7], tmp_path / "kept.npy", "values") == 0
    assert answers.difference(other * float("nan"), tmp_path / "kept.npy", "values") != 0
    assert answers.difference(answers.np.zeros((11, 5)), tmp_path / "kept.npy", "values") == float("inf")
    assert answers.difference(other, tmp_path / "kept.npy", "labels") == 0.02


def test_difference_of_bytes(tmp_path, monkeypatch):
    """By hashes of slabs that cut through no chunk."""
    monkeypatch.setattr(answers, "SLAB", 10)
    array = zarr.create_array(tmp_path / "x.zarr", shape=(6, 40), chunks=(6, 4), dtype="u2")
    array[:] = answers.np.arange(240).reshape(6, 40)
    assert all(slab[0] == slice(None) and slab[1].start % 4 == 0 for slab in answers.slabs(array))
    answers.keep(array, tmp_path / "kept.npy", "bytes")
    assert answers.difference(array, tmp_path / "kept.npy", "bytes") == 0
    array[2, 7] += 1
    assert answers.difference(array, tmp_path / "kept.npy", "bytes") == 0.1


@settings(deadline=None)
@given(st.dictionaries(st.text(max_size=3), st.floats(0.001, 100), min_size=1), st.floats(-10, 500))
def test_rounds_are_shared_out_fairly(each, left):
    """Within the time where the fewest do; nobody gets less than one who is slower."""
    rounds = shared_out(each, 5, left)
    took = sum((n - (each[name] >= LONG)) * each[name] for name, n in rounds.items())
    fewest = sum(2 * one for one in each.values() if one < LONG)
    assert took <= max(left, fewest) + 1e-6
    ordered = [rounds[name] for name in sorted(each, key=lambda name: each[name])]
    assert ordered == sorted(ordered, reverse=True)
    assert all(1 <= n <= 5 for n in ordered)


def test_what_a_killed_run_has_left_is_removed(tmp_path):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    mine, theirs = (tmp_path / f"{data.UNFINISHED}{process}-x.npy" for process in (os.getpid(), ended.pid))
    for path in (mine, theirs, tmp_path / "x.npy"):
        path.write_bytes(b"")
    (tmp_path / f"{data.UNFINISHED}{ended.pid}-results").mkdir()
    data.clear_left(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([mine.name, "x.npy"])

"""One owner for each output."""

import subprocess
import sys
import time

import pytest

from hpcflow.errors import RunError
from hpcflow.execute.lock import owned

HOLD = """
import sys, time
from hpcflow.execute.lock import owned
with owned("first", [sys.argv[1]]):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_second_owner_is_told_of_the_first(tmp_path):
    path = tmp_path / "out" / "x.npy"
    told = r"x\.npy` is being written by process \d+ .*`first`"
    others = [tmp_path / "other", path]
    with owned("first", [path]), pytest.raises(RunError, match=told), owned("second", others):
        pass
    with owned("third", [path]):
        pass
    assert list((tmp_path / "out").iterdir()) == []


def test_where_nothing_can_be_written_it_is_said(tmp_path):
    (tmp_path / "file").touch()
    path = tmp_path / "file" / "x.npy"
    with pytest.raises(RunError, match=r"could not write beside `.*x\.npy`: "), owned("first", [path]):
        pass


def test_a_dead_owner_owns_nothing(tmp_path):
    path = tmp_path / "x.npy"
    with subprocess.Popen([sys.executable, "-c", HOLD, path], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        with pytest.raises(RunError), owned("second", [path]):
            pass
        process.kill()
    with owned("second", [path]):
        pass


def test_of_many_starts_one_wins(tmp_path):
    script = HOLD.replace("60", "3")
    runs = [
        subprocess.Popen([sys.executable, "-c", script, tmp_path / "x"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(6)
    ]
    begun = time.monotonic()
    codes = [(run.communicate()[1], run.returncode) for run in runs]
    assert time.monotonic() - begun < 30
    losers = [error for error, code in codes if code]
    assert len(losers) == len(runs) - 1
    assert all(b"is being written by" in error for error in losers)

"""What a pool leaves behind: nothing. Apart from `test_pools`, whose pools stay open over many tests.

Pools of libraries get their threads back when the last of a process's own pools closes.
"""

import atexit
import json
import os
import subprocess
import sys
import threading
import time

import numpy as np
import psutil
import pytest
from distributed import LocalCluster
from threadpoolctl import threadpool_info

from hpcflow.clusters.base import installed
from hpcflow.clusters.profiles import Profile, open_pool, profile

# The others need machines or packages of their own, and have files of their own here.
HERE = ("local", "synchronous", "threads")


def thread_counts():
    np.ones((2, 2)) @ np.ones((2, 2))
    import scipy.linalg  # noqa: F401, PLC0415

    return {library["filepath"]: library["num_threads"] for library in threadpool_info()}


@pytest.mark.parametrize("kind", HERE)
def test_nothing_is_left_after_close(kind):
    before = {p.pid for p in psutil.Process().children(recursive=True)}, len(threadpool_threads())
    counts = thread_counts()
    with open_pool(profile(kind)) as pool:
        pool.install("gone", 1)
        pool.submit("count-0", thread_counts).result(30)
        begun = time.perf_counter()
    assert time.perf_counter() - begun < 5
    with pytest.raises(KeyError):
        installed("gone")
    # Python's own helper for spawned processes stays.
    left = [p for p in psutil.Process().children(recursive=True) if "resource_tracker" not in " ".join(p.cmdline())]
    assert {p.pid for p in left} <= before[0]
    assert len(threadpool_threads()) <= before[1]
    # A library may have been loaded meanwhile.
    assert {path: count for path, count in thread_counts().items() if path in counts} == counts


class Last:
    """Says so when Python lets go of it."""

    def __init__(self, path):
        self.path = path

    def __del__(self):
        os.mkdir(self.path)  # noqa: PTH102  (pathlib may be gone by then)


def leave_two(folder):
    atexit.register(os.mkdir, f"{folder}/at exit")
    threading.kept_for_good = Last(f"{folder}/at the very end")


def test_a_worker_that_is_closed_does_not_take_its_modules_apart(tmp_path):
    with open_pool(profile("local", workers=1)) as pool:
        pool.submit("leave", leave_two, str(tmp_path)).result(30)
    assert [path.name for path in tmp_path.iterdir()] == ["at exit"]


def test_workers_that_others_use_leave_in_their_own_way(tmp_path):
    with LocalCluster(n_workers=1, threads_per_worker=2, host="127.0.0.1", dashboard_address="127.0.0.1:0") as cluster:
        where = Profile("existing", 1, 2, options={"address": cluster.scheduler_address})
        with open_pool(where) as pool:
            pool.submit("leave", leave_two, str(tmp_path)).result(30)
    assert {path.name for path in tmp_path.iterdir()} == {"at exit", "at the very end"}


COUNTED = """
import json
import {modules}
from hpcflow.clusters._limits import cap, settled
from threadpoolctl import threadpool_info

found = []
with settled(1):
    cap()
    found.append([one["num_threads"] for one in threadpool_info()])
found.append([one["num_threads"] for one in threadpool_info()])
print(json.dumps(found))
"""


@pytest.mark.parametrize("modules", ["scipy.linalg, numba", "scipy.linalg, numba, torch", "torch, cv2"])
def test_pools_that_come_with_others_are_capped_too(modules):
    environment = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    command = [sys.executable, "-c", COUNTED.format(modules=modules)]
    said = subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout
    capped, after = json.loads(said)
    assert set(capped) == {1}
    assert len(set(after)) == 1
    assert after[0] > 1 or len(os.sched_getaffinity(0)) == 1


def threadpool_threads():
    return [thread for thread in threading.enumerate() if thread.name.startswith("hpcflow")]

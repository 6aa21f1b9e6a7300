"""What every pool keeps, and what the processes of `local` keep beyond it."""

import os
import platform
import resource
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from concurrent.futures import wait
from contextlib import suppress
from pathlib import Path

import numpy as np
import psutil
import pytest
from threadpoolctl import threadpool_info

from hpcflow.clusters import _dashboard
from hpcflow.clusters.base import installed
from hpcflow.clusters.profiles import Profile, open_pool, profile
from hpcflow.errors import BadItem, Mismatch, RunError, WorkerLost

# The others need machines or packages of their own, and have files of their own here.
HERE = ("local", "synchronous", "threads")
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module", params=HERE)
def pool(request):
    workers = 2 if request.param == "local" else None
    threads = 1 if request.param == "synchronous" else 2
    with open_pool(profile(request.param, workers=workers, threads=threads)) as pool:
        yield pool


@pytest.fixture(scope="module")
def processes():
    """One worker process, for what only processes have."""
    with open_pool(Profile("local", 1, 1)) as pool:
        yield pool


def fail(error):
    raise error


def end_this_process():
    os.kill(os.getpid(), signal.SIGKILL)


def thread_counts():
    np.ones((2, 2)) @ np.ones((2, 2))
    import scipy.linalg  # noqa: F401, PLC0415

    return {library["filepath"]: library["num_threads"] for library in threadpool_info()}


def torch_threads():
    import torch  # noqa: PLC0415

    return torch.get_num_threads()


def faults_of_temporaries():
    """Pages that fifty temporaries of 2 MB fault in."""
    for _ in range(5):
        np.ones(2**18)
    before = resource.getrusage(resource.RUSAGE_THREAD).ru_minflt
    for _ in range(50):
        np.ones(2**18)
    return resource.getrusage(resource.RUSAGE_THREAD).ru_minflt - before


def test_results_come_back(pool):
    tickets = [pool.submit(f"double-{i:06}", int.__mul__, i, 2) for i in range(100)]
    assert not wait(tickets, timeout=30).not_done
    assert [ticket.result() for ticket in tickets] == [2 * i for i in range(100)]


def test_a_task_may_be_given_the_same_name_again(pool):
    assert pool.submit("again-0", abs, -1).result(30) == 1
    assert pool.submit("again-0", abs, -2).result(30) == 2


def test_an_exception_is_the_one_that_was_raised(pool):
    ticket = pool.submit("bad-0", fail, BadItem("a.jpg", "truncated"))
    with pytest.raises(BadItem, match="truncated") as caught:
        ticket.result(30)
    assert caught.value.item == "a.jpg"


def test_callbacks_are_called_with_the_ticket(pool):
    done = threading.Event()
    seen = []
    ticket = pool.submit("call-0", abs, -3)
    ticket.add_done_callback(lambda one: (seen.append(one), done.set()))
    assert done.wait(30)
    assert seen == [ticket]


def test_installed_values_are_there_in_tasks(pool):
    pool.install("answer", {"is": 42})
    tickets = [pool.submit(f"ask-{i}", installed, "answer") for i in range(8)]
    assert all(ticket.result(30) == {"is": 42} for ticket in tickets)


def test_every_task_keeps_to_its_own_thread(pool):
    pool.submit("load-0", thread_counts).result(30)
    for _ in range(3):
        counts = pool.submit("count-0", thread_counts).result(30)
        assert counts
        assert counts == dict.fromkeys(counts, 1)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="mallopt is glibc's")
def test_memory_of_temporaries_is_used_again(pool):
    # Each of them has 512 pages.
    assert pool.submit("faults-0", faults_of_temporaries).result(30) < 50 * 512 / 5


def test_info_says_what_it_is(pool):
    assert pool.info.kind in HERE
    assert (pool.info.workers, pool.info.threads) == {
        "local": (2, 2),
        "threads": (1, 2),
        "synchronous": (1, 1),
    }[pool.info.kind]
    assert (pool.info.dashboard is not None) == (pool.info.kind == "local")


def test_everything_listens_on_loopback_only(pool):
    family = [psutil.Process(), *psutil.Process().children(recursive=True)]
    open_ports = [c.laddr for one in family for c in one.net_connections("inet") if c.status == psutil.CONN_LISTEN]
    assert {address.ip for address in open_ports} <= {"127.0.0.1"}
    assert bool(open_ports) == (pool.info.kind == "local")


@pytest.mark.parametrize("kind", ["threads", "local"])
def test_a_ticket_that_waits_can_be_cancelled(kind):
    with open_pool(Profile(kind, 1, 1)) as pool:
        first = pool.submit("nap-0", time.sleep, 0.5)
        waiting = [pool.submit(f"nap-{i}", time.sleep, 60) for i in range(1, 5)]
        time.sleep(0.1)
        assert all(ticket.cancel() for ticket in waiting)
        assert first.result(30) is None
        assert pool.submit("abs-0", abs, -1).result(30) == 1


def test_torch_keeps_to_its_thread_as_well(processes):
    pytest.importorskip("torch")
    assert processes.submit("torch-0", torch_threads).result(60) == 1


def test_the_dashboard_groups_tasks_by_their_step(processes):
    wait([processes.submit(f"energy-{i:06}", abs, i) for i in range(5)], timeout=30)
    groups = processes.client.cluster.scheduler.task_groups
    assert "energy" in groups
    assert not any("0000" in str(group) for group in groups)


def test_a_worker_that_died_is_replaced_and_knows_what_was_installed(processes):
    processes.install("lasting", 7)
    before = processes.submit("pid-0", os.getpid).result(30)
    os.kill(before, signal.SIGKILL)
    with suppress(WorkerLost):  # given to the dead one, before the scheduler saw it die
        processes.submit("pid-0", os.getpid).result(30)
    assert processes.submit("lasting-0", installed, "lasting").result(30) == 7
    assert processes.submit("pid-0", os.getpid).result(30) != before
    assert set(processes.submit("count-0", thread_counts).result(30).values()) == {1}


def test_a_result_that_was_taken_is_not_kept(processes):
    for i in range(5):
        assert processes.submit(f"taken-{i}", abs, -i).result(60) == i
    deadline = time.monotonic() + 10
    held = None
    while held != 0 and time.monotonic() < deadline:
        time.sleep(0.05)
        held = sum(key.startswith("taken-") for keys in processes.client.has_what().values() for key in keys)
    assert held == 0


def test_a_task_that_kills_its_workers_is_lost(processes):
    with pytest.raises(WorkerLost, match="worker process died"):
        processes.submit("fatal-0", end_this_process).result(60)
    assert processes.submit("abs-0", abs, -1).result(60) == 1


def test_leaving_by_an_exception_waits_for_no_task():
    begun = None
    with pytest.raises(RuntimeError, match="enough"), open_pool(Profile("local", 1, 1, dashboard=False)) as pool:  # noqa: PT012
        pool.submit("nap-0", time.sleep, 60)
        time.sleep(0.3)
        begun = time.perf_counter()
        raise RuntimeError("enough")
    assert time.perf_counter() - begun < 3


def test_a_taken_port_moves_the_dashboard_unless_it_was_asked_for():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(Mismatch, match=f"127.0.0.1:{port} in use"):
            open_pool(Profile("local", 1, 1, dashboard=f"{port}")).__enter__()
    with pytest.raises(Mismatch, match="expected HOST:PORT"):
        open_pool(Profile("local", 1, 1, dashboard="somewhere")).__enter__()


def test_a_port_that_is_taken_at_the_last_moment_moves_the_dashboard(monkeypatch):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        monkeypatch.setattr(_dashboard, "PORT", taken.getsockname()[1])
        monkeypatch.setattr(_dashboard, "free", lambda *_: True)
        with open_pool(Profile("local", 1, 1)) as pool:
            assert f":{_dashboard.PORT}/" not in pool.info.dashboard


def test_two_clusters_stand_side_by_side(processes):
    with open_pool(Profile("local", 1, 1)) as second:
        assert second.info.dashboard != processes.info.dashboard
        assert second.submit("abs-0", abs, -1).result(30) == 1


def test_no_dashboard_where_none_is_wanted():
    with open_pool(Profile("local", 1, 1, dashboard=False)) as pool:
        assert pool.info.dashboard is None


def test_options_reach_dask_and_wrong_ones_are_named():
    with pytest.raises(RunError, match="nonsense"):
        open_pool(Profile("local", 1, 1, dashboard=False, options={"nonsense": 1})).__enter__()


def driver(tmp_path, body):
    """Run a script with a pool in a process group of its own."""
    script = tmp_path / "driver.py"
    script.write_text(
        "import os, sys, time\n"
        "from hpcflow.clusters.profiles import Profile, open_pool\n"
        "if __name__ == '__main__':\n" + textwrap.indent(textwrap.dedent(body), "    ")
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [sys.executable, str(script)], stdout=subprocess.PIPE, text=True, start_new_session=True, env=environment
    )


def test_ctrl_c_ends_no_worker(tmp_path):
    body = """
    with open_pool(Profile("local", 1, 1, dashboard=False)) as pool:
        pid = pool.submit("pid-0", os.getpid).result(30)
        try:
            print("ready", flush=True)
            time.sleep(30)
        except KeyboardInterrupt:
            time.sleep(0.5)
            print(pool.submit("pid-0", os.getpid).result(30) == pid, flush=True)
    """
    with driver(tmp_path, body) as process:
        assert process.stdout.readline() == "ready\n"
        os.killpg(process.pid, signal.SIGINT)
        assert process.communicate(timeout=30)[0] == "True\n"
        assert process.returncode == 0


def test_workers_end_with_a_driver_that_is_killed(tmp_path):
    body = """
    with open_pool(Profile("local", 2, 1, dashboard=False)) as pool:
        pool.submit("nap-0", time.sleep, 60)
        print("ready", flush=True)
        time.sleep(30)
    """
    with driver(tmp_path, body) as process:
        assert process.stdout.readline() == "ready\n"
        children = psutil.Process(process.pid).children(recursive=True)
        assert len(children) >= 2
        process.kill()
        process.communicate(timeout=30)
        _, alive = psutil.wait_procs(children, timeout=10)
        assert not alive

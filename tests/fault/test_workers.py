"""Workers that die, stop, wake up too late, or come upon a block that ends them."""

import os
import random
import shutil
import signal
import threading
import time

import numpy as np
import pytest
from harness import BLOCKS, FULL, rounds, times, tree

from hpcflow.execute import receipts
from hpcflow.meta import Meta
from hpcflow.registry import function

pytestmark = pytest.mark.timeout(3600 if FULL else 300)
SETTLED = 20.0


def test_a_worker_is_killed(case, clean, rng, figures):
    def once(i, chance):
        one = case(f"killed-{i}", seconds=0.08)
        process = one.start("--workers", 2, "--threads", 1)
        one.wait_for(chance.randrange(1, BLOCKS // 2), process)
        workers = one.workers()
        assert workers
        os.kill(chance.choice(workers), signal.SIGKILL)
        assert process.wait(120) == 0, one.log
        assert one.outputs() == clean.outputs()
        retried = one.report["tasks"]["retried"]
        shutil.rmtree(one.folder)
        return retried

    found = rounds(times(1, 50), rng, once)
    figures(rounds=len(found), identical=len(found), retried=sum(found))


def test_a_worker_is_stopped_and_goes_on(case, clean, rng, figures):
    def once(i, chance):
        one = case(f"stopped-{i}", seconds=0.05)
        process = one.start("--workers", 2, "--threads", 1)
        one.wait_for(chance.randrange(1, BLOCKS // 2), process)
        worker = chance.choice(one.workers())
        os.kill(worker, signal.SIGSTOP)
        time.sleep(chance.uniform(0.2, 1.5))
        os.kill(worker, signal.SIGCONT)
        assert process.wait(120) == 0, one.log
        assert one.outputs() == clean.outputs()
        shutil.rmtree(one.folder)

    found = rounds(times(1, 25), rng, once)
    figures(rounds=len(found), identical=len(found))


def test_a_worker_that_stays_stopped_is_replaced(case, clean):
    one = case(seconds=0.05)
    process = one.start("--workers", 2, "--threads", 1, "--deadline", 15)
    one.wait_for(2, process)
    os.kill(one.workers()[0], signal.SIGSTOP)
    assert process.wait(120) == 0, one.log
    assert one.outputs() == clean.outputs()
    assert one.report["tasks"]["retried"] > 0


def test_a_worker_that_stops_between_two_blocks_is_replaced(case):
    one, clean = case("stopped", side=256, seconds=0.01), case("clean", side=256, seconds=0.0)
    assert clean.run_warm() == 0
    process = one.start("--workers", 2, "--threads", 1, "--deadline", 6)
    one.wait_for(2, process)
    worker = one.workers()[0]
    os.kill(worker, signal.SIGSTOP)
    until = time.monotonic() + 20
    while worker in one.at_blocks():
        assert process.poll() is None, one.log
        assert time.monotonic() < until
        os.kill(worker, signal.SIGCONT)
        time.sleep(random.uniform(0.0, 0.01))
        os.kill(worker, signal.SIGSTOP)
    assert process.wait(60) == 0, one.log
    assert one.outputs() == clean.outputs()
    assert one.report["tasks"]["retried"] > 0


def test_a_worker_of_a_dead_run_wakes_up_too_late(case, clean, rng, figures):
    def once(i, chance):
        one = case(f"late-{i}", seconds=0.1)
        process = one.start("--workers", 1, "--threads", 2)
        one.wait_for(chance.randrange(1, BLOCKS // 2), process)
        time.sleep(chance.uniform(0, 0.1))
        worker = one.workers()[0]
        os.kill(worker, signal.SIGSTOP)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        assert one.run_warm() == 0, one.log
        before = tree(one.folder, _no_log)
        if worker not in one.processes():
            return False  # this process was kept waiting until that one had done all and was leaving
        os.kill(worker, signal.SIGCONT)
        assert one.gone(SETTLED)
        assert tree(one.folder, _no_log) == before
        assert one.outputs() == clean.outputs()
        shutil.rmtree(one.folder)
        return True

    found = rounds(times(1, 25), rng, once)
    figures(rounds=len(found), late_and_unchanged=sum(found))


def _no_log(path):
    return path.name != "log.txt"


@pytest.mark.parametrize("kind", ["npy", "zarr"])
def test_a_writer_whose_run_was_replaced_changes_nothing(kind, tmp_path, rng, figures):
    params = {"path": str(tmp_path / "out" / "a"), **({"chunks": [4, 4]} if kind == "zarr" else {})}
    target = function("sinks", kind)(**params).target(Meta((8, 8), "f8"))
    number = times(20, 200)
    for i in range(number):
        old, new = target.owned("key", f"{i}a"), target.owned("key", f"{i}b")
        old.create()
        first = rng.randrange(2) * 4
        old.write(((first, first + 4), (0, 8)), np.ones((4, 8)))
        assert new.adopt()
        if rng.random() < 0.5:
            new.reopen()
            new.write(((0, 8), (0, 8)), np.full((8, 8), 2.0))
        if rng.random() < 0.5:
            new.finish()
        before = tree(tmp_path)
        with pytest.raises(FileNotFoundError):
            old.write(((0, 4), (0, 8)), np.full((4, 8), 9.0))
        assert tree(tmp_path) == before
        new.finish()
    figures(kind=kind, late_writes=number, changed=0)


def test_a_writer_that_stopped_with_the_file_open_changes_nothing(tmp_path, monkeypatch):
    target = function("sinks", "npy")(path=str(tmp_path / "a.npy")).target(Meta((8, 8), "f8"))
    old, new = target.owned("key", "a1"), target.owned("key", "b2")
    old.create()
    stopped, go_on = threading.Event(), threading.Event()
    pwrite = os.pwrite

    def slow(*args):
        if threading.current_thread() is late:
            stopped.set()
            assert go_on.wait(20)
        return pwrite(*args)

    monkeypatch.setattr(os, "pwrite", slow)
    late = threading.Thread(target=old.write, args=(((0, 8), (0, 8)), np.full((8, 8), 9.0)))
    late.start()
    assert stopped.wait(20)
    assert new.adopt()
    new.reopen()
    new.write(((0, 8), (0, 8)), np.ones((8, 8)))
    new.finish()
    go_on.set()
    late.join(20)
    assert (np.load(tmp_path / "a.npy") == 1).all()
    assert [path.name for path in tmp_path.iterdir()] == ["a.npy"]


POISON = {
    "segfault": ((), "died 2 times"),
    "exit": ((), "died 2 times"),
    "allocate": (("--memory", "1500MiB"), r"MiB of memory"),
    "hang": (("--deadline", 8), "had not ended after"),
}


@pytest.mark.parametrize("kind", POISON)
def test_a_block_that_ends_its_worker_is_named_and_the_rest_completes(kind, case, figures):
    options, told = POISON[kind]
    one = case(kind=kind, at=7.5, seconds=0.01)
    one.plant(6, 7.5)
    begun = time.monotonic()
    assert one.run("--workers", 2, "--threads", 1, *options) == 1, one.log
    took = time.monotonic() - begun
    assert "block [1, 2] [16:32, 32:48]" in one.log
    assert "flow.yaml:" in one.log
    assert told.split("|")[0] in one.log
    assert "Traceback" not in one.log
    assert one.receipts() == set(range(BLOCKS)) - {6}
    assert one.gone(10)
    figures(kind=kind, seconds=round(took, 1), others_finished=BLOCKS - 1)


def test_a_call_that_holds_the_interpreters_lock_ends_no_worker(case, figures):
    seconds = 15 if FULL else 6
    one = case(kind="lock", at=7.5, seconds=0.01)
    one.plant(6, 7.5)
    assert one.run("--workers", 1, "--threads", 2, FAULTY_SECONDS=str(seconds)) == 0, one.log
    assert one.report["tasks"] == {"total": BLOCKS, "executed": BLOCKS, "reused": 0, "retried": 0}
    figures(held_s=seconds, restarts=0)


def test_a_disk_that_fails_for_a_while_costs_retries(case, tmp_path):
    one = case(kind="flaky", at=7.5, seconds=0)
    one.plant(6, 7.5)
    assert one.run(cluster="threads", FAULTY_FLAG=str(tmp_path / "flag")) == 0, one.log
    assert one.report["tasks"]["retried"] == 2
    assert one.report["quarantine"] == []
    again = case("again", kind="flaky", at=7.5, seconds=0)
    again.plant(6, 7.5)
    assert again.run("--retries", 1, cluster="threads", FAULTY_FLAG=str(tmp_path / "other")) == 1
    assert "tried 2 times" in again.log
    assert "Input/output error" in again.log


def test_a_block_that_fails_is_named_with_its_source_and_the_rest_completes(case):
    one = case(kind="raise", at=7.5, seconds=0)
    one.plant(6, 7.5)
    assert one.run(cluster="threads") == 1
    assert "`held` failed in block [1, 2] [16:32, 32:48]" in one.log
    assert "ZeroDivisionError" in one.log
    assert "read from `x.npy`, [12:36, 28:52]" in one.log
    assert one.receipts() == set(range(BLOCKS)) - {6}


def test_of_many_starts_of_one_flow_one_runs(case, clean, tmp_path, figures):
    starts = times(4, 20)
    gate = tmp_path / "gate"
    one = case()
    begun = time.monotonic()
    runs = [one.start("--workers", 1, FAULTY_GATE=str(gate)) for _ in range(starts)]
    while sum(run.poll() is not None for run in runs) < starts - 1:
        assert time.monotonic() < begun + 200
        time.sleep(0.1)
    took = time.monotonic() - begun
    gate.touch()
    codes = sorted(run.wait(120) for run in runs)
    assert codes == [0] + [1] * (starts - 1), one.log
    assert one.log.count("is being written by ") == starts - 1
    assert one.outputs() == clean.outputs()
    assert one.report["status"] == "complete"
    figures(starts=starts, ran=1, refused=starts - 1, seconds=round(took, 1))


def test_any_number_of_workers_gives_one_hash(case, clean, rng, figures):
    def once(i, chance):
        one = case(f"same-{i}", seconds=0)
        cluster = chance.choice(["local", "threads", "synchronous"]) if i % 2 else "local"
        options = ["--workers", chance.randint(1, 4), "--threads", chance.randint(1, 2)] if cluster == "local" else []
        assert one.run_warm(*options, cluster=cluster) == 0, one.log
        assert one.outputs() == clean.outputs()
        shutil.rmtree(one.folder)

    found = rounds(times(2, 100), rng, once)
    figures(runs=len(found), hashes=1)


def test_a_torn_append_costs_no_other_receipt(tmp_path, rng):
    whole = receipts.Receipt(1, {"a": "b"}, {})
    receipts.append(str(tmp_path), [whole])
    (journal,) = tmp_path.iterdir()
    with journal.open("ab") as file:
        file.write(receipts.Receipt(2, {"a": "c"}, {}).line()[: rng.randrange(1, 60)])
    receipts.append(str(tmp_path), [receipts.Receipt(3, {}, {})])
    assert [one.number for one in receipts.read(tmp_path)] == [1, 3]

"""SIGINT and SIGTERM at any moment: out within seconds, nothing left running, nothing lost."""

import os
import shutil
import signal
import time

import pytest
from harness import FULL, rounds, times

pytestmark = pytest.mark.timeout(3600 if FULL else 300)
CODES = {signal.SIGINT: {130, -signal.SIGINT}, signal.SIGTERM: {143, -signal.SIGTERM}}
"""As the command gives them; or as the system does, before the command has begun to listen."""
AFTER = 12.0 if not FULL else 5.0
"""Seconds to be gone in; the quick profile shares its machine with other tests."""


def test_a_signal_at_any_moment(case, clean, rng, figures):
    def once(i, chance):
        one = case(f"signal-{i}")
        number, to_group = chance.choice([signal.SIGINT, signal.SIGTERM]), chance.random() < 0.5
        process = one.start()
        time.sleep(chance.uniform(0, 1.1 * clean.report["seconds"]["total"] + 1))
        begun = time.monotonic()
        (os.killpg if to_group else os.kill)(process.pid, number)
        code = process.wait(60)
        took = time.monotonic() - begun
        about = f"round {i}: {number.name}, {'group' if to_group else 'driver'}, code {code}, {took:.1f} s\n{one.log}"
        assert took < AFTER, about
        assert one.gone(1.0), f"{one.processes()} are left, {about}"
        # Python takes SIGINT in its own way until it has come to the command's first line.
        begun_at_all = code != 1 or number is not signal.SIGINT or "hpcflow" in one.log
        assert "Traceback" not in one.log or not begun_at_all, about
        if code != 0 and begun_at_all:
            assert code in CODES[number], about
            if (one.folder / "runs/fault/report.json").exists():
                assert one.report["status"] in ("interrupted", "complete")
            if i % 5 == 0:
                finished = len(one.receipts())
                assert one.run_warm() == 0, one.log
                assert one.report["tasks"]["reused"] == finished
                assert one.outputs() == clean.outputs()
        shutil.rmtree(one.folder)
        return code, took

    found = rounds(times(5, 100), rng, once, at_once=2)
    completed = sum(code == 0 for code, _ in found)
    slowest = max(took for _, took in found)
    figures(rounds=len(found), completed_before=completed, slowest_s=round(slowest, 2), survivors=0)


@pytest.mark.parametrize("cluster", ["local", "threads", "synchronous"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_blocks_run_leaves_a_report(cluster, number, case):
    one = case(seconds=1.0)
    process = one.start(cluster=cluster)
    one.wait_for(1, process)
    os.kill(process.pid, number)
    assert process.wait(AFTER) == 128 + number
    assert one.gone(1.0)
    assert one.report["status"] == "interrupted"
    assert one.report["exit_code"] == 128 + number
    assert "the same command goes on where it stopped" in one.log
    assert "Traceback" not in one.log


def test_a_second_signal_ends_it_at_once(case):
    # A block that sleeps in the driver's own thread: the first signal waits for the watchdog.
    one = case(seconds=30)
    process = one.start(cluster="threads")
    until = time.monotonic() + 60
    while not list((one.folder / "runs").glob("*/receipts/*/*/*.running")):
        assert time.monotonic() < until, one.log
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGTERM)
    time.sleep(0.3)
    begun = time.monotonic()
    os.kill(process.pid, signal.SIGTERM)
    assert process.wait(AFTER) == 143
    assert time.monotonic() - begun < 1.0
    assert one.report["status"] == "interrupted"

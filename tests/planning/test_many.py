"""Flows of very many steps and sinks: planned in time that grows with their number, and without recursion."""

import time

import numpy as np
import pytest

import hpcflow

SECONDS = 10.0


def written(folder, steps, sinks, side=64):
    np.lib.format.open_memmap(folder / "x.npy", "w+", np.float32, (side, side))  # of holes
    lines = ["flow: many", f"sources: {{x: {{from: npy, path: {folder}/x.npy}}}}", "steps:", *steps, "sinks:", *sinks]
    (folder / "flow.yaml").write_text("\n".join(lines) + "\n")
    return folder / "flow.yaml"


def chain(folder, length, side=64):
    steps = [f"  x{i}: {{op: expr, expr: {'x' if i == 0 else f'x{i - 1}'} + 1}}" for i in range(length)]
    return written(folder, steps, [f"  out: {{to: npy, of: x{length - 1}, path: {folder}/out.npy}}"], side)


def planned(path, folder):
    flow = hpcflow.load(path)
    started = time.thread_time()
    plan = hpcflow.plan(flow, cluster="threads", memory="4GiB", run_dir=folder / "run")
    return plan, time.thread_time() - started


@pytest.mark.timeout(600)
@pytest.mark.parametrize(("side", "stages"), [(64, 1), (12000, 4)])
def test_a_thousand_sinks(tmp_path, side, stages):
    steps = [f"  y{i}: {{op: expr, expr: x + {i}}}" for i in range(1000)]
    sinks = [f"  s{i}: {{to: npy, of: y{i}, path: {tmp_path}/out/{i}.npy}}" for i in range(1000)]
    plan, seconds = planned(written(tmp_path, steps, sinks, side), tmp_path)
    assert len(plan.stages) == stages
    assert seconds < SECONDS


@pytest.mark.timeout(600)
def test_a_chain_of_two_thousand_steps(tmp_path):
    path = chain(tmp_path, 2000)
    _, seconds = planned(path, tmp_path)
    assert seconds < SECONDS
    report = hpcflow.run(path, cluster="threads", memory="4GiB", run_dir=tmp_path / "run")
    assert report.status == "complete"
    assert (np.load(tmp_path / "out.npy") == 2000).all()
    assert hpcflow.build(path)["x1999"][:2, :2].compute().tolist() == [[2000, 2000]] * 2


@pytest.mark.timeout(600)
def test_a_long_chain_of_a_large_array_is_cut_into_loops(tmp_path):
    plan, seconds = planned(chain(tmp_path, 2000, side=12000), tmp_path)
    assert seconds < SECONDS
    units = plan.stages[0].schedule.units
    assert [len(unit.steps) for unit in units] == [100] * 20

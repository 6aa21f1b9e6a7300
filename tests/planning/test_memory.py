"""The arithmetic of a task's memory, on examples small enough to do by hand."""

from dataclasses import replace

import numpy as np
import pytest

from hpcflow.planning.memory import LEAST_SLACK, SHARE, SLACK, partial_bytes, step_rows, task_memory, task_rows
from hpcflow.regions import PAGE, spanned
from hpcflow.sources.npy import npy

NPY = "{to: npy, of: y, path: OUT/y.npy}"


def stage_of(planned, text):
    (stage,) = planned(text).stages
    return stage


def test_a_chain_holds_what_later_steps_need(sparse, planned, flow):
    steps = [
        "a: {op: clip, of: x, min: 0}",
        "b: {op: clip, of: a, max: 9}",
        "c: {op: clip, of: b, max: 8}",
        "y: {op: concatenate, of: [a, c], axis: 0}",
    ]
    stage = stage_of(planned, flow(sparse((100, 10)), steps, [f"y: {NPY}"]))
    wanted = {"y": ((0, 200), (0, 10))}
    rows = step_rows(stage.program, stage.program.bounds(wanted), wanted, {"x": 4000})
    held = {row.name: (row.inputs, row.result, row.others) for row in rows}
    assert held == {"a": (4000, 4000, 0), "b": (4000, 4000, 0), "c": (4000, 4000, 4000), "y": (8000, 8000, 0)}


def test_what_is_tiled_is_gathered_in_an_array_of_the_block(sparse, planned, flow):
    stage = stage_of(planned, flow(sparse((4096, 4096)), ["y: {op: clip, of: x, min: 0}"], [f"y: {NPY}"]))
    block, tile = (1024, 4096), (64, 2048)
    rows = {row.name: row for row in task_rows(stage, block, tile)}
    assert rows["y"].others == 1024 * 4096 * 4
    assert rows["y"].result == 64 * 2048 * 4
    assert rows["write y"].total == 1024 * 4096 * 4
    most = max(row.total for row in rows.values())
    assert task_memory(stage, block, tile) == min(SLACK, LEAST_SLACK + most) + int(SHARE * most)


def test_tiles_that_follow_one_another_in_a_file_are_not_gathered(sparse, planned, flow):
    stage = stage_of(planned, flow(sparse((4096, 4096)), ["y: {op: uniform, of: x, size: 3}"], [f"y: {NPY}"]))
    rows = {row.name: row for row in task_rows(stage, (1024, 4096), (64, 4096))}
    assert rows["y"].others == 0
    assert rows["y"].inputs == rows["y"].result == 66 * 4096 * 4
    assert rows["write y"].total == 66 * 4096 * 4


def test_a_decoded_source_is_held_for_the_whole_block(sparse, planned, flow):
    text = flow(sparse((4096, 4096), chunks=(512, 512)), ["y: {op: uniform, of: x, size: 3}"], [f"y: {NPY}"])
    stage = replace(stage_of(planned, text), shared={})
    rows = {row.name: row for row in task_rows(stage, (1024, 4096), (64, 4096))}
    # The halo is a row on each side, and with it a row of chunks.
    assert rows["read x"].result == 1026 * 4096 * 4
    assert rows["read x"].scratch == int(1.65 * 10 * 512 * 512 * 4)
    assert rows["y"].inputs == 0
    assert rows["y"].others >= 1026 * 4096 * 4


@pytest.mark.parametrize(
    ("op", "params", "each"),
    [("sum", {}, 8), ("mean", {}, 8), ("std", {}, 32), ("max", {}, 4), ("histogram", {"bins": 7, "range": [0, 1]}, 56)],
)
def test_a_partial_is_as_large_as_the_op_makes_it(op, params, each, sparse, planned, flow):  # noqa: PLR0917
    given = "".join(f", {name}: {value}" for name, value in params.items())
    steps = [f"y: {{op: {op}, of: x, axis: 0{given}}}"]
    stage = planned(flow(sparse((50, 20)), steps, [f"y: {NPY}"])).stages[0]
    assert partial_bytes(stage.reduces[0], ((0, 50), (0, 20))) == 20 * each


def test_pages_of_a_mapped_region():
    strides = (4 * 100_000, 4)
    assert spanned(((0, 1), (0, 50)), strides, 4) == 200
    assert spanned(((5, 9), (0, 100_000)), strides, 4) == 4 * 400_000
    # Rows further apart than a page bring a page each.
    assert spanned(((0, 10), (0, 50)), strides, 4) == 10 * (200 + PAGE)
    # Rows that lie near one another bring what is between them.
    assert spanned(((0, 10), (0, 5)), (4000, 4), 4) == 9 * 4000 + 20
    assert spanned(((0, 0), (0, 5)), (4000, 4), 4) == 0


def test_a_copied_region_counts_twice(tmp_path):
    np.save(tmp_path / "big.npy", np.zeros((10, 10), ">f4"))
    np.save(tmp_path / "own.npy", np.zeros((10, 10), "=f4"))
    region = ((0, 10), (0, 10))
    assert npy(path=str(tmp_path / "own.npy")).resident(region) == 400
    assert npy(path=str(tmp_path / "big.npy")).resident(region) == 800

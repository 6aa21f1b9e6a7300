"""Block and tile shapes."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hpcflow.planning.blocks import LARGEST_BLOCK, TILE, cost, shaped, smallest
from hpcflow.regions import block_region, size_of, tiles, unravel
from tests.timing import cpu_within

SINK = "y: {{to: zarr, of: y, path: OUT/y.zarr, chunks: {}}}"


@settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    shape=st.lists(st.integers(1, 3000), min_size=1, max_size=3),
    chunks=st.lists(st.integers(1, 400), min_size=3, max_size=3),
    room=st.integers(20, 30),
)
def test_blocks_are_whole_chunks_and_cover_the_array_once(  # noqa: PLR0917  (fixtures)
    shape, chunks, room, sparse, planned, flow
):
    chunks = [min(c, n) for c, n in zip(chunks, shape, strict=False)]
    text = flow(sparse(shape), ["y: {op: uniform, of: x, size: 3}"], [SINK.format(chunks)])
    (stage,) = planned(text).stages
    chosen = shaped(stage, 2**room + smallest(stage).task_memory)
    assert all(b % c == 0 or b == n for b, c, n in zip(chosen.block, chunks, shape, strict=True))
    assert chosen.tasks * size_of(tuple((0, b) for b in chosen.block)) >= size_of(tuple((0, n) for n in shape))
    if chosen.tasks <= 200:
        regions = [block_region(unravel(i, chosen.grid), stage.domain, chosen.block) for i in range(chosen.tasks)]
        assert sum(map(size_of, regions)) == size_of(tuple((0, n) for n in shape))
        assert sum(size_of(tile) for tile in tiles(regions[0], chosen.tile)) == size_of(regions[0])


def test_blocks_are_neither_huge_nor_tiny(sparse, planned, flow):
    text = flow(sparse((100_000, 100_000)), ["y: {op: gaussian, of: x, sigma: 2}"], [SINK.format([1000, 1000])])
    (stage,) = planned(text).stages
    nbytes = size_of(tuple((0, b) for b in stage.block)) * 4
    assert LARGEST_BLOCK / 32 <= nbytes <= LARGEST_BLOCK
    assert size_of(tuple((0, t) for t in stage.tile)) * 4 <= 2 * TILE


def test_an_axis_that_an_op_sees_whole_is_not_cut(sparse, planned, flow):
    for axis in (0, 1):
        text = flow(
            sparse((4096, 8192)), [f"y: {{op: softmax, of: x, axis: {axis}}}"], ["y: {to: npy, of: y, path: OUT/y.npy}"]
        )
        (stage,) = planned(text, budget=2**30).stages
        assert stage.block[axis] == (4096, 8192)[axis]
        assert stage.tasks > 1


def test_less_memory_gives_smaller_blocks(sparse, planned, flow):
    text = flow(sparse((16384, 16384)), ["y: {op: uniform, of: x}"], [SINK.format([256, 256])])
    (stage,) = planned(text).stages
    large, small = (shaped(stage, room) for room in (2**30, 40 * 2**20))
    assert small.task_memory <= 40 * 2**20 < large.task_memory
    assert size_of(tuple((0, b) for b in small.block)) < size_of(tuple((0, b) for b in large.block))
    assert shaped(stage, 2**20) is None


def test_no_block_costs_less_than_the_chosen_one_by_much(sparse, planned, flow):
    text = flow(sparse((2000, 3000)), ["y: {op: uniform, of: x}"], ["y: {to: npy, of: y, path: OUT/y.npy}"])
    (stage,) = planned(text).stages
    others = [(250, 3000), (2000, 100), (100, 3000), (10, 10), (500, 500)]
    assert all(cost(stage, stage.block) <= 1.06 * cost(stage, other) for other in others)


@pytest.mark.timeout(60)
def test_a_million_blocks_are_planned_at_once(sparse, planned, flow):
    text = flow(
        sparse((1_000_000, 1024)),
        ["y: {op: uniform, of: x}", "s: {op: sum, of: y}"],
        ["s: {to: json, of: s, path: OUT/s.json}"],
        more="block: [1]",
    )
    planned(text)  # what is imported along the way is not counted
    with cpu_within(2):
        plan = planned(text)
        assert plan.tasks == 1_000_000
        assert plan.to_json()["tasks"] == 1_000_000


def test_what_must_see_all_of_its_input_is_one_block(sparse, planned, flow):
    """However large: each of several blocks would transform the whole plane for itself."""
    text = flow(sparse((8192, 8192)), ["y: {op: fft, of: x}"], ["y: {to: npy, of: y, path: OUT/y.npy}"])
    (stage,) = planned(text, budget=2**32).stages
    assert stage.block == (8192, 8192)

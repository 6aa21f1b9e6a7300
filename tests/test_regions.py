"""Rectangles: blocks and tiles cover everything exactly once, whatever the shape."""

from math import prod

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from hpcflow.regions import (
    block_region,
    clip,
    contains,
    grid,
    grow,
    hull,
    runs,
    shape_of,
    size_of,
    slices,
    tiles,
    unravel,
    whole,
)

SHAPES = st.lists(st.integers(1, 11), min_size=0, max_size=4).map(tuple)


@given(SHAPES, st.data())
def test_blocks_and_tiles_cover_an_array_exactly_once(shape, data):
    block = tuple(data.draw(st.integers(1, n + 2)) for n in shape)
    tile = tuple(data.draw(st.integers(1, b)) for b in block)
    seen = np.zeros(shape, int)
    counts = grid(shape, block)
    for number in range(prod(counts)):
        region = block_region(unravel(number, counts), shape, block)
        assert contains(whole(shape), region)
        for part in tiles(region, tile):
            assert contains(region, part)
            seen[slices(part, whole(shape))] += 1
    assert (seen == 1).all()


@given(SHAPES, st.data())
def test_numbers_count_blocks_in_c_order(shape, data):
    number = data.draw(st.integers(0, prod(shape) - 1))
    assert unravel(number, shape) == tuple(int(i) for i in np.unravel_index(number, shape))


@given(SHAPES, st.data())
def test_a_halo_holds_its_region_and_a_clip_stays_inside(shape, data):
    region = tuple(sorted((data.draw(st.integers(0, n)), data.draw(st.integers(0, n)))) for n in shape)
    region = tuple((a, b) for a, b in region)
    depth = tuple((data.draw(st.integers(0, 5)), data.draw(st.integers(0, 5))) for _ in shape)
    grown = grow(region, depth)
    assert contains(grown, region)
    assert shape_of(grown) == tuple(n + a + b for n, (a, b) in zip(shape_of(region), depth, strict=True))
    inside = clip(grown, shape)
    assert contains(whole(shape), inside)
    assert contains(hull(region, inside), region)
    assert size_of(inside) == prod(shape_of(inside))


@given(SHAPES, st.data())
def test_runs_are_a_block_in_the_order_of_its_file(shape, data):
    region = tuple(tuple(sorted((data.draw(st.integers(0, n - 1)), data.draw(st.integers(1, n))))) for n in shape)
    flat = np.arange(prod(shape))
    block = flat.reshape(shape)[slices(region, whole(shape))]
    joined = [flat[start:stop] for start, stop in runs(region, shape)]
    np.testing.assert_array_equal(np.concatenate([*joined, np.empty(0, int)]), block.ravel())

"""Bounds inference and evaluation against whole-array SciPy."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from hpcflow.kernels import lines
from hpcflow.meta import Meta
from hpcflow.program.evaluate import StepError, evaluate, read_periodic
from hpcflow.program.program import Program, Step
from hpcflow.regions import slices, tiles, whole

MODES = ["reflect", "mirror", "nearest", "constant", "wrap"]


def chain(meta, *gaussians):
    """A program of Gaussians, each of the one before."""
    steps = []
    name = "x"
    for i, (sigma, mode) in enumerate(gaussians):
        params = {"sigma": sigma, "order": 0, "mode": mode, "cval": 0.0, "truncate": 2.0, "radius": None}
        steps.append(Step(f"s{i}", "gaussian", (name,), {**params, "axes": tuple(range(meta.ndim))}, meta))
        name = f"s{i}"
    return Program({"x": meta}, tuple(steps))


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_a_chain_in_tiles_equals_the_whole_array_chain(data):
    dtype = data.draw(st.sampled_from(["f8", "u2", "i1"]))
    shape = data.draw(st.lists(st.integers(1, 17), min_size=1, max_size=3).map(tuple))
    pairs = st.tuples(st.floats(0.3, 3), st.sampled_from(MODES))
    gaussians = data.draw(st.lists(pairs, min_size=1, max_size=3))
    tile = tuple(data.draw(st.integers(1, n)) for n in shape)
    x = (100 * np.random.default_rng(0).random(shape)).astype(dtype)
    expected = x
    for sigma, mode in gaussians:
        expected = ndimage.gaussian_filter(expected, sigma, mode=mode, truncate=2.0)
    program = chain(Meta(shape, x.dtype), *gaussians)
    out = f"s{len(gaussians) - 1}"
    seen = np.zeros(shape, int)
    for region in tiles(whole(shape), tile):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(lines, "LEAST", 0)
            got = evaluate(program, {out: region}, lambda _, r: x[slices(r, whole(shape))])[out]
        seen[slices(region, whole(shape))] += 1
        np.testing.assert_array_equal(got, expected[slices(region, whole(shape))])
    assert (seen == 1).all()


@settings(deadline=None, max_examples=50)
@given(st.data())
def test_a_region_beyond_the_ends_is_read_modulo_the_extent(data):
    shape = data.draw(st.lists(st.integers(1, 6), min_size=1, max_size=3).map(tuple))
    region = tuple((a, a + data.draw(st.integers(1, 15))) for a in (data.draw(st.integers(-9, 9)) for _ in shape))
    x = np.arange(np.prod(shape)).reshape(shape)
    got = read_periodic(lambda r: x[slices(r, whole(shape))], region, shape)
    np.testing.assert_array_equal(
        got, x[np.ix_(*(np.arange(a, b) % n for (a, b), n in zip(region, shape, strict=True)))]
    )


def test_only_the_halo_is_read():
    meta = Meta((100, 100), "f8")
    bounds = chain(meta, (1.0, "reflect"), (1.0, "reflect")).bounds({"s1": ((40, 50), (0, 10))})
    assert bounds.regions == {"s1": ((38, 52), (0, 12)), "s0": ((36, 54), (0, 14)), "x": ((36, 54), (0, 14))}


def test_a_failing_op_is_named():
    meta = Meta((4,), "U3")
    with pytest.raises(StepError) as caught:
        evaluate(chain(meta, (1.0, "reflect")), {"s0": ((0, 4),)}, lambda _, r: np.full(4, "abc"))
    assert caught.value.node == "s0"

"""Elements elsewhere, however the result is cut, against NumPy's whole-array calls."""

import numpy as np
import pytest
from cutting import blocks_of, build, in_blocks, metas_of, run
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from hpcflow.errors import Mismatch

SHAPES = st.lists(st.sampled_from([1, 2, 3, 5, 8]), min_size=1, max_size=4).map(tuple)
DTYPES = st.sampled_from(["?", "u1", "i4", ">i2", "f4", "f8", "c8"])


@st.composite
def arrays(draw, min_ndim=1):
    shape = draw(SHAPES.filter(lambda one: len(one) >= min_ndim))
    return np.random.default_rng(draw(st.integers(0, 99))).integers(0, 100, shape).astype(draw(DTYPES))


def axes_of(draw, ndim):
    return sorted(draw(st.sets(st.integers(0, ndim - 1), min_size=1)))


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_flip(data):
    x = data.draw(arrays())
    axes = axes_of(data.draw, x.ndim)
    np.testing.assert_array_equal(run(data.draw, "flip", [x], axis=axes), np.flip(x, axes), strict=True)


@settings(deadline=None, max_examples=100)
@given(st.data())
def test_roll(data):
    x = data.draw(arrays())
    axes = axes_of(data.draw, x.ndim)
    shift = [data.draw(st.integers(-20, 20)) for _ in axes]
    got = run(data.draw, "roll", [x], shift=shift, axis=axes)
    np.testing.assert_array_equal(got, np.roll(x, shift, axes), strict=True)


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_rot90(data):
    x = data.draw(arrays(2))
    axes = data.draw(st.permutations(range(x.ndim)))[:2]
    k = data.draw(st.integers(-5, 5))
    np.testing.assert_array_equal(run(data.draw, "rot90", [x], k=k, axes=axes), np.rot90(x, k, axes), strict=True)


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_axes_come_and_go(data):
    x = data.draw(arrays())
    at = data.draw(st.integers(-x.ndim - 1, x.ndim))
    np.testing.assert_array_equal(run(data.draw, "expand_dims", [x], axis=at), np.expand_dims(x, at), strict=True)
    np.testing.assert_array_equal(run(data.draw, "squeeze", [x]), np.squeeze(x), strict=True)


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_repetitions(data):
    x = data.draw(arrays())
    axis, times = data.draw(st.integers(0, x.ndim - 1)), data.draw(st.integers(1, 4))
    got = run(data.draw, "repeat", [x], repeats=times, axis=axis)
    np.testing.assert_array_equal(got, np.repeat(x, times, axis), strict=True)
    reps = [data.draw(st.integers(1, 3)) for _ in x.shape]
    got = run(data.draw, "tile", [x], reps=dict(enumerate(reps)))
    np.testing.assert_array_equal(got, np.tile(x, reps), strict=True)
    shape = [data.draw(st.integers(1, 4)), *(data.draw(st.integers(1, 4)) if n == 1 else n for n in x.shape)]
    got = run(data.draw, "broadcast", [x], shape=shape)
    np.testing.assert_array_equal(got, np.broadcast_to(x, shape), strict=True)


@pytest.mark.parametrize("mode", ["constant", "edge", "reflect", "symmetric", "wrap"])
@settings(deadline=None, max_examples=80)
@given(data=st.data())
def test_pad(mode, data):
    x = data.draw(arrays())
    width = [[data.draw(st.integers(0, 12)) for _ in range(2)] for _ in x.shape]
    value = {"constant_values": data.draw(st.integers(0, 1))} if mode == "constant" else {}
    got = run(data.draw, "pad", [x], pad_width=dict(enumerate(width)), mode=mode, **value)
    np.testing.assert_array_equal(got, np.pad(x, width, mode=mode, **value), strict=True)


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_a_chain_that_goes_around_the_ends(data):
    x = data.draw(arrays(2)).real.astype("f8")
    steps = [
        ("a", "roll", ["x"], {"shift": 3, "axis": [0, 1]}),
        ("b", "uniform", ["a"], {"size": 3, "mode": "wrap"}),
        ("c", "pad", ["b"], {"pad_width": 2, "mode": "wrap"}),
        ("d", "flip", ["c"], {"axis": 1}),
    ]
    program = build(metas_of({"x": x}), *steps)
    got = in_blocks(program, {"x": x}, "d", blocks_of(data.draw, program.metas["d"].shape))
    filtered = ndimage.uniform_filter(np.roll(x, [3, 3], [0, 1]), 3, mode="wrap", axes=range(x.ndim))
    np.testing.assert_allclose(got, np.flip(np.pad(filtered, 2, mode="wrap"), 1), atol=1e-12)


@pytest.mark.parametrize(
    ("use", "given", "message"),
    [
        ("roll", {"shift": [1], "axis": [0, 1]}, "expected one `shift` for each of 2 axes, found 1"),
        ("rot90", {"axes": [0]}, "expected two axes"),
        ("squeeze", {"axis": [0]}, "expected axis `0` to have length 1, found 4"),
        ("expand_dims", {"axis": 5}, "expected a place from -3 to 2"),
        ("broadcast", {"shape": [4, 6]}, "expected a shape that"),
        ("pad", {"pad_width": 1, "constant_values": 300}, "expected a constant that uint8 can hold, found 300"),
        ("pad", {"pad_width": [1, 2, 3]}, "expected how many elements come before and behind, found 3 numbers"),
    ],
)
def test_what_does_not_fit_is_refused(use, given, message):
    with pytest.raises(Mismatch, match=message):
        build(metas_of({"x": np.zeros((4, 5), np.uint8)}), ("out", use, ["x"], given))

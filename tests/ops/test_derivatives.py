"""Differences and slopes, however the result is cut, against SciPy's and NumPy's whole-array calls."""

import numpy as np
import pytest
from cutting import MODES, build, metas_of, run
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from hpcflow.errors import Mismatch

SHAPES = st.lists(st.sampled_from([1, 2, 3, 5, 8, 13]), min_size=1, max_size=3).map(tuple)


@st.composite
def arrays(draw, dtypes):
    shape = draw(SHAPES)
    x = np.random.default_rng(draw(st.integers(0, 99))).normal(50, 20, shape)
    return x.astype(draw(st.sampled_from(dtypes)))


@settings(deadline=None, max_examples=100)
@given(st.data())
def test_prewitt(data):
    x = data.draw(arrays(["u1", "i2", "f4", "f8", ">f4"]))
    how = {
        "axis": data.draw(st.integers(0, x.ndim - 1)),
        "mode": [data.draw(st.sampled_from(MODES)) for _ in x.shape],
        "cval": 3.0,
    }
    np.testing.assert_array_equal(run(data.draw, "prewitt", [x], **how), ndimage.prewitt(x, **how))


@pytest.mark.parametrize(
    ("name", "function"),
    [
        ("gaussian_laplace", ndimage.gaussian_laplace),
        ("gradient_magnitude", ndimage.gaussian_gradient_magnitude),
    ],
)
@settings(deadline=None, max_examples=80)
@given(data=st.data())
def test_of_smoothed_arrays(name, function, data):
    x = data.draw(arrays(["i2", "f4", "f8", ">f4"]))
    how = {
        "sigma": [data.draw(st.sampled_from([0.3, 0.8, 1.5])) for _ in x.shape],
        "mode": data.draw(st.sampled_from(MODES)),
        "truncate": data.draw(st.sampled_from([2.0, 4.0])),
    }
    got = run(data.draw, name, [x], **how)
    np.testing.assert_array_equal(got, function(x, **how))


@settings(deadline=None, max_examples=100)
@given(st.data())
def test_diff(data):
    x = data.draw(arrays(["?", "u1", "i4", "f4", "f8", "c8"]))
    axis = data.draw(st.integers(-x.ndim, x.ndim - 1))
    n = data.draw(st.integers(1, x.shape[axis]))
    if n == x.shape[axis]:
        return
    np.testing.assert_array_equal(run(data.draw, "diff", [x], n=n, axis=axis), np.diff(x, n, axis), strict=True)


@settings(deadline=None, max_examples=100)
@given(st.data())
def test_gradient(data):
    x = data.draw(arrays(["u1", "i4", "f4", "f8", "c8", ">f4"]))
    axis, order = data.draw(st.integers(0, x.ndim - 1)), data.draw(st.sampled_from([1, 2]))
    how = {"axis": axis, "edge_order": order}
    if x.shape[axis] <= order:
        with pytest.raises(Mismatch, match="expected at least"):
            build(metas_of({"x": x}), ("out", "gradient", ["x"], how))
        return
    got = run(data.draw, "gradient", [x], spacing=0.5, **how)
    expected = np.gradient(x, 0.5, **how)
    np.testing.assert_array_equal(got, expected)
    assert got.dtype == expected.dtype.newbyteorder("=")

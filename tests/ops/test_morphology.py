"""Erosion, dilation and their kin, however the result is cut, against SciPy's whole-array calls."""

import numpy as np
import pytest
from cutting import MODES, build, metas_of, run
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from hpcflow.errors import Mismatch
from hpcflow.ops._kernels import SHAPES, shaped

GREY = ["erosion", "dilation", "opening", "closing"]
OTHERS = ["white_tophat", "black_tophat", "morphological_gradient"]
DTYPES = ["u1", "i2", "i4", "f4", "f8", ">f4"]


@st.composite
def images(draw, dtypes):
    shape = tuple(draw(st.lists(st.sampled_from([1, 2, 3, 5, 7, 13]), min_size=1, max_size=3)))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    dtype = np.dtype(draw(st.sampled_from(dtypes)))
    return rng.random(shape) < 0.6 if dtype.kind == "b" else rng.integers(0, 100, shape).astype(dtype)


@st.composite
def windows(draw, ndim, *, none=False):
    """What a flow gives, and what SciPy is given."""
    named = [name for name, axes in SHAPES.items() if axes == ndim]
    ways = ["list", *["none"] * none, *["named"] * bool(named), "size"]
    way = draw(st.sampled_from(ways))
    if way == "none":
        return {}, {}
    if way == "named":
        name, length = draw(st.sampled_from(named)), draw(st.integers(1, 3))
        return {"footprint": {name: length}}, {"footprint": shaped(name, length)}
    sizes = draw(st.lists(st.integers(1, 4), min_size=ndim, max_size=ndim))
    if way == "size":
        return {"size": sizes}, {"size": tuple(sizes)}
    mask = np.random.default_rng(draw(st.integers(0, 99))).random(sizes) < 0.6
    mask.flat[draw(st.integers(0, mask.size - 1))] = True
    return {"footprint": mask.astype(int).tolist()}, {"footprint": mask}


@pytest.mark.parametrize("name", [*GREY, *OTHERS])
@settings(deadline=None, max_examples=100)
@given(data=st.data())
def test_numbers(name, data):
    x = data.draw(images(DTYPES))
    ours, theirs = data.draw(windows(x.ndim))
    how = {"mode": data.draw(st.sampled_from(MODES)), "cval": data.draw(st.sampled_from([0.0, 7.0]))}
    got = run(data.draw, name, [x], **ours, **how)
    function = getattr(ndimage, name if name in OTHERS else f"grey_{name}")
    np.testing.assert_array_equal(got, function(x, **theirs, **how))


@pytest.mark.parametrize("name", GREY)
@settings(deadline=None, max_examples=100)
@given(data=st.data())
def test_booleans(name, data):
    x = data.draw(images(["?"]))
    ours, theirs = data.draw(windows(x.ndim, none=True))
    structure = theirs.get("footprint", np.ones(theirs["size"], bool) if "size" in theirs else None)
    border, times = data.draw(st.booleans()), data.draw(st.integers(1, 3))
    got = run(data.draw, name, [x], **ours, border_value=border, iterations=times)
    expected = x
    # One call for each time: SciPy's `iterations` are wrong where a window is longer than the array.
    for step in {"opening": ["erosion", "dilation"], "closing": ["dilation", "erosion"]}.get(name, [name]):
        for _ in range(times):
            expected = getattr(ndimage, f"binary_{step}")(expected, structure, border_value=border)
    np.testing.assert_array_equal(got, expected, strict=True)
    if times == 1:
        np.testing.assert_array_equal(got, getattr(ndimage, f"binary_{name}")(x, structure, border_value=border))


@pytest.mark.parametrize("name", ["white_tophat", "black_tophat"])
@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_hats_of_booleans(name, data):
    x = data.draw(images(["?"]))
    ours, theirs = data.draw(windows(x.ndim))
    mode = data.draw(st.sampled_from(MODES))
    np.testing.assert_array_equal(
        run(data.draw, name, [x], mode=mode, **ours), getattr(ndimage, name)(x, mode=mode, **theirs), strict=True
    )


@pytest.mark.parametrize(
    ("use", "dtype", "given", "message"),
    [
        ("erosion", "u1", {"footprint": {"disk": 1}, "iterations": 2}, "expected `iterations` for booleans alone"),
        ("erosion", "u1", {}, "expected `size` or `footprint`, found neither"),
        ("erosion", "?", {"footprint": {"ball": 1}}, "nested 2 deep, once for each axis, found 3"),
        ("opening", "?", {"footprint": {"disk": 1}, "size": 3}, "found both"),
        ("morphological_gradient", "?", {"size": 3}, "expected numbers"),
    ],
)
def test_what_does_not_fit_is_refused(use, dtype, given, message):
    with pytest.raises(Mismatch, match=message):
        build(metas_of({"x": np.zeros((4, 5), dtype)}), ("out", use, ["x"], given))

"""Every filter, however its output is cut, against the whole-array SciPy call."""

import numpy as np
import pytest
from cutting import MODES, blocks_of, build, in_blocks, meta_of, metas_of, run
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from hpcflow.errors import Mismatch
from hpcflow.meta import Meta
from hpcflow.ops.uniform import DIRECT
from hpcflow.registry import get_op

INTEGERS = ["u1", "i1", "u2", "i2", "i4", "u4", "i8", "u8", ">i2"]
FLOATS = ["f4", "f8", ">f4"]
COMPLEX = ["c8", "c16"]
SHAPES = st.integers(1, 4).flatmap(
    lambda ndim: st.lists(st.sampled_from([1, 2, 3, 5, 7, 8, 11, 13][: 10 - 2 * ndim]), min_size=ndim, max_size=ndim)
)


def array(draw, dtypes, shape=None):
    shape = tuple(shape or draw(SHAPES))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    dtype = np.dtype(draw(st.sampled_from(dtypes)))
    values = rng.normal(0, 40, shape)
    if dtype.kind == "c":
        values = values + 1j * rng.normal(0, 40, shape)
    return (np.abs(values) if dtype.kind == "u" else values > 0 if dtype.kind == "b" else values).astype(dtype)


def some_axes(draw, ndim):
    return sorted(draw(st.sets(st.integers(0, ndim - 1), min_size=1)))


def each_or_all(draw, one, axes):
    """A parameter that is one value or a list of one for each axis."""
    return draw(one if draw(st.booleans()) else st.lists(one, min_size=len(axes), max_size=len(axes)))


def listed(value, axes):
    return value if isinstance(value, list) else [value] * len(axes)


def origins(draw, sizes):
    return [draw(st.integers(-(n // 2), (n - 1) // 2)) for n in sizes]


def values(size):
    return st.lists(st.integers(-3, 5), min_size=size, max_size=size)


CVALS = st.sampled_from([0.0, 2.0, 7.5])


@settings(deadline=None, max_examples=150)
@given(st.data())
def test_uniform(data):
    x = array(data.draw, INTEGERS + FLOATS + COMPLEX)
    axes = some_axes(data.draw, x.ndim)
    size = each_or_all(data.draw, st.integers(1, 5) | st.integers(DIRECT, DIRECT + 3), axes)
    how = {
        "size": size,
        "origin": origins(data.draw, listed(size, axes)),
        "mode": each_or_all(data.draw, st.sampled_from(MODES), axes),
        "cval": data.draw(CVALS),
        "axes": axes,
    }
    got = run(data.draw, "uniform", [x], **how)
    expected = ndimage.uniform_filter(x, **how)
    # SciPy keeps a running sum, whose last digits depend on all that came before on the line.
    digits = 8 * np.finfo(x.dtype).eps * 300 if x.dtype.kind in "fc" else 0
    assert got.dtype == expected.dtype
    np.testing.assert_allclose(got, expected, rtol=0, atol=digits)


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_uniform_does_not_depend_on_the_cut_up_to_the_size_that_is_summed_directly(data):
    x = array(data.draw, FLOATS + COMPLEX)
    how = {"size": data.draw(st.integers(1, DIRECT)), "mode": data.draw(st.sampled_from(MODES))}
    program = build(metas_of({"x": x}), ("out", "uniform", ["x"], how))
    first, second = (in_blocks(program, {"x": x}, "out", blocks_of(data.draw, x.shape)) for _ in range(2))
    np.testing.assert_array_equal(first, second)


@settings(deadline=None, max_examples=100)
@given(st.data())
def test_gaussian(data):
    x = array(data.draw, INTEGERS + FLOATS + COMPLEX)
    axes = some_axes(data.draw, x.ndim)
    how = {
        "sigma": each_or_all(data.draw, st.sampled_from([0.0, 0.3, 0.8, 1.5, 4.0]), axes),
        "order": each_or_all(data.draw, st.integers(0, 2), axes),
        "mode": each_or_all(data.draw, st.sampled_from(MODES), axes),
        "cval": data.draw(CVALS),
        "truncate": data.draw(st.sampled_from([1.0, 2.5, 4.0])),
        "axes": axes,
    }
    if data.draw(st.booleans()):
        how["radius"] = each_or_all(data.draw, st.integers(0, 4), axes)
    got = run(data.draw, "gaussian", [x], **how)
    np.testing.assert_array_equal(got, ndimage.gaussian_filter(x, **how), strict=True)


@pytest.mark.parametrize("name", ["minimum", "maximum"])
@settings(deadline=None, max_examples=80)
@given(data=st.data())
def test_extremes(name, data):
    x = array(data.draw, ["?", *INTEGERS, *FLOATS])
    axes = some_axes(data.draw, x.ndim)
    how = {"cval": data.draw(CVALS), "axes": axes}
    if data.draw(st.booleans()):
        how["size"] = each_or_all(data.draw, st.integers(1, 6), axes)
        how["mode"] = each_or_all(data.draw, st.sampled_from(MODES), axes)
        sizes = listed(how["size"], axes)
    else:
        sizes = [data.draw(st.integers(1, 4)) for _ in axes]
        how["footprint"] = footprint(data.draw, sizes)
        how["mode"] = data.draw(st.sampled_from(MODES))
    how["origin"] = origins(data.draw, sizes)
    got = run(data.draw, name, [x], **how)
    np.testing.assert_array_equal(got, getattr(ndimage, f"{name}_filter")(x, **how), strict=True)


def footprint(draw, sizes):
    mask = np.random.default_rng(draw(st.integers(0, 99))).integers(0, 2, sizes)
    mask.flat[draw(st.integers(0, mask.size - 1))] = 1
    return mask.tolist()


@settings(deadline=None, max_examples=120)
@given(st.data())
def test_median(data):
    x = array(data.draw, ["?", *INTEGERS, *FLOATS])
    axes = some_axes(data.draw, x.ndim)
    sizes = [data.draw(st.integers(1, 5)) for _ in axes]
    how = {
        "origin": origins(data.draw, sizes),
        "mode": data.draw(st.sampled_from(MODES)),
        "cval": data.draw(CVALS),
    }
    shape = {"size": sizes} if data.draw(st.booleans()) else {"footprint": footprint(data.draw, sizes)}
    got = run(data.draw, "median", [x], **how, **shape, axes=axes)
    # With a second axis SciPy does not take its quick way, which is wrong about holes and long windows.
    mask = np.ones(sizes, bool) if "size" in shape else np.array(shape["footprint"])
    how["origin"] = [0, *how["origin"]]
    native = x.astype(x.dtype.newbyteorder("="))
    expected = ndimage.median_filter(native[None], footprint=mask[None], axes=[0, *(a + 1 for a in axes)], **how)[0]
    np.testing.assert_array_equal(got, expected, strict=True)


@settings(deadline=None, max_examples=40)
@given(st.data())
def test_median_of_a_line_is_scipys_where_the_window_fits(data):
    size = data.draw(st.integers(1, 9))
    x = array(data.draw, ["?", "u1", "i8", "f4", "f8"], [data.draw(st.integers(size, 40))])
    if x.dtype == np.int64:
        x += 2**60
    how = {"size": size, "mode": data.draw(st.sampled_from(MODES)), "origin": origins(data.draw, [size])[0]}
    got = run(data.draw, "median", [x], **how)
    np.testing.assert_array_equal(got, ndimage.median_filter(x, **how), strict=True)


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_sobel(data):
    x = array(data.draw, INTEGERS + FLOATS + COMPLEX)
    how = {
        "axis": data.draw(st.integers(-x.ndim, x.ndim - 1)),
        "mode": each_or_all(data.draw, st.sampled_from(MODES), range(x.ndim)),
        "cval": data.draw(CVALS),
    }
    np.testing.assert_array_equal(run(data.draw, "sobel", [x], **how), ndimage.sobel(x, **how), strict=True)


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_laplace(data):
    x = array(data.draw, INTEGERS + FLOATS + COMPLEX)
    axes = data.draw(st.permutations(some_axes(data.draw, x.ndim)))
    how = {
        "mode": each_or_all(data.draw, st.sampled_from(MODES), axes),
        "cval": data.draw(CVALS),
        "axes": axes,
    }
    np.testing.assert_array_equal(run(data.draw, "laplace", [x], **how), ndimage.laplace(x, **how), strict=True)


@pytest.mark.parametrize("name", ["correlate", "convolve"])
@settings(deadline=None, max_examples=80)
@given(data=st.data())
def test_kernels(name, data):
    x = array(data.draw, INTEGERS + FLOATS + COMPLEX)
    axes = some_axes(data.draw, x.ndim)
    sizes = [data.draw(st.integers(1, 5)) for _ in axes]
    how = {
        "weights": np.random.default_rng(data.draw(st.integers(0, 99))).normal(size=sizes).tolist(),
        "mode": data.draw(st.sampled_from(MODES)),
        "cval": data.draw(CVALS),
        "origin": origins(data.draw, sizes),
        "axes": axes,
    }
    got = run(data.draw, name, [x], **how)
    np.testing.assert_array_equal(got, getattr(ndimage, name)(x, **how), strict=True)


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_nan_spreads_as_far_as_the_window_and_no_further(data):
    x = array(data.draw, ["f4", "f8"], data.draw(st.lists(st.integers(1, 9), min_size=1, max_size=2)))
    nan = np.random.default_rng(data.draw(st.integers(0, 99))).random(x.shape) < 0.1
    x[nan] = np.nan
    name = data.draw(st.sampled_from(["uniform", "minimum", "maximum", "median"]))
    how = {"size": data.draw(st.integers(1, 5) | st.just(DIRECT + 2)), "mode": data.draw(st.sampled_from(MODES))}
    got = run(data.draw, name, [x], **how)
    reached = ndimage.maximum_filter(nan, **how)
    np.testing.assert_array_equal(np.isnan(got), reached)
    clean = np.where(nan, 0, x)
    filtered = ndimage.median_filter(clean[None], size=(1, *[how["size"]] * x.ndim), mode=how["mode"])[0]
    if name == "median":
        np.testing.assert_array_equal(got[~reached], filtered[~reached])
    elif name == "uniform":
        expected = ndimage.uniform_filter(clean, **how)
        np.testing.assert_allclose(got[~reached], expected[~reached], rtol=0, atol=1e-12 if x.dtype == "f8" else 1e-3)
    else:
        expected = getattr(ndimage, f"{name}_filter")(clean, **how)
        np.testing.assert_array_equal(got[~reached], expected[~reached])


@pytest.mark.parametrize("name", ["uniform", "minimum", "maximum", "median"])
def test_nan_beyond_the_ends(name):
    got = run(lambda _: 1, name, [np.arange(5.0)], size=3, mode="constant", cval=float("nan"))
    middle = {"minimum": [0, 1, 2], "maximum": [2, 3, 4]}.get(name, [1, 2, 3])
    np.testing.assert_allclose(got, [np.nan, *middle, np.nan], rtol=1e-15)


def test_a_fill_value_leaves_no_rounding_error_behind():
    x = np.ones(20)
    x[3] = 1e30
    got = run(lambda _: 20, "uniform", [x], size=3)
    np.testing.assert_allclose(got[5:], 1, rtol=1e-15)


PLANE = Meta((10, 12), "f4", ("y", "x"))
FLAT3 = [[1, 1, 1]]


@pytest.mark.parametrize(
    ("name", "given", "parameter", "message"),
    [
        ("uniform", {"size": [3]}, "size", "expected one `size` for each of 2 axes, found 1"),
        (
            "uniform",
            {"origin": 2},
            "origin",
            "expected an `origin` from -1 to 1 for 3 elements along axis `y`, found 2",
        ),
        ("gaussian", {"sigma": 1, "radius": [1, 2, 3]}, "radius", "expected one `radius` for each of 2 axes, found 3"),
        ("sobel", {"mode": ["wrap"]}, "mode", "expected one `mode` for each of 2 axes, found 1"),
        ("laplace", {"mode": ["wrap"]}, "mode", "expected one `mode` for each of 2 axes, found 1"),
        ("median", {}, None, "expected `size` or `footprint`, found neither"),
        ("minimum", {"size": 3, "footprint": FLAT3}, "size", "expected `size` or `footprint`, found both"),
        ("maximum", {"footprint": [[0, 0]]}, "footprint", "expected at least one element that is not 0"),
        (
            "maximum",
            {"footprint": [[0, 1]], "mode": ["wrap", "reflect"]},
            "mode",
            "expected one mode for all axes with a `footprint`, found ['wrap', 'reflect']",
        ),
        (
            "correlate",
            {"weights": [1, 2]},
            "weights",
            "expected `weights` nested 2 deep, once for each axis, found 1",
        ),
        (
            "convolve",
            {"weights": FLAT3, "axes": ["x", "y"]},
            "axes",
            "expected `axes` in increasing order, as the kernel's are, found [1, 0]",
        ),
        (
            "convolve",
            {"weights": FLAT3, "origin": [0, -2]},
            "origin",
            "expected an `origin` from -1 to 1 for 3 elements along axis `x`, found -2",
        ),
    ],
)
def test_what_does_not_fit_is_refused(name, given, parameter, message):
    with pytest.raises(Mismatch) as caught:
        meta_of(name, PLANE, **given)
    assert (caught.value.parameter, str(caught.value)) == (parameter, message)


REQUIRED = {
    "uniform": {},
    "gaussian": {"sigma": 1},
    "median": {"size": 3},
    "minimum": {"size": 3},
    "maximum": {"size": 3},
    "sobel": {},
    "laplace": {},
    "correlate": {"weights": [1, 2, 1]},
    "convolve": {"weights": [1, 2, 1]},
}


@pytest.mark.parametrize("name", REQUIRED)
@pytest.mark.parametrize("dtype", ["f2", "g", "U3", "M8[s]", "?", "c8"])
def test_dtypes_that_scipy_refuses_are_refused_before_the_run(name, dtype):
    order = name in ("median", "minimum", "maximum")
    if order if dtype == "?" else not order and dtype == "c8":
        assert meta_of(name, Meta((5,), dtype), **REQUIRED[name]).dtype == dtype
        return
    with pytest.raises(Mismatch, match="expected an input of") as caught:
        meta_of(name, Meta((5,), dtype), **REQUIRED[name])
    assert ("astype" in caught.value.hint) == (dtype in ("f2", "g", "?"))


@pytest.mark.parametrize("name", ["median", "uniform"])
def test_nan_beyond_the_ends_of_integers_is_refused(name):
    with pytest.raises(Mismatch, match="expected a `cval` that uint8 can hold, found nan"):
        meta_of(name, Meta((5,), "u1"), size=3, cval=float("nan"))


@pytest.mark.parametrize("name", REQUIRED)
def test_names_stay_and_photos_stay_apart(name):
    photos = Meta((4, 9, 9), "f4", ("photo", "y", "x"), items="photos")
    if name == "sobel":
        assert meta_of(name, photos).items is None
        return
    how = REQUIRED[name]
    within = meta_of(name, photos, **how, axes=["x"])
    across = meta_of(name, photos, **how, axes=[0])
    assert (within.dims, within.items, across.items) == (photos.dims, "photos", None)


def test_an_axis_that_is_not_named_needs_no_halo():
    op = get_op("uniform")
    params = {"size": [2, 3], "mode": "reflect", "origin": 0, "axes": (0, 2), "cval": 0.0}
    assert op.halo(Meta((9, 9, 9), "f4"), params) == ((1, 0), (0, 0), (1, 1))

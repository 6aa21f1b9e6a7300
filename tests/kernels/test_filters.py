"""What OpenCV and Fourier transforms compute in SciPy's place, held against SciPy."""

import numpy as np
import pytest
import scipy.ndimage as ndi
from hypothesis import given, settings
from hypothesis import strategies as st

from hpcflow.kernels import fourier, lines, planes
from hpcflow.ops.gaussian import _weights
from hpcflow.registry import get_op

MODES = ["reflect", "mirror", "nearest", "constant"]


@pytest.fixture(autouse=True)
def _always(monkeypatch):
    monkeypatch.setattr(planes, "LEAST", 1)


@st.composite
def arrays(draw, dtypes, least=1):
    shape = tuple(draw(st.lists(st.integers(least, 12), min_size=2, max_size=3)))
    values = np.random.default_rng(draw(st.integers(0, 99))).uniform(-9, 99, shape)
    array = np.asarray(values).astype(draw(st.sampled_from(dtypes)))
    array.flags.writeable = False
    # A view with rows apart, as a trimmed halo leaves it.
    return array[..., : max(1, shape[-1] - draw(st.integers(0, 2)))]


def close(got, want, weights=1.0):
    assert got is not None, "left to SciPy"
    assert got.dtype == want.dtype
    tolerance = 1e-6 if got.dtype == np.float32 else 1e-13
    np.testing.assert_allclose(got, want, rtol=0, atol=tolerance * 99 * weights)


def spread(n, shape, fill=1):
    return [fill] * (len(shape) - 2) + [n, n]


@settings(deadline=None, max_examples=60)
@given(arrays(["f4", "f8"]), st.integers(2, 9), st.sampled_from(MODES), st.integers(-1, 0), st.booleans())
def test_means(x, size, mode, origin, running):
    sizes, shifts, modes = spread(size, x.shape), spread(origin, x.shape, 0), [mode] * x.ndim
    weights = {axis: np.full(n, 1 / n) for axis, n in enumerate(sizes) if n > 1}
    how = {"modes": modes, "cval": 0, "origins": shifts, "xp": np}
    got = planes.box(x, sizes, **how) if running else planes.separable(x, weights, **how)
    close(got, ndi.uniform_filter(x, sizes, mode=mode, origin=shifts))


@settings(deadline=None, max_examples=60)
@given(arrays(["f4", "f8"]), st.floats(0.3, 9), st.sampled_from(MODES))
def test_gaussian_along_all_axes(x, sigma, mode):
    op = get_op("gaussian")
    params = {"sigma": sigma, "order": 0, "mode": mode, "cval": 0.0, "truncate": 4.0, "radius": None}
    close(op([x], {**params, "axes": tuple(range(x.ndim))}, np), ndi.gaussian_filter(x, sigma, mode=mode))


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.integers(1, 40), min_size=1, max_size=3), st.sampled_from(["u2", "i1"]), st.floats(0.3, 4),
    st.sampled_from([*MODES, "wrap"]), st.booleans(), st.integers(0, 99), st.data(),
)  # fmt: skip
def test_integers_are_cut_off_as_in_scipy(shape, dtype, sigma, mode, flat, seed, data):  # noqa: PLR0917  (drawn)
    info = np.iinfo(dtype)
    x = np.random.default_rng(seed).integers(info.min, info.max, [1] * len(shape) if flat else shape, dtype)
    x = np.array(np.broadcast_to(x, shape))
    reach = int(4 * sigma + 0.5)
    axes = sorted(data.draw(st.sets(st.integers(0, len(shape) - 1), min_size=1)))
    kept = [sorted(data.draw(st.tuples(st.integers(0, n - 1), st.integers(1, n)))) for n in shape]
    kept = tuple((a, max(b, a + 1)) for a, b in kept) if data.draw(st.booleans()) else None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lines, "LEAST", 0)
        weights = {axis: _weights(sigma, reach) for axis in axes}
        got = lines.symmetric(x, weights, modes=[mode] * len(shape), kept=kept, xp=np)
    assert (got is None) == (mode == "constant" or not lines.ALIKE)
    if got is not None:
        part = tuple(slice(*one) for one in kept or [(None,)])
        expected = ndi.gaussian_filter(x, [sigma if axis in axes else 0 for axis in range(len(shape))], mode=mode)
        np.testing.assert_array_equal(got, expected[part], strict=True)


@settings(deadline=None, max_examples=60)
@given(arrays(["f4", "f8"]), st.integers(0, 1), st.sampled_from(MODES))
def test_derivatives(x, axis, mode):
    sobel = get_op("sobel")([x], {"axis": axis, "mode": mode, "cval": 0.0}, np)
    close(sobel, ndi.sobel(x, axis, mode=mode), 4 ** (x.ndim - 1) * 2)
    laplace = get_op("laplace")([x], {"axes": (x.ndim - 2, x.ndim - 1), "mode": mode, "cval": 0.0}, np)
    close(laplace, ndi.generic_laplace(x, second, mode=mode, extra_keywords={"first": x.ndim - 2}), 8)


def second(x, axis, output, mode, cval, *, first):
    if axis < first:
        output = np.zeros_like(x) if output is None or isinstance(output, (type, np.dtype)) else output
        output[...] = 0
        return output
    return ndi.correlate1d(x, [1, -2, 1], axis, output, mode, cval, 0)


@settings(deadline=None, max_examples=60)
@given(arrays(["f4", "f8"]), st.tuples(st.integers(1, 5), st.integers(2, 5)), st.sampled_from(MODES), st.booleans())
def test_small_kernels(x, shape, mode, mirrored):
    weights = np.random.default_rng(0).uniform(-1, 1, shape)
    params = {"weights": weights.tolist(), "mode": mode, "cval": 0.0, "origin": 0, "axes": (x.ndim - 2, x.ndim - 1)}
    name = "convolve" if mirrored else "correlate"
    want = getattr(ndi, name)(x, weights[(None,) * (x.ndim - 2)], mode=mode)
    close(get_op(name)([x], params, np), want, weights.size)


@settings(deadline=None, max_examples=60)
@given(arrays(["u1", "u2", "i2", "f4", "f8"]), st.integers(2, 6), st.sampled_from(MODES), st.integers(-1, 0), st.data())
def test_extremes_are_exact(x, size, mode, origin, data):
    sizes, shifts = spread(size, x.shape), spread(origin, x.shape, 0)
    name = data.draw(st.sampled_from(["minimum", "maximum"]))
    got = planes.extreme(name, x, sizes, modes=[mode] * x.ndim, cval=7, origins=shifts, xp=np)
    want = getattr(ndi, f"{name}_filter")(x, sizes, mode=mode, cval=7, origin=shifts)
    np.testing.assert_array_equal(got, want, strict=True)


@settings(deadline=None, max_examples=60)
@given(arrays(["u1", "u2", "i2", "f4"]), st.sampled_from([3, 5]), st.sampled_from(MODES))
def test_medians_are_exact(x, size, mode):
    sizes = spread(size, x.shape)
    got = planes.median(x, sizes, mode=mode, cval=7, origins=[0] * x.ndim, xp=np)
    np.testing.assert_array_equal(got, ndi.median_filter(x, sizes, mode=mode, cval=7), strict=True)


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("op", ["uniform", "gaussian", "sobel", "laplace", "minimum", "median"])
def test_nan_and_infinity_spread_as_in_scipy(op, value):
    x = np.ones((9, 9), np.float32)
    x[4, 4] = value
    params = {
        "uniform": {"size": 3, "origin": 0, "axes": (0, 1)},
        "gaussian": {"sigma": 1.0, "order": 0, "truncate": 4.0, "radius": None, "axes": (0, 1)},
        "sobel": {"axis": 0},
        "laplace": {"axes": (0, 1)},
        "minimum": {"size": 3, "footprint": None, "origin": 0, "axes": (0, 1)},
        "median": {"size": 3, "footprint": None, "origin": 0, "axes": (0, 1)},
    }[op]
    got = get_op(op)([x], {**params, "mode": "reflect", "cval": 0.0}, np)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(planes, "LEAST", 10**9)
        want = get_op(op)([x], {**params, "mode": "reflect", "cval": 0.0}, np)
    np.testing.assert_allclose(got, want, rtol=1e-6)


@settings(deadline=None, max_examples=60)
@given(st.data(), st.sampled_from([*MODES, "wrap"]), st.sampled_from([40, 2**19]))
def test_correlation_by_transforms(data, mode, piece):
    shape = tuple(data.draw(st.lists(st.integers(1, 15), min_size=1, max_size=3)))
    kernel = tuple(data.draw(st.integers(1, 6)) for _ in shape)
    origins = [data.draw(st.integers(-(n // 2), (n - 1) // 2)) for n in kernel]
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    x, weights = rng.uniform(-1, 9, shape), rng.uniform(-1, 1, kernel)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fourier, "TRANSFORM", 0)
        patch.setattr(fourier, "PIECE", piece)
        got = fourier.correlate(x, weights, mode=mode, cval=2.5, origins=origins, xp=np)
    if weights.size == 1:
        assert got is None
        return
    want = ndi.correlate(x, weights, mode=mode, cval=2.5, origin=origins)
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-12)


def test_a_large_kernel_is_transformed_and_a_small_one_or_infinity_is_not():
    x = np.ones((64, 64), np.float32)
    how = {"mode": "reflect", "cval": 0.0, "origins": [0, 0], "xp": np}
    assert fourier.correlate(x, np.ones((31, 31)), **how) is not None
    assert fourier.correlate(x, np.ones((3, 3)), **how) is None
    assert fourier.correlate(x.astype(int), np.ones((31, 31)), **how) is None
    x[0, 0] = np.inf
    assert fourier.correlate(x, np.ones((31, 31)), **how) is None

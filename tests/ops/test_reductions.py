"""Reductions against NumPy's, over any cut into pieces."""

from __future__ import annotations

import functools
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpcflow.errors import Mismatch
from hpcflow.meta import Meta
from hpcflow.operation import accepted
from hpcflow.parameters import resolve_axes, validate
from hpcflow.regions import slices, whole
from hpcflow.registry import get_op

DTYPES = ["bool", "uint8", "int16", "int64", "uint64", "float16", "float32", "float64", "complex64", "complex128"]


def pieces(shape, cuts):
    """The regions between the cuts along each axis, in C order."""
    axes = [list(zip([0, *c], [*c, n], strict=True)) if n else [(0, 0)] for n, c in zip(shape, cuts, strict=True)]
    return product(*axes)


def tree(combine, partials):
    """Combine neighbours until one is left."""
    if len(partials) == 1:
        return partials[0]
    half = len(partials) // 2
    return combine(tree(combine, partials[:half]), tree(combine, partials[half:]))


def reduce_in_pieces(name, x, cuts, **given):
    """As the runner does it: a partial of each piece, combined in a tree, finalized, put side by side."""
    op = get_op(name)
    meta = Meta(x.shape, x.dtype, tuple("tzyx"[4 - x.ndim :]))
    params = resolve_axes(op.function, validate(op.function, given), meta)
    made, axes = op.meta([meta], params), params["axis"]
    rows = {}
    for region in pieces(x.shape, cuts):
        piece = x[slices(region, whole(x.shape))]
        if piece.ndim:  # of no axes it is a scalar, as the evaluator's slices are
            piece.flags.writeable = False
        partial = op([piece], params, np, region=region, metas=[meta])
        shape = tuple(1 if i in axes else stop - start for i, (start, stop) in enumerate(region))
        assert all(a.shape[: x.ndim] == shape for a in partial)
        rows.setdefault(tuple(one for i, one in enumerate(region) if i not in axes), []).append(partial)
    result = np.empty(made.shape, made.dtype)
    for kept, partials in rows.items():
        array = op.finalize(tree(op.combine, partials), **accepted(op.finalize, {**params, "metas": [meta], "xp": np}))
        assert array.dtype == made.dtype
        where = iter(kept)
        keepdims = params.get("keepdims")
        index = [slice(None) if i in axes else slice(*next(where)) for i in range(x.ndim) if keepdims or i not in axes]
        left = [n for i, n in enumerate(array.shape) if keepdims or i not in axes]
        result[tuple(index)] = array.reshape(left)
    return result, made


@st.composite
def cut_arrays(draw, dtypes=DTYPES, *, special=False, ties=False):
    """An array, a cut of it, and some of its axes as a flow may give them."""
    shape = tuple(draw(st.lists(st.integers(1, 7), min_size=1, max_size=4)))
    dtype = np.dtype(draw(st.sampled_from(dtypes)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    scale = 3 if ties else 100
    x = rng.integers(0 if dtype.kind in "bu" else -scale, 2 if dtype.kind == "b" else scale, shape).astype(dtype)
    if dtype.kind in "fc" and not ties:
        x = x * rng.random(shape).astype(x.real.dtype)
    if dtype.kind == "c":
        x = x + 1j * rng.integers(-scale, scale, shape).astype(x.real.dtype)
    x = x.astype(dtype)
    if special and dtype.kind in "fc":
        x[rng.random(shape) < draw(st.sampled_from([0, 0.05, 0.5]))] = np.nan
    cuts = [sorted(draw(st.sets(st.integers(1, n - 1), max_size=3)) if n > 1 else ()) for n in shape]
    axes = draw(st.none() | st.sets(st.integers(-len(shape), -1), min_size=1).map(list))
    if axes is not None and len(axes) == 1 and draw(st.booleans()):
        axes = axes[0]
    return x, cuts, axes, draw(st.booleans())


def numpy_axis(axes):
    return tuple(axes) if isinstance(axes, list) else axes


def wide(dtype):
    return np.result_type(dtype, np.float64) if dtype.kind in "fc" else dtype


@settings(deadline=None, max_examples=150)
@given(cut_arrays())
def test_sum(case):
    x, cuts, axes, keepdims = case
    got, made = reduce_in_pieces("sum", x, cuts, axis=axes, keepdims=keepdims)
    numpy = x.sum(axis=numpy_axis(axes), keepdims=keepdims)
    assert (made.shape, made.dtype) == (numpy.shape, numpy.dtype)
    exact = x.sum(axis=numpy_axis(axes), keepdims=keepdims, dtype=wide(numpy.dtype)).astype(numpy.dtype)
    np.testing.assert_allclose(got, exact, rtol=0 if x.dtype.kind in "biu" else 2 * np.finfo(x.dtype).eps, atol=1e-9)


@settings(deadline=None, max_examples=150)
@given(cut_arrays())
def test_mean(case):
    x, cuts, axes, keepdims = case
    got, made = reduce_in_pieces("mean", x, cuts, axis=axes, keepdims=keepdims)
    numpy = x.mean(axis=numpy_axis(axes), keepdims=keepdims)
    assert (made.shape, made.dtype) == (numpy.shape, numpy.dtype)
    exact = x.mean(axis=numpy_axis(axes), keepdims=keepdims, dtype=wide(numpy.dtype)).astype(numpy.dtype)
    np.testing.assert_allclose(got, exact, rtol=2 * np.finfo(numpy.dtype).eps, atol=1e-9)


@settings(deadline=None, max_examples=150)
@given(cut_arrays(), st.sampled_from([0, 1, 0.5]))
def test_std(case, ddof):
    x, cuts, axes, keepdims = case
    got, made = reduce_in_pieces("std", x, cuts, axis=axes, keepdims=keepdims, ddof=ddof)
    exact = x.astype(wide(np.result_type(x.dtype, "f2")))
    with np.errstate(all="ignore"):
        numpy = np.std(x[..., :1], axis=numpy_axis(axes), keepdims=keepdims)
        n = np.asarray(np.sum(np.ones(x.shape), axis=numpy_axis(axes), keepdims=keepdims))
        apart = exact - exact.mean(axis=numpy_axis(axes), keepdims=True)
        squares = (abs(apart) ** 2).sum(axis=numpy_axis(axes), keepdims=keepdims)
        expected = np.sqrt(squares / np.maximum(n - ddof, 0)).astype(numpy.dtype)
    assert made.dtype == numpy.dtype
    assert made.shape == expected.shape
    np.testing.assert_allclose(
        got, expected, rtol=max(4 * np.finfo(numpy.dtype).eps, 1e-12), atol=1e-6 if x.dtype.kind in "fc" else 1e-9
    )


@settings(deadline=None, max_examples=200)
@given(cut_arrays(special=True, ties=True), st.sampled_from(["min", "max"]))
def test_min_and_max(case, name):
    x, cuts, axes, keepdims = case
    got, made = reduce_in_pieces(name, x, cuts, axis=axes, keepdims=keepdims)
    numpy = getattr(np, name)(x, axis=numpy_axis(axes), keepdims=keepdims)
    assert (made.shape, made.dtype) == (numpy.shape, numpy.dtype)
    np.testing.assert_array_equal(got, numpy)


@settings(deadline=None, max_examples=300)
@given(cut_arrays(special=True, ties=True))
def test_argmax(case):
    x, cuts, axes, keepdims = case
    got, made = reduce_in_pieces("argmax", x, cuts, axis=axes, keepdims=keepdims)
    listed = range(x.ndim) if axes is None else [a % x.ndim for a in (axes if isinstance(axes, list) else [axes])]
    left = [i for i in range(x.ndim) if i not in listed]
    # Several axes at once: the index over them, flattened in C order.
    flat = x.transpose([*left, *sorted(listed)]).reshape([*(x.shape[i] for i in left), -1])
    expected = flat.argmax(axis=-1)
    if len(listed) == x.ndim:
        assert expected == x.argmax()
    if keepdims:
        expected = expected.reshape([1 if i in listed else n for i, n in enumerate(x.shape)])
    assert (made.shape, made.dtype) == (expected.shape, np.int64)
    np.testing.assert_array_equal(got, expected)


REAL = [one for one in DTYPES if not one.startswith("complex")]
RANGES = st.sampled_from([[0, 1], [-50, 50], [0.1, 0.9], [-7.3, 99.9], [0, 256], [5, 5], [-100, -99.5]])


@settings(deadline=None, max_examples=300)
@given(cut_arrays(REAL, special=True), st.sampled_from([1, 2, 10, 37]), RANGES)
@pytest.mark.filterwarnings("ignore:Converting input from bool")
def test_histogram(case, bins, ends):
    x, cuts, axes, _ = case
    try:
        edges = np.histogram(x, bins, tuple(map(float, ends)))[1]
    except ValueError:  # float16 tells no bins apart so far out
        return
    # Values on the very edges, and next to both ends, are where a mistake would show.
    on_edge = np.random.default_rng(0).random(x.shape) < 0.3
    if x.dtype.kind == "f":
        exact = edges.astype(x.dtype)
        close = np.concatenate([exact, *(np.nextafter(exact[[0, -1]], x.dtype.type(to)) for to in (-np.inf, np.inf))])
        x[on_edge] = np.resize(close[::-1], x.shape)[on_edge]
    got, made = reduce_in_pieces("histogram", x, cuts, axis=axes, bins=bins, range=ends)
    listed = range(x.ndim) if axes is None else [a % x.ndim for a in (axes if isinstance(axes, list) else [axes])]
    left = [i for i in range(x.ndim) if i not in listed]
    rows = x.transpose([*left, *listed]).reshape([*(x.shape[i] for i in left), -1])
    expected = np.apply_along_axis(lambda row: np.histogram(row, bins, tuple(map(float, ends)))[0], -1, rows)
    assert (made.shape, made.dtype) == (expected.shape, np.int64)
    np.testing.assert_array_equal(got, expected)


@settings(deadline=None, max_examples=100)
@given(cut_arrays(["bool", "uint8", "int8", "uint16", "int16"]), st.sampled_from([1, 2, 10, 37]))
@pytest.mark.filterwarnings("ignore:Converting input from bool")
def test_histogram_finds_the_range_of_few_bits_itself(case, bins):
    x, cuts, _, _ = case
    got, _ = reduce_in_pieces("histogram", x, cuts, bins=bins)
    np.testing.assert_array_equal(got, np.histogram(x, bins)[0])


def one(name, x, **given):
    return reduce_in_pieces(name, np.asarray(x), [[] for _ in np.shape(x)], **given)[0]


def test_float32_is_added_up_in_float64():
    ones = np.ones(2**25, np.float32)
    x = np.broadcast_to(ones[:1], (2**25,))
    halves = [[2**24]]
    assert reduce_in_pieces("sum", x.copy(), halves)[0] == 2**25
    assert reduce_in_pieces("mean", x.copy() * 0.1, halves)[0] == np.float32(0.1)


def test_std_does_not_cancel():
    x = 1e9 + np.random.default_rng(0).random(1000)
    np.testing.assert_allclose(reduce_in_pieces("std", x, [[10, 500, 501]])[0], np.std(x - 1e9), rtol=1e-6)


def test_std_of_infinity_is_nan_as_numpy_s():
    assert np.isnan(one("std", [1.0, np.inf]))
    assert np.isnan(one("std", [1.0], ddof=1))


@pytest.mark.parametrize("dtype", ["float64", "int32", "int8", "float32", "bool", "complex64"])
def test_sums_and_means_in_another_dtype(dtype):
    x = np.array([[1.7, 2.7, -100.2], [0.5, 99.9, 30.4]])
    for name in ("sum", "mean"):
        got, made = reduce_in_pieces(name, x, [[1], [2]], dtype=dtype)
        assert made.dtype == dtype
        expected = getattr(np, name)(
            x.astype(np.dtype(dtype)), dtype=None if dtype == "bool" and name == "mean" else dtype
        )
        if not (dtype == "bool" and name == "mean"):
            np.testing.assert_allclose(got, expected, rtol=1e-6)
    assert reduce_in_pieces("std", x, [[1], []], dtype="float32")[1].dtype == np.float32


def test_names_of_axes():
    meta = Meta((3, 4, 5), "u1", ("z", "y", "x"))
    for name, extra in (("sum", ()), ("argmax", ()), ("histogram", (None,))):
        op = get_op(name)
        given = {"axis": "y", **({"range": [0, 1]} if extra else {})}
        params = resolve_axes(op.function, validate(op.function, given), meta)
        assert op.meta([meta], params).dims == ("z", "x", *extra)
    op = get_op("mean")
    params = resolve_axes(op.function, validate(op.function, {"axis": ["z", "x"], "keepdims": True}), meta)
    assert (op.meta([meta], params).shape, op.meta([meta], params).dims) == ((1, 4, 1), ("z", "y", "x"))


@pytest.mark.parametrize("name", ["sum", "mean", "std", "min", "max", "argmax", "histogram"])
def test_an_array_of_no_axes(name):
    given = {"range": [0, 9]} if name == "histogram" else {}
    expected = {"std": 0, "argmax": 0, "histogram": [0, 0, 0, 1, 0, 0, 0, 0, 0, 0]}.get(name, 3.5)
    assert one(name, np.array(3.5), **given).tolist() == expected


@pytest.mark.parametrize(
    ("name", "meta", "given", "parameter", "message"),
    [
        ("sum", Meta((3,), "c16"), {"dtype": "float64"}, "dtype", "expected a complex dtype"),
        ("mean", Meta((3,), "c16"), {"dtype": "float64"}, "dtype", "expected a complex dtype"),
        ("std", Meta((3,), "c16"), {"dtype": "float64"}, "dtype", "expected a complex dtype"),
        ("std", Meta((3,), "f4"), {"dtype": "int32"}, "dtype", "expected a dtype of floats"),
        ("sum", Meta((3,), "f4"), {"axis": []}, "axis", "expected at least one axis"),
        ("min", Meta((3, 0), "f4"), {}, None, "expected at least one element"),
        ("max", Meta((3, 0), "f4"), {"axis": 1}, None, "expected at least one element"),
        ("argmax", Meta((0,), "f4"), {}, None, "expected at least one element"),
        ("histogram", Meta((3,), "c8"), {"range": [0, 1]}, None, "expected real numbers"),
        ("histogram", Meta((3,), "f4"), {}, "range", "expected a `range` for the histogram of float32"),
        ("histogram", Meta((3,), "f2"), {}, "range", "expected a `range` for the histogram of float16"),
        ("histogram", Meta((3,), "i4"), {}, "range", "expected a `range` for the histogram of int32"),
        ("histogram", Meta((3, 3), "u1"), {"axis": 0}, "range", "expected a `range` for the histogram of some axes"),
        ("histogram", Meta((3,), "f4"), {"range": [2, 1]}, "range", "expected the lower end first"),
        ("histogram", Meta((3,), "f4"), {"range": [1, 1 + 1e-6], "bins": 999}, "bins", "expected bins that can be"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(name, meta, given, parameter, message):
    op = get_op(name)
    params = resolve_axes(op.function, validate(op.function, given), meta)
    with pytest.raises(Mismatch, match=message) as caught:
        op.meta([meta], params)
    assert caught.value.parameter == parameter


ALIKE = {
    "sum": ("sum", "nansum"),
    "prod": ("prod", "nanprod"),
    "mean": ("mean", "nanmean"),
    "std": ("std", "nanstd"),
    "var": ("var", "nanvar"),
    "min": ("min", "nanmin"),
    "max": ("max", "nanmax"),
    "ptp": ("ptp", None),
    "any": ("any", None),
    "all": ("all", None),
    "count_nonzero": ("count_nonzero", None),
}
"""Each reduction's function of NumPy, and the one that leaves NaN out."""


@pytest.mark.parametrize("name", ALIKE)
@settings(deadline=None, max_examples=200)
@given(data=st.data())
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_with_and_without_nan_as_numpy(name, data):
    plain, skipping = ALIKE[name]
    x, cuts, axes, keepdims = data.draw(cut_arrays(special=True, ties=data.draw(st.booleans())))
    if name == "ptp" and x.dtype.kind == "b":
        return
    if data.draw(st.booleans()) and x.dtype.kind in "fc":
        x[:1] = np.nan  # whole slices of it
    if name == "prod" and x.dtype.kind in "fc":
        x = x / np.maximum(abs(x), 1).astype(x.real.dtype)  # where a product overflows, its order tells
    skipna = skipping is not None and data.draw(st.booleans())
    how = {"skipna": skipna} if skipping or name == "ptp" else {}
    got, made = reduce_in_pieces(name, x, cuts, axis=axes, keepdims=keepdims, **how)
    computed = x.astype(wide(x.dtype)) if name in ("sum", "prod", "mean", "std", "var") and x.dtype.kind in "fc" else x
    with np.errstate(all="ignore"):
        run = getattr(np, skipping if skipna else plain)
        dtype = np.asarray(run(x, axis=numpy_axis(axes), keepdims=keepdims)).dtype
        expected = np.asarray(run(computed, axis=numpy_axis(axes), keepdims=keepdims)).astype(dtype)
    assert (made.shape, made.dtype) == (expected.shape, np.int64 if name == "count_nonzero" else dtype)
    if dtype.kind in "fc" and name not in ("min", "max", "ptp"):
        scale = np.nanmax(np.abs(x.astype(complex)), initial=1) ** (2 if name == "var" else 1)
        np.testing.assert_allclose(got, expected, rtol=4 * np.finfo(dtype).eps, atol=scale * 1e-9)
    else:
        np.testing.assert_array_equal(got, expected)


@settings(deadline=None, max_examples=200)
@given(cut_arrays(special=True, ties=True), st.sampled_from(["argmin", "argmax"]), st.booleans())
def test_where_extremes_are_as_numpy(case, name, skipna):
    x, cuts, axes, keepdims = case
    axes = axes if isinstance(axes, int) else None
    nan = np.isnan(x).all(axis=axes).any() if x.dtype.kind in "fc" else False
    if skipna and nan:
        with pytest.raises(ValueError, match="nothing but NaN"):
            reduce_in_pieces(name, x, cuts, axis=axes, keepdims=keepdims, skipna=True)
        return
    got, _ = reduce_in_pieces(name, x, cuts, axis=axes, keepdims=keepdims, skipna=skipna)
    expected = getattr(np, f"nan{name}" if skipna else name)(x, axis=axes, keepdims=keepdims)
    np.testing.assert_array_equal(got, expected)


@settings(deadline=None, max_examples=200)
@given(cut_arrays(special=True), st.booleans())
def test_the_ends_of_lines(case, skipna):
    x, cuts, _, keepdims = case
    axis = len(cuts) - 1
    for name, order in (("first", slice(None)), ("last", slice(None, None, -1))):
        got, made = reduce_in_pieces(name, x, cuts, axis=axis, keepdims=keepdims, skipna=skipna)
        lines = x.reshape(-1, x.shape[-1])[:, order]
        there = ~np.isnan(lines) if skipna and x.dtype.kind in "fc" else np.ones(lines.shape, bool)
        expected = np.array([line[np.argmax(mask)] for line, mask in zip(lines, there, strict=True)], x.dtype)
        assert made.dtype == x.dtype
        np.testing.assert_array_equal(got.ravel(), expected)


@settings(deadline=None, max_examples=60)
@given(cut_arrays(special=True))
def test_how_many_are_no_nan(case):
    x, cuts, axes, keepdims = case
    got, _ = reduce_in_pieces("count", x, cuts, axis=axes, keepdims=keepdims)
    there = ~np.isnan(x) if x.dtype.kind in "fc" else np.ones(x.shape, bool)
    np.testing.assert_array_equal(got, there.sum(axis=numpy_axis(axes), keepdims=keepdims))


@pytest.mark.parametrize("large", [1e6, 1e12, 4e15])
@pytest.mark.parametrize("name", ["std", "var"])
def test_small_differences_of_large_numbers_under_any_cut(name, large):
    x = large + np.random.default_rng(0).integers(0, 9, 3001)
    exact = np.var(x - large)
    for cut in (1, 7, 64, 1003, 3001):
        op = get_op(name)
        given = {"axis": (0,), "dtype": None, "skipna": False, "ddof": 0.0, "keepdims": False}
        pieces = [op([x[i : i + cut]], given, np) for i in range(0, len(x), cut)]
        partial = functools.reduce(op.combine, pieces)
        metas = [Meta(x.shape, x.dtype)]
        got = op.finalize(partial, metas=metas, axis=(0,), dtype=None, ddof=0.0, skipna=False, xp=np)
        np.testing.assert_allclose(got.item(), np.sqrt(exact) if name == "std" else exact, rtol=1e-9)

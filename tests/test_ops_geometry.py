"""Every other op, however its output is cut, against the whole-array NumPy call."""

import numpy as np
import pytest
import xarray as xr
from cutting import blocks_of, build, in_blocks, meta_of, metas_of, run
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage, special

import hpcflow
from hpcflow.errors import Mismatch
from hpcflow.meta import Meta
from hpcflow.ops.concatenate import concatenate
from hpcflow.ops.isel import isel
from hpcflow.ops.stack import stack
from hpcflow.parameters import ParameterFaults
from hpcflow.spec.validate import loads

SHAPES = st.lists(st.sampled_from([1, 2, 3, 5, 7]), min_size=1, max_size=4).map(tuple)
REALS = ["?", "u1", "i2", "i4", "u8", "i8", "f2", "f4", "f8", ">f4", ">i2"]
ANY = [*REALS, "c8", "U3"]


def array(draw, dtypes, shape=None):
    shape = draw(SHAPES) if shape is None else shape
    dtype = np.dtype(draw(st.sampled_from(dtypes)))
    values = np.random.default_rng(draw(st.integers(0, 99))).integers(-9, 9, shape)
    return (np.abs(values) if dtype.kind == "u" else values).astype(dtype)


def same(got, expected):
    """Equal in shape, values and dtype, in the machine's byte order."""
    np.testing.assert_array_equal(got, expected)
    assert (got.shape, got.dtype.newbyteorder("=")) == (expected.shape, expected.dtype.newbyteorder("="))


def positions(n):
    """Anything that picks from an axis of length n, and may pick nothing."""
    bound = st.none() | st.integers(-n - 2, n + 2)
    parts = st.tuples(bound, bound, st.sampled_from([None, 1, 2, 3, -1, -2]))
    text = parts.map(lambda p: ":".join("" if one is None else str(one) for one in p))
    one = st.integers(-n, n - 1)
    listed = st.lists(one, max_size=9) | st.lists(st.booleans(), min_size=n, max_size=n)
    return one | text | parts.map(lambda p: dict(zip(("start", "stop", "step"), p, strict=True))) | listed


def index_of(one):
    if isinstance(one, str):
        return slice(*(int(part) if part else None for part in one.split(":")))
    return slice(*one.values()) if isinstance(one, dict) else one


@settings(deadline=None, max_examples=150)
@given(st.data())
def test_isel(data):
    x = array(data.draw, ANY)
    axes = data.draw(st.sets(st.integers(0, x.ndim - 1)))
    indexers = {axis - data.draw(st.sampled_from([0, x.ndim])): data.draw(positions(x.shape[axis])) for axis in axes}
    indexers = {axis: one for axis, one in indexers.items() if one != []}
    labelled = xr.DataArray(x, dims=[f"d{i}" for i in range(x.ndim)])
    expected = labelled.isel({f"d{axis % x.ndim}": index_of(one) for axis, one in indexers.items()}).values
    if 0 in expected.shape:
        with pytest.raises(Mismatch, match="expected at least one of the"):
            run(data.draw, "isel", [x], indexers=indexers)
    else:
        same(run(data.draw, "isel", [x], indexers=indexers), expected)


def test_on_its_own_an_op_takes_whole_arrays():
    x = np.arange(20).reshape(4, 5)
    np.testing.assert_array_equal(isel(x, indexers={0: -1, 1: "3:0:-2"}, xp=np), x[-1, 3:0:-2])
    np.testing.assert_array_equal(stack(x, x + 0.5, axis=1, xp=np), np.stack([x, x + 0.5], axis=1))
    np.testing.assert_array_equal(concatenate(x, x, axis=1, xp=np), np.concatenate([x, x], axis=1))


def test_isel_by_name_keeps_the_other_names():
    meta = Meta((4, 10, 12), "u2", ("z", "y", "x"))
    got = meta_of("isel", meta, indexers={"z": -1, "x": "2:-2:3"})
    assert (got.shape, got.dims, got.dtype) == ((10, 3), ("y", "x"), np.dtype("u2"))


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_transpose(data):
    x = array(data.draw, ANY)
    axes = data.draw(st.none() | st.permutations(range(x.ndim)))
    same(run(data.draw, "transpose", [x], axes=axes), x.transpose(axes))


@settings(deadline=None, max_examples=80)
@given(st.data())
def test_stack(data):
    shape = data.draw(SHAPES)
    arrays = [array(data.draw, REALS, shape) for _ in range(data.draw(st.integers(1, 4)))]
    axis = data.draw(st.integers(-len(shape) - 1, len(shape)))
    same(run(data.draw, "stack", arrays, axis=axis), np.stack(arrays, axis=axis))


@settings(deadline=None, max_examples=80)
@given(st.data())
def test_concatenate(data):
    shape = data.draw(SHAPES)
    axis = data.draw(st.integers(0, len(shape) - 1))
    lengths = data.draw(st.lists(st.integers(0, 5), min_size=1, max_size=4).filter(any))
    arrays = [array(data.draw, REALS, (*shape[:axis], n, *shape[axis + 1 :])) for n in lengths]
    got = run(data.draw, "concatenate", arrays, axis=axis - data.draw(st.sampled_from([0, len(shape)])))
    same(got, np.concatenate(arrays, axis=axis))


def test_names_of_joined_axes_agree_or_give_way():
    named, bare = Meta((3, 4), "f4", ("y", "x")), Meta((3, 4), "f4")
    assert meta_of("stack", bare, named, axis=-1, dim="channel").dims == ("y", "x", "channel")
    assert meta_of("concatenate", named, bare, axis="x").dims == ("y", "x")
    with pytest.raises(Mismatch, match="the same names, found y and time"):
        meta_of("stack", named, Meta((3, 4), "f4", ("time", "x")))


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_astype(data):
    x = array(data.draw, [*REALS, "c8"])
    dtype = data.draw(st.sampled_from(["float32", "float64", "complex64", "bool", "uint8", "int64", ">f4"]))
    if x.dtype.kind == "c" and np.dtype(dtype).kind not in "cb":
        with pytest.raises(Mismatch, match="expected a complex dtype"):
            run(data.draw, "astype", [x], dtype=dtype)
        return
    casting = data.draw(st.sampled_from(["safe", "same_kind", "unsafe"]))
    if not np.can_cast(x.dtype, dtype, casting):
        with pytest.raises(Mismatch, match="can be cast to"):
            run(data.draw, "astype", [x], dtype=dtype, casting=casting)
        return
    if x.dtype.kind == "f" and dtype == "uint8":
        x = np.abs(x)  # what does not fit is for the tests of casting
    same(run(data.draw, "astype", [x], dtype=dtype, casting=casting), x.astype(dtype))


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_clip(data):
    x = array(data.draw, REALS[1:])
    bound = st.none() | st.integers(-5, 5) | st.floats(-5, 5)
    low, high = data.draw(st.tuples(bound, bound).filter(lambda pair: pair != (None, None)))
    try:
        expected = np.clip(x, low, high)
    except OverflowError:
        with pytest.raises(Mismatch, match="out of bounds for"):
            run(data.draw, "clip", [x], min=low, max=high)
    else:
        same(run(data.draw, "clip", [x], min=low, max=high), expected)


@settings(deadline=None, max_examples=40)
@given(st.data())
def test_threshold(data):
    x = array(data.draw, REALS)
    value = data.draw(st.integers(-300, 300) | st.floats(-5, 5))
    same(run(data.draw, "threshold", [x], value=value), x > value)


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_where_broadcasts(data):
    shape = data.draw(SHAPES)
    arrays = []
    for _ in range(3):
        kept = data.draw(st.integers(0, len(shape) - 1))
        cut = tuple(n if data.draw(st.booleans()) else 1 for n in shape[kept:])
        arrays.append(array(data.draw, REALS, cut))
    same(run(data.draw, "where", arrays), np.where(*arrays))


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_normalize(data):
    x = array(data.draw, REALS)
    axis = data.draw(st.integers(0, x.ndim - 1))
    one = st.floats(0.5, 9)
    number = one | st.lists(one, min_size=x.shape[axis], max_size=x.shape[axis])
    mean, std = data.draw(number), data.draw(number)
    dtype = np.float64 if x.dtype == np.float64 else np.float32
    shape = [-1 if i == axis else 1 for i in range(x.ndim)]
    by_axis = [np.reshape(np.asarray(v, dtype), shape) for v in (mean, std)]
    same(run(data.draw, "normalize", [x], mean=mean, std=std, axis=axis), (x.astype(dtype) - by_axis[0]) / by_axis[1])


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_softmax(data):
    x = array(data.draw, REALS)
    if x.dtype.kind == "f" and x.dtype.itemsize > 2:
        x = x * x.dtype.type(data.draw(st.sampled_from([1, 0.1, 1000])))
    axis = data.draw(st.integers(0, x.ndim - 1))
    native = x.astype(x.dtype.newbyteorder("=") if x.dtype.kind == "f" else "f8")
    expected = special.softmax(native, axis=axis)
    got = run(data.draw, "softmax", [x], axis=axis)
    assert got.dtype == native.dtype
    # SciPy divides and adds in another order.
    np.testing.assert_allclose(got, expected, rtol=16 * np.finfo(got.dtype).eps, atol=np.finfo(got.dtype).tiny)
    np.testing.assert_array_equal(got, run(data.draw, "softmax", [x], axis=axis))


@settings(deadline=None, max_examples=100)
@given(st.data())
def test_top_k(data):
    x = array(data.draw, REALS)
    if x.dtype.kind == "f" and data.draw(st.booleans()):
        x[np.random.default_rng(0).random(x.shape) < 0.3] = np.nan
    axis = data.draw(st.integers(0, x.ndim - 1))
    k = data.draw(st.integers(1, x.shape[axis]))
    got = run(data.draw, "top_k", [x], k=k, axis=axis)
    rows = np.moveaxis(x, axis, -1).reshape(-1, x.shape[axis])
    records = np.moveaxis(got, axis, -1).reshape(-1, k)
    for row, ranked in zip(rows.tolist(), records, strict=True):
        # The greatest first, NaN last, the lower position first among equals.
        order = sorted(
            range(len(row)), key=lambda i, row=row: (row[i] != row[i], -row[i] if row[i] == row[i] else 0, i)
        )
        assert ranked["class_id"].tolist() == order[:k]
        np.testing.assert_array_equal(ranked["score"], np.array(row)[order[:k]])


@pytest.mark.parametrize(("dtype", "score"), [("f2", "f4"), ("f4", "f4"), ("f8", "f8"), ("u1", "f4"), ("i8", "f8")])
def test_top_k_gives_records(dtype, score):
    got = meta_of("top_k", Meta((4, 1000), dtype, ("photo", "class"), items="photos"), k=5)
    assert (got.shape, got.dims, got.items) == ((4, 5), ("photo", "rank"), "photos")
    assert got.dtype == np.dtype([("class_id", "i8"), ("score", score)])


PLANE = Meta((3, 4), "f4", ("y", "x"))


@pytest.mark.parametrize(
    ("name", "metas", "given", "parameter", "message"),
    [
        (
            "isel",
            [PLANE],
            {"indexers": {"x": 4}},
            "indexers",
            "expected a position from -4 to 3 along axis `x`, found 4",
        ),
        (
            "isel",
            [PLANE],
            {"indexers": {"x": [0, -1, 7]}},
            "indexers",
            "expected a position from -4 to 3 along axis `x`, found 7",
        ),
        (
            "isel",
            [PLANE],
            {"indexers": {"x": [True, False]}},
            "indexers",
            "expected a boolean for each of the 4 elements along axis `x`, found 2 of them",
        ),
        (
            "isel",
            [PLANE],
            {"indexers": {"x": []}},
            "indexers",
            "expected at least one of the 4 elements along axis `x`, found []",
        ),
        (
            "isel",
            [PLANE],
            {"indexers": {"x": "::0"}},
            "indexers",
            "expected a step other than 0 along axis `x`, found ::0",
        ),
        (
            "isel",
            [PLANE],
            {"indexers": {"x": 1, -1: 2}},
            "indexers",
            "expected each axis once in `indexers`, found [x, -1]",
        ),
        ("transpose", [PLANE], {"axes": ["y", 0]}, "axes", "expected each of 2 axes once, found [0, 0]"),
        (
            "stack",
            [PLANE, Meta((3, 5), "f4")],
            {},
            None,
            "expected inputs of one shape, found (3, 4) and (3, 5)",
        ),
        ("stack", [PLANE], {"axis": 3}, "axis", "expected a place from -3 to 2 for the new `axis`, found 3"),
        ("stack", [PLANE], {"dim": "x"}, "dim", "expected a `dim` that no axis is called, found 'x'"),
        (
            "stack",
            [PLANE, Meta((3, 4), [("a", "f4")])],
            {},
            None,
            "expected inputs with a dtype in common, found float32 and [('a', '<f4')]",
        ),
        (
            "concatenate",
            [PLANE, Meta((3, 5), "f4")],
            {},
            None,
            "expected inputs of one shape but for axis 0, found (3, 4) and (3, 5)",
        ),
        ("clip", [PLANE], {}, None, "expected `min`, `max` or both, found neither"),
        (
            "normalize",
            [PLANE],
            {"mean": [1, 2], "std": 1},
            "mean",
            "expected one `mean`, or one for each of 4 along axis `x`, found 2",
        ),
        ("normalize", [PLANE], {"mean": 1, "std": 0}, "std", "expected a `std` other than 0, found 0.0"),
        ("top_k", [PLANE], {"k": 5}, "k", "expected a `k` of at most 4, the length of axis `x`, found 5"),
        ("softmax", [Meta((3,), "c8")], {}, None, "expected an input of real numbers, found complex64"),
    ],
)
def test_what_does_not_fit_is_refused(name, metas, given, parameter, message):
    with pytest.raises(Mismatch) as caught:
        meta_of(name, *metas, **given)
    assert (caught.value.parameter, str(caught.value)) == (parameter, message)


@pytest.mark.parametrize("index", ["1", "a:b", "1:2:3:4", {"from": 1}, [1.5], [1, True], [None, 2], {"start": "a"}])
def test_an_index_that_is_none_is_refused(index):
    with pytest.raises(ParameterFaults, match=r"a position, or a range of them as `start:stop:step`|to be an integer"):
        meta_of("isel", PLANE, indexers={"x": index})


PHOTOS = Meta((5, 5, 5), "f4", ("photo", "y", "x"), items="photos")


@pytest.mark.parametrize(
    ("name", "given", "items"),
    [
        ("isel", {"indexers": {"x": 0}}, "photos"),
        ("isel", {"indexers": {"photo": "::-1"}}, None),
        ("isel", {"indexers": {"photo": "1:3"}}, None),
        ("isel", {"indexers": {"photo": [0, 1, 2, 3, 4]}}, "photos"),
        ("isel", {"indexers": {"photo": [0, 2, 1, 3, 4]}}, None),
        ("isel", {"indexers": {"photo": 0}}, None),
        ("transpose", {"axes": [0, 2, 1]}, "photos"),
        ("transpose", {}, None),
        ("astype", {"dtype": "uint8"}, "photos"),
        ("softmax", {}, "photos"),
        ("softmax", {"axis": 0}, None),
        ("normalize", {"mean": [1, 2, 3, 4, 5], "std": 1}, "photos"),
    ],
)
def test_photos_are_followed_as_long_as_they_run_along_the_first_axis(name, given, items):
    assert meta_of(name, PHOTOS, **given).items == items


def test_photos_joined_with_themselves():
    assert meta_of("stack", PHOTOS, PHOTOS, axis=1).items == "photos"
    assert meta_of("stack", *[PHOTOS] * 5, axis=0).items is None
    assert meta_of("concatenate", PHOTOS, PHOTOS, axis="x").items == "photos"
    assert meta_of("concatenate", PHOTOS, PHOTOS).items is None


# Each keeps the shape of a square plane of floats, so that they can follow each other in any order.
LINKS = st.one_of(
    st.sampled_from(["reflect", "mirror", "nearest", "constant", "wrap"]).flatmap(
        lambda mode: st.sampled_from(
            [
                ("uniform", {"size": [2, 3], "origin": [-1, 1], "mode": mode}),
                ("gaussian", {"sigma": 0.7, "truncate": 3.0, "mode": mode}),
                ("median", {"size": [3, 2], "mode": mode}),
                ("maximum", {"footprint": [[0, 1, 1, 1]], "mode": mode}),
                ("sobel", {"axis": 0, "mode": mode}),
                ("laplace", {"mode": mode}),
                ("convolve", {"weights": [[0.1, 0.2], [0.3, 0.4]], "origin": [0, -1], "mode": mode}),
                ("correlate", {"weights": [0.5, 0.2, 0.1, 0.2], "axes": [1], "origin": 1, "mode": mode}),
            ]
        )
    ),
    st.sampled_from(
        [
            ("transpose", {}),
            ("isel", {"indexers": {0: "::-1"}}),
            ("clip", {"min": -30, "max": 40}),
            ("normalize", {"mean": 3.0, "std": 2.0, "axis": 1}),
            ("softmax", {"axis": 0}),
        ]
    ),
)


@settings(deadline=None, max_examples=150)
@given(st.data())
def test_any_graph_of_ops_in_blocks_equals_it_in_one_block(data):
    n = data.draw(st.sampled_from([1, 2, 3, 7, 11, 13]))
    arrays = {"x": np.random.default_rng(data.draw(st.integers(0, 99))).normal(0, 20, (n, n)).astype("f4")}
    nodes, steps = ["x"], []
    for i in range(data.draw(st.integers(2, 5))):
        if i and data.draw(st.integers(0, 3)) == 0:
            link = ("where", {}), [data.draw(st.sampled_from(nodes)) for _ in range(3)]
        else:
            link = data.draw(LINKS), [data.draw(st.sampled_from(nodes[-2:]))]
        steps.append((f"s{i}", link[0][0], link[1], link[0][1]))
        nodes.append(f"s{i}")
    program = build(metas_of(arrays), *steps)
    # What one op gives is held against SciPy elsewhere; here only the cutting is in question.
    whole = in_blocks(program, arrays, nodes[-1], (n, n))
    cut = in_blocks(program, arrays, nodes[-1], blocks_of(data.draw, (n, n)))
    np.testing.assert_array_equal(cut, whole)


def test_planes_picked_from_afar_are_read_alone(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with open("stack.bin", "wb") as file:  # noqa: PTH123
        for t in (0, 7, 9_999):
            file.seek(t * 1_000_000)
            file.write(bytes([t % 251 + 1]) * 1_000_000)
    flow = """\
flow: f
sources: {v: {from: raw, path: stack.bin, dtype: uint8, shape: [10000, 1000, 1000], dims: [t, y, x]}}
steps:
  few: {op: isel, of: v, indexers: {t: [9999, 7, -10000, 7]}}
  smooth: {op: uniform, of: few}
sinks: {few: {to: npy, of: few, path: few.npy}, smooth: {to: npy, of: smooth, path: smooth.npy}}
"""
    report = hpcflow.run(loads(flow), cluster="synchronous", memory="1GiB")
    assert report.exit_code == 0
    few = np.load("few.npy")
    np.testing.assert_array_equal(few[:, 3, 3], [9_999 % 251 + 1, 8, 1, 8])
    np.testing.assert_array_equal(np.load("smooth.npy"), ndimage.uniform_filter(few, 3))

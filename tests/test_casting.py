"""Floats that integers cannot hold: one answer for an element, whatever lies around it and whoever computes it."""

from fractions import Fraction

import numpy as np
import pytest
from cutting import build, in_blocks, metas_of
from hypothesis import given, settings
from hypothesis import strategies as st

import hpcflow
from hpcflow.casting import cast
from hpcflow.errors import Mismatch
from hpcflow.spec.validate import loads

INTEGERS = ["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"]
FLOATS = ["float16", "float32", "float64"]
POWERS = [s * (2.0**n + d) for n in (0, 7, 8, 15, 16, 31, 32, 63, 64) for d in (-1, -0.5, 0, 0.5, 1) for s in (1, -1)]
SPECIAL = [np.nan, np.inf, -np.inf, 0.0, -0.0, 1e10, -1e10, 1e300, 5e-324, *POWERS]
CUTS = [7, 64, 1003]


def expected(value, dtype):
    """By whole numbers of any length: cut off, then held to the range; 0 of NaN."""
    limits = np.iinfo(dtype)
    if np.isnan(value):
        return 0
    if np.isinf(value):
        return limits.max if value > 0 else limits.min
    return min(max(int(Fraction(value)), int(limits.min)), int(limits.max))


def line(dtype):
    """The special values, each somewhere in the middle of ordinary ones, for any width of a vector loop."""
    with np.errstate(over="ignore"):
        special = np.array(SPECIAL, dtype)
    values = np.random.default_rng(0).integers(0, 100, 2006).astype(dtype)
    values[::17] = np.resize(special, len(values[::17]))
    values[-len(special) :] = special
    return values


@pytest.mark.parametrize("dtype", INTEGERS)
@pytest.mark.parametrize("source", FLOATS)
def test_a_float_becomes_the_nearest_integer_that_fits_under_any_cut(source, dtype):
    x = line(source)
    right = np.array([expected(one, dtype) for one in x.tolist()], dtype)
    for steps in (
        [("out", "astype", ["x"], {"dtype": dtype})],
        [("out", "expr", ["x"], {"expr": f"{dtype}(x)"})],
        [("a", "expr", ["x"], {"expr": "x * 1"}), ("out", "astype", ["a"], {"dtype": dtype})],
    ):
        program = build(metas_of({"x": x}), *steps)
        for cut in CUTS:
            np.testing.assert_array_equal(in_blocks(program, {"x": x}, "out", (cut,)), right)


@settings(deadline=None, max_examples=100)
@given(st.data())
def test_any_pair_of_dtypes(data):
    names = [*INTEGERS, *FLOATS, "bool"]
    source, wanted = data.draw(st.sampled_from(names)), np.dtype(data.draw(st.sampled_from(names)))
    with np.errstate(all="ignore"):
        x = cast(line("float64"), source, np)
        wrapped, held = cast(x, wanted, np), cast(x, wanted, np, clip=True)
        plain = x.astype(wanted)
    if x.dtype.kind != "f" or wanted.kind not in "iu":
        np.testing.assert_array_equal(wrapped, plain)
    if wanted.kind in "iu" and x.dtype.kind in "iuf":
        right = [expected(one, wanted) for one in x.tolist()]
        np.testing.assert_array_equal(held, np.array(right, wanted))


@pytest.mark.parametrize(
    ("values", "dtype", "found"),
    [
        (np.array([1.5, 300.0, 2.0]), "uint8", "expected numbers from 0 to 255, found 300.0 and 0 more"),
        (np.array([1.5, np.nan, -1.0]), "uint8", "found nan and 1 more that uint8 cannot hold"),
        (np.array([5, -1, 256]), "uint8", "found -1 and 1 more that uint8 cannot hold"),
        (np.array([1e300, np.inf]), "float32", "found 1e+300 and 0 more that float32 cannot hold"),
    ],
)
def test_what_does_not_fit_is_refused_where_the_flow_says_so(values, dtype, found):
    with np.errstate(all="ignore"), pytest.raises(Mismatch) as caught:
        cast(values, dtype, np, refuse=True)
    assert found in str(caught.value)


@pytest.mark.parametrize("dtype", INTEGERS)
def test_what_fits_is_not_refused(dtype):
    limits = np.iinfo(dtype)
    for x in (np.array([limits.min, 0, limits.max], dtype), np.array([limits.min, -0.9, 1.9], "f8")):
        np.testing.assert_array_equal(cast(x, dtype, np, refuse=True), x.astype(dtype))


FLOW = """\
flow: f
sources:
  x: {from: npy, path: x.npy}
steps:
  twice: {op: expr, expr: "x * 2 - x"}
  out: {op: astype, of: twice, dtype: uint16, casting: CASTING}
  total: {op: sum, of: x, dtype: int64}
  again: {op: expr, expr: "uint16(sqrt(x * x)) + 0 * out"}
sinks:
  out: {to: npy, of: out, path: out.npy}
  total: {to: json, of: total, path: total.json}
  again: {to: npy, of: again, path: again.npy}
"""


@pytest.mark.parametrize("cluster", ["synchronous", "threads"])
def test_a_run_gives_one_value_for_one_element(cluster, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    x = np.full((1003, 64), 1e10, "f4")
    x[::3] = np.nan
    np.save("x.npy", x)
    hpcflow.run(loads("block: [7, 64]\n" + FLOW.replace("CASTING", "clip")), cluster=cluster, fresh=True)
    right = np.where(np.isnan(x), 0, 65535)
    np.testing.assert_array_equal(np.load("out.npy"), right)
    np.testing.assert_array_equal(np.load("again.npy"), right)


def test_a_refusal_says_where(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    x = np.zeros((300, 4), "f4")
    x[200, 1] = -7
    np.save("x.npy", x)
    with pytest.raises(hpcflow.RunError) as caught:
        hpcflow.run(loads(FLOW.replace("CASTING", "refuse")), cluster="synchronous")
    assert "found -7.0 and 0 more that uint16 cannot hold" in str(caught.value)
    assert "<flow>:6:" in str(caught.value)

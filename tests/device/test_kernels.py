"""Kernels for a device give NumPy's values: their own text, compiled for this processor."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpcflow.kernels import cuda
from hpcflow.kernels.trace import FUNCTIONS, OPERATIONS
from hpcflow.program.evaluate import evaluate
from hpcflow.program.fuse import Reduction, fused
from hpcflow.program.program import Fused
from hpcflow.registry import get_op
from tests.cutting import build, metas_of
from tests.device.fake import FakeArray, FakeCupy, compiles
from tests.kernels.test_fuse import array, names, programs, read_from

pytestmark = pytest.mark.skipif(not compiles(), reason="needs g++")


def on_device(arrays):
    read = read_from(arrays)
    return lambda name, region: read(name, region).view(FakeArray)


def check(program, arrays, wanted, schedule, xp, **tolerance):
    with np.errstate(all="ignore"):
        plain = evaluate(program, wanted, read_from(arrays))
        got = evaluate(program, wanted, on_device(arrays), xp, schedule=schedule)
    for name in wanted:
        assert got[name].dtype == plain[name].dtype
        if tolerance:
            np.testing.assert_allclose(got[name], plain[name], **tolerance)
        else:
            np.testing.assert_array_equal(got[name], plain[name], err_msg=str(program))
    return got


@settings(deadline=None, max_examples=8)
@given(st.data())
def test_formulas_equal_numpy(data):
    shape = (3, 70)
    smaller = st.sampled_from([shape, shape, (1, 70), (3, 1), (1, 1), (70,), ()])
    arrays = {"a": data.draw(array(shape))} | {n: data.draw(smaller.flatmap(array)) for n in "bc"}
    steps = programs(data.draw, arrays)
    program = build(metas_of(arrays), *steps)
    # Not from the first element on, so that arrays are views with gaps.
    wanted = {name: ((0, 3), (1, 70)) for name, *_ in steps if program.metas[name].shape == shape}
    check(program, arrays, wanted, fused(program, wanted, [], "cuda"), FakeCupy())


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_functions_are_within_the_last_digits(dtype):
    draw = np.random.default_rng(0)
    arrays = {n: draw.uniform(0.1, 0.9, (4, 5)).astype(dtype) for n in "ab"}
    texts = {name: f"{name}(a, b) + 1" if getattr(np, name).nin == 2 else f"{name}(a) + 1" for name in FUNCTIONS}
    texts["arccosh"] = "arccosh(a + 1)"
    program = build(metas_of(arrays), *((name, "expr", names(text), {"expr": text}) for name, text in texts.items()))
    schedule = fused(program, texts, [], "cuda")
    # One kernel for all: each of them reads `a`.
    assert [type(unit) for unit in schedule.units] == [Fused]
    wanted = dict.fromkeys(texts, ((0, 4), (0, 5)))
    check(program, arrays, wanted, schedule, FakeCupy(), rtol=1e-6 if dtype == "f4" else 1e-14)


def test_a_processor_leaves_functions_to_numpy():
    program = build(metas_of({"a": np.ones(3)}), ("s", "expr", ["a"], {"expr": "exp(a) + a * a"}))
    assert [type(unit) for unit in fused(program, ["s"], []).units] != [Fused]
    assert {*OPERATIONS, *FUNCTIONS, "cast", "bool", "where"} == {*cuda._TEXT}


@settings(deadline=None, max_examples=8)
@given(st.data())
def test_sums_and_extremes_of_any_layout(data):
    shape = tuple(data.draw(st.lists(st.integers(1, 9), min_size=1, max_size=5)))
    x = data.draw(array(tuple(2 * n for n in shape)))
    order = data.draw(st.permutations(range(len(shape))))
    steps = [data.draw(st.sampled_from([1, -1, 2])) for _ in shape]
    x = x[tuple(slice(None, None, s) for s in steps)].transpose(order)
    arrays = {"x": x}
    program = build(metas_of(arrays), ("y", "expr", ["x"], {"expr": "where(x > 0, x, x) + (x == 1)"}))
    whole = tuple((0, n) for n in program.metas["y"].shape)
    axis = tuple(range(x.ndim))
    ends = [Reduction(op, "y", get_op(op), {"axis": axis, "keepdims": False}) for op in ("min", "max")]
    dtype = {"dtype": None}
    ends += [Reduction(op, "y", get_op(op), {"axis": axis, "keepdims": False} | dtype) for op in ("sum", "mean")]
    schedule = fused(program, ["y"], ends, "cuda")
    xp = FakeCupy()
    got = check(program, arrays, {"y": whole}, schedule, xp)
    y = got["y"].view(np.ndarray)
    assert xp.kernels == sum(isinstance(unit, Fused) for unit in schedule.units)
    for one in ends:
        with np.errstate(all="ignore"):
            (exact,) = one.op([y], one.params, np)
        if one.node in got:
            (value,) = got[one.node]
            assert (value.shape, value.dtype) == (exact.shape, exact.dtype)
            np.testing.assert_allclose(
                np.asarray(value), exact, rtol=1e-12, atol=1e-300 if y.dtype.kind != "f" else 1e-9
            )

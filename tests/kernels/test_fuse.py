"""Runs of steps as one loop give NumPy's values and dtypes, element for element."""

from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
import scipy.ndimage as ndi
from hypothesis import given, settings
from hypothesis import strategies as st

from hpcflow.clusters.profiles import open_pool
from hpcflow.errors import Mismatch
from hpcflow.execute.progress import Silent
from hpcflow.execute.run import Outcome, run_plan
from hpcflow.kernels import compiling
from hpcflow.planning import blocks
from hpcflow.planning.plan import make_plan
from hpcflow.program.evaluate import evaluate
from hpcflow.program.fuse import Reduction, fused
from hpcflow.program.program import Fused
from hpcflow.regions import slices, whole
from hpcflow.registry import get_op
from hpcflow.spec.validate import loads
from tests.cutting import build, metas_of

DTYPES = ["?", "u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f4", "f8"]
pytestmark = pytest.mark.usefixtures("own_cache")
NUMBERS = ["0", "1", "2", "-3", "0.5", "1e-3", "100", "inf"]


@st.composite
def formulas(draw, depth=3):
    if depth == 0 or draw(st.integers(0, 4)) == 0:
        return draw(st.sampled_from(["a", "b", "c", *NUMBERS]))
    sub = formulas(depth=depth - 1)
    kind = draw(st.integers(0, 4))
    if kind == 0:
        name = draw(
            st.sampled_from(["sqrt", "abs", "square", "isnan", "isfinite", "isinf", "logical_not", "floor", "-", "~"])
        )
        return f"{name}({draw(sub)})"
    if kind == 1:
        name = draw(st.sampled_from(["minimum", "maximum", "fmin", "fmax", "logical_and", "logical_xor"]))
        return f"{name}({draw(sub)}, {draw(sub)})"
    if kind == 2:
        return f"where({draw(sub)} > {draw(sub)}, {draw(sub)}, {draw(sub)})"
    if kind == 3:
        return f"clip({draw(sub)}, -1, {draw(st.sampled_from(['3', '2.5', '100']))})"
    sign = draw(st.sampled_from(["+", "-", "*", "/", "<", ">=", "==", "&", "|", "^"]))
    return f"({draw(sub)} {sign} {draw(sub)})" if draw(st.integers(0, 5)) else f"({draw(sub)} ** 2)"


@st.composite
def array(draw, shape):
    dtype = np.dtype(draw(st.sampled_from(DTYPES)))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    if dtype.kind == "f":
        values = rng.normal(0, 10, shape).astype(dtype)
        special = rng.choice([np.nan, np.inf, -np.inf, 0.0], shape)
        return np.where(rng.random(shape) < 0.2, special, values).astype(dtype)
    return (
        rng.integers(0, 256, (*shape, dtype.itemsize), np.uint8)
        .view(dtype if dtype.kind != "b" else "u1")[..., 0]
        .astype(dtype)
    )


def programs(draw, arrays):
    """As many of some random formulas as fit, each a step."""
    steps = []
    for i in range(12):
        text = draw(formulas())
        try:
            build(metas_of(arrays), (f"s{i}", "expr", names(text), {"expr": text}))
        except (Mismatch, OverflowError):
            continue
        steps.append((f"s{i}", "expr", names(text), {"expr": text}))
    return steps


def names(text):
    return get_op("expr").inputs(expr=text)


def read_from(arrays):
    return lambda name, region: arrays[name][slices(region, whole(arrays[name].shape))]


@settings(deadline=None, max_examples=10)
@given(st.data())
def test_fused_formulas_equal_numpy(data):
    shape = (3, 300)
    smaller = st.sampled_from([shape, shape, (1, 300), (3, 1), (1, 1), (300,), ()])
    arrays = {"a": data.draw(array(shape))} | {n: data.draw(smaller.flatmap(array)) for n in "bc"}
    steps = programs(data.draw, arrays)
    program = build(metas_of(arrays), *steps)
    wanted = {name: ((0, 3), (1, 300)) for name, *_ in steps if program.metas[name].shape == shape}
    check(program, arrays, wanted, fused(program, wanted, []))


def check(program, arrays, wanted, schedule):
    with np.errstate(all="ignore"):
        plain = evaluate(program, wanted, read_from(arrays))
        got = evaluate(program, wanted, read_from(arrays), schedule=schedule)
    for name in wanted:
        np.testing.assert_array_equal(got[name], plain[name], strict=True, err_msg=str(program))
    return got


def reduction(program, name, op, of):
    return Reduction(
        name, of, get_op(op), {"axis": tuple(range(program.metas[of].ndim)), "keepdims": False, **extra(op)}
    )


def extra(op):
    return {"dtype": None} if op in ("sum", "mean") else {}


@settings(deadline=None, max_examples=5)
@given(st.data(), st.sampled_from(DTYPES))
def test_reductions_at_the_end_of_a_chain(data, dtype):
    shape = (5, 7, 90)
    arrays = {"x": np.random.default_rng(data.draw(st.integers(0, 99))).integers(0, 100, shape).astype(dtype)}
    if data.draw(st.booleans()) and dtype[0] == "f":
        arrays["x"][1, 2, 3] = np.nan
    steps = [("y", "expr", ("x",), {"expr": "x * x + x"})]
    program = build(metas_of(arrays), *steps)
    pairs = [("sum", "x"), ("mean", "y"), ("min", "y"), ("max", "y")]
    ends = [reduction(program, f"{op}_{of}", op, of) for op, of in pairs]
    region = tuple((1, n) for n in shape)
    wanted = dict.fromkeys(["x", "y"], region)
    schedule = fused(program, [], ends)
    got = evaluate(program, wanted, read_from(arrays), schedule=schedule)
    given = [name for unit in schedule.units if isinstance(unit, Fused) for name in unit.reductions]
    assert dtype == "?" or {one.node for one in ends} == set(given)
    plain = evaluate(program, wanted, read_from(arrays))
    for one in ends:
        if one.node not in given:
            continue
        (want,) = one.op([plain[one.of]], one.params, np)
        (found,) = got[one.node]
        assert found.dtype == want.dtype
        np.testing.assert_allclose(found, want, rtol=1e-12, strict=True)


def test_a_run_is_one_loop_and_long_filters_cut_it():
    arrays = {"x": np.random.default_rng(0).normal(size=(40, 50)).astype(np.float32)}
    program = build(
        metas_of(arrays),
        ("a", "expr", ("x",), {"expr": "x * 2 + 1"}),
        ("b", "clip", ("a",), {"min": 0}),
        ("c", "gaussian", ("b",), {"sigma": 2}),
        ("d", "expr", ("b", "c"), {"expr": "b - c"}),
        ("e", "normalize", ("d",), {"mean": 0.5, "std": 2.0}),
        ("f", "threshold", ("e",), {"value": 0.1}),
        ("g", "expr", ("e",), {"expr": "exp(e)"}),
        ("h", "where", ("f", "e", "g"), {}),
    )
    schedule = fused(program, ["h", "b"], [reduction(program, "total", "sum", "h")])
    found = [[s.name for s in u.steps] if isinstance(u, Fused) else u.name for u in schedule.units]
    assert found == [["a", "b"], "c", ["d", "e", "f"], "g", ["h"]]
    wanted = {"h": ((3, 20), (0, 31)), "b": ((3, 20), (0, 31))}
    got = check(program, arrays, wanted, schedule)
    np.testing.assert_allclose(got["total"][0], got["h"].sum(dtype=float), rtol=1e-12)


def test_loops_are_kept_on_disk_and_do_without(tmp_path, monkeypatch):
    arrays = {"x": np.arange(600, dtype=np.float32)}
    program = build(metas_of(arrays), ("y", "expr", ("x",), {"expr": "sqrt(x) + x ** 2 - 7"}))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(compiling, "_loaded", {})
    check(program, arrays, {"y": ((0, 600),)}, fused(program, ["y"], []))
    assert list(tmp_path.glob("hpcflow/loops/loop_*.py"))
    assert list(tmp_path.glob("hpcflow/loops/__pycache__/*.nbc"))
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    monkeypatch.setattr(compiling, "_loaded", {})
    check(program, arrays, {"y": ((0, 600),)}, fused(program, ["y"], []))


FLOW = """
flow: compiled
sources: {{x: {{from: npy, path: {folder}/x.npy}}}}
steps:
  s: {{op: uniform, of: x, size: 3, mode: wrap}}
  d: {{op: expr, expr: "sqrt(abs(x - s)) + x ** 2"}}
  m: {{op: mean, of: d, axis: [1], keepdims: true}}
  total: {{op: sum, of: d}}
  most: {{op: max, of: x}}
  left: {{op: expr, expr: "where(d > m, d / most, 0)"}}
sinks:
  total: {{to: npy, of: total, path: {folder}/total.npy}}
  most: {{to: npy, of: most, path: {folder}/most.npy}}
  left: {{to: npy, of: left, path: {folder}/left.npy}}
"""


@settings(deadline=None, max_examples=12)
@given(st.integers(4, 12), st.integers(4, 12))
def test_a_compiled_flow_gives_the_whole_array_answer(block, tile):
    with TemporaryDirectory() as folder, small(2**block, 2**tile), open_pool("synchronous") as pool:
        x = np.random.default_rng(0).normal(size=(13, 31)).astype(np.float32)
        np.save(Path(folder, "x.npy"), x)
        plan = make_plan(
            loads(FLOW.format(folder=folder)), run_dir=Path(folder, "run"), workers=1, threads=1, budget=2**34
        )
        assert all(stage.compiled for stage in plan.stages)
        run_plan(plan, pool, Outcome(), max_bad=0, progress=Silent())
        d = np.sqrt(np.abs(x - ndi.uniform_filter(x, 3, mode="wrap"))) + x**2
        want = np.where(d > d.mean(1, keepdims=True, dtype=float).astype(np.float32), d / x.max(), 0)
        np.testing.assert_allclose(np.load(Path(folder, "total.npy")), d.sum(dtype=float), rtol=1e-6)
        np.testing.assert_array_equal(np.load(Path(folder, "most.npy")), x.max())
        np.testing.assert_allclose(np.load(Path(folder, "left.npy")), want, rtol=1e-5)


@contextmanager
def small(block, tile):
    """Cut into blocks and tiles of a few elements, and compile all the same."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"LARGEST_BLOCK": block, "TILE": tile, "TASK_COST": 1, "COMPILED": 1}.items():
            patch.setattr(blocks, name, value)
        yield


@pytest.mark.parametrize("dtype", ["int16", "int32", "int64"])
def test_whole_numbers_that_do_not_fit_wrap_around_as_numpy_s(dtype):
    # Numba tells LLVM that signed numbers never overflow, and a comparison behind one is then left out.
    least, most = np.iinfo(dtype).min, np.iinfo(dtype).max
    x = np.array([[most, least, least + 1, most - 1, most // 2 + 1, 0, -1, 77] * 40] * 3, dtype)
    formulas = ["abs(x + x)", "abs(x)", "maximum(-x, 0)", "sqrt(clip(square(x), -1, 3))", "maximum(x - 5 * x, 0)"]
    for formula in formulas:
        check_formula({"x": x}, formula)


def check_formula(arrays, formula):
    program = build(metas_of(arrays), ("s", "expr", tuple(arrays), {"expr": formula}))
    wanted = {"s": tuple((0, n) for n in program.metas["s"].shape)}
    check(program, arrays, wanted, fused(program, ["s"], []))

"""Every op stays on its device: on array-api-strict's second one, an implicit move to the host raises."""

import sys

import numpy as np
import pytest

from hpcflow.ops._functions import FUNCTIONS
from hpcflow.program.evaluate import evaluate
from hpcflow.regions import slices, whole
from hpcflow.registry import get_op
from tests.cutting import build, metas_of
from tests.device.cases import CASES, arrays_for, params_of, placed

strict = pytest.importorskip("tests.device.strict", reason="needs array-api-strict", exc_type=ImportError)


@pytest.fixture
def xp(monkeypatch):
    for name in ("ndimage", "fft", "signal"):
        whole_name = f"cupyx.scipy.{name}"
        monkeypatch.setitem(sys.modules, whole_name, strict.Companion(whole_name))
    return strict.Namespace("cupy_strict")


def compare(program, arrays, out, xp):
    """A program on the device, and on NumPy's arrays."""
    wanted = {out: whole(program.metas[out].shape)}

    def read(name, region):
        return arrays[name][slices(region, whole(arrays[name].shape))]

    with np.errstate(all="ignore"):
        exact = evaluate(program, wanted, read)[out]
        got = evaluate(program, wanted, lambda name, r: xp.asarray(read(name, r)), xp)[out]
    # Records are the host's: `top_k` moves what they are made of.
    assert isinstance(got, strict.Strict) or got.dtype.names
    got = got.get() if isinstance(got, strict.Strict) else got
    assert got.dtype == exact.dtype
    for field in got.dtype.names or [...]:
        np.testing.assert_allclose(got[field], exact[field], rtol=1e-4, atol=1e-5)


@pytest.fixture(scope="module", autouse=True)
def _told():
    yield
    # What stands in for the device's library is what the standard has not: parts of real numbers, decimals.
    there = {strict.STANDARD.get(name, name) for name in strict.stood_in} & {*dir(strict.standard)}
    assert there <= {"real", "imag", "round"}


def test_the_device_lets_nothing_go():
    x = strict.Namespace("xp").asarray([1.0, 2.0])
    for move in (np.asarray, np.sum, lambda one: np.add(np.ones(2), one), lambda one: np.asarray(one.held)):
        with pytest.raises((RuntimeError, AssertionError, TypeError, AttributeError)):
            move(x)


@pytest.mark.parametrize("dtype", ["uint8", "float32", "nan"])
@pytest.mark.parametrize(("name", "given"), CASES)
def test_op(name, given, dtype, xp):
    arrays = arrays_for(name, dtype)
    op = get_op(name)
    if op.is_reduction:
        params, (x,) = params_of(name, given), arrays.values()
        with np.errstate(all="ignore"):
            exact, got = op([x], params, np, **placed(x)), op([xp.asarray(x)], params, xp, **placed(x))
        for one, other in zip(got, exact, strict=True):
            assert isinstance(one, strict.Strict)
            np.testing.assert_array_equal(one.get(), other, strict=True)
        return
    try:
        program = build(metas_of(arrays), ("out", name, list(arrays), given))
    except ValueError:
        pytest.skip("not for this dtype")
    compare(program, arrays, "out", xp)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_function_of_a_formula(name, xp):
    draw = np.random.default_rng(0)
    arrays = {n: draw.uniform(0.1, 0.9, (4, 5)) for n in "abc"[: FUNCTIONS[name][0]]}
    text = f"{name}({', '.join(arrays)})"
    try:
        program = build(metas_of(arrays), ("out", "expr", list(arrays), {"expr": text}))
    except ValueError:
        pytest.skip("not for floats")
    compare(program, arrays, "out", xp)

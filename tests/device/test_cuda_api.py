"""Every op calls CuPy as CuPy is: run where CuPy is installed, without a GPU (`make test-cuda-api`)."""

import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpcflow.kernels import cuda
from hpcflow.ops._functions import FUNCTIONS
from hpcflow.program.evaluate import evaluate
from hpcflow.program.fuse import fused
from hpcflow.program.program import Fused
from hpcflow.regions import slices, whole
from hpcflow.registry import get_op, names
from tests.cutting import build, metas_of
from tests.device import recording
from tests.device.cases import CASES, ELSEWHERE, arrays_for, params_of, placed
from tests.device.recording import Recorded, Recording
from tests.kernels.test_fuse import array, programs

cupy = pytest.importorskip("cupy")


@pytest.fixture
def xp(monkeypatch):
    for name in ("ndimage", "fft", "signal"):
        monkeypatch.setitem(sys.modules, f"cupyx.scipy.{name}", Recording(f"cupyx.scipy.{name}", f"scipy.{name}"))
    return Recording("cupy", "numpy")


def compare(program, arrays, out, xp):
    """A program on recorded arrays, and on NumPy's."""
    wanted = {out: whole(program.metas[out].shape)}

    def read(name, region):
        return arrays[name][slices(region, whole(arrays[name].shape))]

    with np.errstate(all="ignore"):
        exact = evaluate(program, wanted, read)[out]
        got = evaluate(program, wanted, lambda name, r: Recorded(read(name, r)), xp)[out]
    got = got.get() if hasattr(got, "get") else got
    assert got.dtype == exact.dtype
    for field in got.dtype.names or [...]:
        np.testing.assert_allclose(got[field], exact[field], rtol=1e-4, atol=1e-5)


def test_every_op_has_a_case():
    assert {name for name, _ in CASES} | ELSEWHERE == {*names("ops")} - {"labelled"}


@pytest.mark.parametrize("dtype", ["uint8", "float32", "nan"])
@pytest.mark.parametrize(("name", "given"), CASES)
def test_op(name, given, dtype, xp):
    arrays = arrays_for(name, dtype)
    op = get_op(name)
    if op.is_reduction:
        params, (x,) = params_of(name, given), arrays.values()
        with np.errstate(all="ignore"):
            exact, got = op([x], params, np, **placed(x)), op([Recorded(x)], params, xp, **placed(x))
        for one, other in zip(got, exact, strict=True):
            np.testing.assert_array_equal(one.get(), other, strict=True)
        return
    try:
        program = build(metas_of(arrays), ("out", name, list(arrays), given))
    except ValueError:
        pytest.skip("not for this dtype")
    compare(program, arrays, "out", xp)


@pytest.mark.parametrize("dtype", ["float32", "int32", "bool"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_function_of_a_formula(name, dtype, xp):
    draw = np.random.default_rng(0)
    arrays = {n: (draw.random((4, 5)) * 9).astype(dtype) for n in "abc"[: FUNCTIONS[name][0]]}
    text = f"{name}({', '.join(arrays)})"
    try:
        program = build(metas_of(arrays), ("out", "expr", list(arrays), {"expr": text}))
    except ValueError:
        pytest.skip("not for this dtype")
    compare(program, arrays, "out", xp)


@pytest.mark.parametrize("sign", ["+", "-", "*", "/", "//", "%", "**", "<", "<=", ">", ">=", "==", "!="])
def test_operator_of_a_formula(sign, xp):
    arrays = {"a": np.arange(1, 7.0), "b": np.arange(2, 8.0)}
    for text in (f"a {sign} b", f"2 {sign} a", f"a {sign} 3"):
        of = [name for name in arrays if name in text]
        compare(build(metas_of(arrays), ("out", "expr", of, {"expr": text})), arrays, "out", xp)


def nvrtc(source):
    from cupy_backends.cuda.libs import nvrtc as library  # noqa: PLC0415

    program = library.createProgram(source, "kernel.cu", [], [])
    try:
        library.compileProgram(program, [*cuda.OPTIONS, "--gpu-architecture=compute_80"])
    except library.NVRTCError as error:
        raise AssertionError(f"{library.getProgramLog(program)}\n{source}") from error
    return library.getPTX(program)


@settings(deadline=None, max_examples=25)
@given(st.data())
def test_kernels_compile_for_a_gpu(data):
    arrays = {n: data.draw(array((3, 7))) for n in "abc"}
    steps = programs(data.draw, arrays)
    program = build(metas_of(arrays), *steps)
    for unit in fused(program, [name for name, *_ in steps], [], "cuda").units:
        if isinstance(unit, Fused):
            for axes, wide in ((0, False), (1, False), (2, True), (4, False)):
                assert b".entry kernel" in nvrtc(unit.loop.source(axes, wide=wide))


def test_kernels_of_all_functions_and_reductions_compile():
    x = np.ones((3, 7), "f4")
    for dtype in ("f4", "f8", "i8", "u1", "?"):
        arrays = {n: x.astype(dtype) for n in "ab"}
        for text in ("arctan2(a, b) + exp(a) ** 2.5", "where(a > inf, nan, -inf) + b", "a * 3 - 2147483648"):
            try:
                program = build(metas_of(arrays), ("s", "expr", ["a", "b"][: 1 + ("b" in text)], {"expr": text}))
            except ValueError:
                continue
            for unit in fused(program, ["s"], [], "cuda").units:
                if isinstance(unit, Fused):
                    nvrtc(unit.loop.source(1, wide=False))


def test_what_was_used_is_more_than_a_little():
    if len(recording.used) > 1:  # some of the tests may have been left out
        print("\n".join(sorted(recording.used)))

"""Fourier transforms and matrix products, in any blocks, against SciPy and NumPy."""

import numpy as np
import pytest
import scipy.fft
from hypothesis import given, settings
from hypothesis import strategies as st

from hpcflow.errors import Mismatch
from hpcflow.meta import Meta
from hpcflow.ops.matmul import PANEL, matmul
from tests.cutting import meta_of, run


@settings(deadline=None, max_examples=40)
@given(st.data(), st.sampled_from(["fft", "ifft"]), st.sampled_from(["backward", "ortho", "forward"]))
def test_transforms_along_any_axes(data, op, norm):
    shape = tuple(data.draw(st.lists(st.integers(1, 9), min_size=1, max_size=3)))
    dtype = data.draw(st.sampled_from(["float32", "float64", "int16", "complex64"]))
    x = np.random.default_rng(0).normal(0, 9, shape).astype(dtype)
    axes = data.draw(st.lists(st.integers(0, len(shape) - 1), min_size=1, unique=True))
    got = run(data.draw, op, [x], axes=axes, norm=norm)
    want = getattr(scipy.fft, f"{op}n")(x, axes=axes, norm=norm)
    assert got.dtype == want.dtype
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-5 * np.abs(want).max())


@settings(deadline=None, max_examples=40)
@given(st.data())
def test_products_in_any_blocks(data):
    n, k, m = (data.draw(st.integers(1, 8)) for _ in range(3))
    stack = tuple(data.draw(st.lists(st.integers(1, 3), max_size=1)))
    rng = np.random.default_rng(0)
    a, b = (
        rng.integers(-9, 9, shape).astype(data.draw(st.sampled_from(["f4", "f8", "i4", "u1"])))
        for shape in ((*stack, n, k), (*stack, k, m))
    )
    np.testing.assert_array_equal(run(data.draw, "matmul", [a, b]), a @ b, strict=True)


@pytest.mark.parametrize("shape", [(3 * PANEL + 7, 5), (2, PANEL + 1, 5)])
def test_a_product_is_the_same_to_the_last_bit_on_any_number_of_cores(shape):
    rng = np.random.default_rng(0)
    a, b = rng.random(shape, np.float32), rng.random((*shape[:-2], 5, 700), np.float32)
    first, *others = (matmul(a, b, cores=cores, xp=np) for cores in (1, 2, 5))
    np.testing.assert_allclose(first, a @ b, rtol=1e-6)
    for other in others:
        np.testing.assert_array_equal(first, other, strict=True)


def test_names_of_a_products_axes():
    a, b = Meta((2, 3), "f4", ("y", "k")), Meta((3, 4), "f4", ("k", "x"))
    assert meta_of("matmul", a, b).dims == ("y", "x")
    square = Meta((3, 3), "f4", ("y", "x"))
    assert meta_of("matmul", square, square).dims == ("y", "x")


@pytest.mark.parametrize(("first", "second"), [((3,), (3,)), ((2, 3), (2, 3)), ((2, 3, 4), (1, 4, 5))])
def test_matrices_that_do_not_fit(first, second):
    with pytest.raises(Mismatch, match="expected"):
        meta_of("matmul", Meta(first, "f4"), Meta(second, "f4"))

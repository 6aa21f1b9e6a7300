"""The middle of a resized picture is that of Pillow's, bit for bit."""

import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from PIL import Image

from hpcflow.kernels.resample import middle, rows_first

lengths = st.integers(1, 60)


@settings(max_examples=300, deadline=None)
@given(
    shape=st.tuples(lengths, lengths),
    target=st.tuples(lengths, lengths),
    kind=st.sampled_from(["bilinear", "bicubic"]),
    seed=st.integers(0, 99),
    data=st.data(),
)
def test_as_pillow(shape, target, kind, seed, data):
    assume(rows_first(shape, target))
    draw = np.random.default_rng(seed)
    # Black and white too: there bicubic sums leave the range of a byte.
    pixels = draw.choice([0, 255], (*shape, 3)) if seed % 2 else draw.integers(0, 256, (*shape, 3))
    pixels = pixels.astype(np.uint8)
    corner = tuple(data.draw(st.integers(0, n - 1)) for n in target)
    size = tuple(data.draw(st.integers(1, n - first)) for n, first in zip(target, corner, strict=True))
    whole = Image.fromarray(pixels).resize(target[::-1], Image.Resampling[kind.upper()])
    expected = np.asarray(whole)[corner[0] : corner[0] + size[0], corner[1] : corner[1] + size[1]]
    np.testing.assert_array_equal(middle(pixels, target, corner, size, kind), expected)

"""Flat binary files: what of a file an array leaves out is said."""

import numpy as np
import pytest

from hpcflow.sources.raw import raw
from hpcflow.spec.validate import loads


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"shape": [10, 8], "offset": 16}, ()),
        ({"shape": [-1, 8], "offset": 16}, ()),
        (
            {"shape": [4, 8], "offset": 16},
            ("48 bytes behind its 48 that are not read: `shape: [10, 8]` reads",),
        ),
        ({"shape": [-1, 8]}, ()),
        ({"shape": [-1, 7]}, ("found 5 bytes behind its 91 that are not read: check `shape`",)),
    ],
)
def test_what_a_raw_array_leaves_of_its_file_is_said(given, said, tmp_path):
    (tmp_path / "x.bin").write_bytes(bytes(range(96)))
    source = raw(path=str(tmp_path / "x.bin"), dtype="uint8", **given)
    assert len(source.notes) == len(said)
    assert all(one in note for one, note in zip(said, source.notes, strict=True))
    whole = np.arange(96, dtype="u1")[given.get("offset", 0) :]
    shape = source.meta.shape
    np.testing.assert_array_equal(source.read(tuple((0, n) for n in shape)), whole[: np.prod(shape)].reshape(shape))


def test_check_says_it_at_the_path(tmp_path):
    (tmp_path / "x.bin").write_bytes(bytes(96))
    text = f"flow: f\nsources: {{x: {{from: raw, path: {tmp_path}/x.bin, dtype: uint8, shape: [4]}}}}\n"
    (warning,) = loads(text + "sinks: {x: {to: npy, of: x, path: x.npy}}\n").warnings
    assert "found 92 bytes behind its 4 that are not read: `shape: [96]` reads them" in str(warning)

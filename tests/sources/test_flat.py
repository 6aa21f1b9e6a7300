"""Parts of flat files: what is read at once, and what is mapped."""

import os
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hpcflow.errors import FlowError, RunError
from hpcflow.regions import slices, whole
from hpcflow.sources import _flat
from hpcflow.sources.npy import open_npy
from hpcflow.spec.validate import loads


@settings(deadline=None, max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.integers(1, 60), min_size=0, max_size=3), st.sampled_from(["<f4", ">f4", "<i2", "u1", "<c16"]),
    st.sampled_from("CF"), st.sampled_from([0, 64, 2**16]), st.sampled_from([64, 1024, 2**23]), st.data(),
)  # fmt: skip
def test_any_region_is_that_of_the_array(tmp_path, shape, dtype, order, small, stretch, data):  # noqa: PLR0917  (drawn)
    """However little is read at once, and however the array lies in its file."""
    array = np.asarray(np.random.default_rng(0).integers(0, 99, shape).astype(dtype), order=order)
    np.save(tmp_path / "x.npy", array)
    bounds = [sorted(data.draw(st.tuples(st.integers(0, n), st.integers(0, n)))) for n in shape]
    region = tuple((a, b) for a, b in bounds)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_flat, "SMALL", small)
        patch.setattr(_flat, "STRETCH", stretch)
        source = open_npy(str(tmp_path / "x.npy"))
        found = source.read(region)
        np.testing.assert_array_equal(found, array[slices(region, whole(array.shape))])
        assert found.dtype == array.dtype.newbyteorder("=")
        if found.size and found.dtype == source.stored:
            assert not found.flags.writeable
            assert source.maps(region) == isinstance(found.base, _flat.mmap.mmap)


def test_a_file_that_is_cut_short_between_a_look_and_a_read(tmp_path, monkeypatch):
    """An error, where a page beyond the end of a mapped file would end the process."""
    path = tmp_path / "x.npy"
    np.save(path, np.zeros((1000, 1000), "f4"))
    source = open_npy(str(path))
    before = path.stat()
    os.truncate(path, 2_000_000)
    looks = iter([before])
    now = os.fstat
    monkeypatch.setattr(_flat.os, "fstat", lambda number: next(looks, None) or now(number))
    with pytest.raises(RunError, match=r"expected 4000128 bytes in `.*x\.npy`, found 2000000"):
        source.read(((0, 1000), (0, 1000)))


@settings(deadline=None, max_examples=300)
@given(data=st.data())
def test_damaged_headers_are_one_error_with_its_place(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("damaged") / "a.npy"
    np.save(path, np.zeros((3, 4), np.float32))
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, min(127, len(content) - 1)))
        content[at : at + data.draw(st.integers(0, 4))] = data.draw(st.binary(max_size=4))
    path.write_bytes(content)
    text = f"{{flow: a, sources: {{x: {{from: npy, path: {path}}}}}, sinks: {{y: {{to: npy, of: x, path: y.npy}}}}}}"
    with suppress(FlowError):  # anything else that is raised fails the test
        source = loads(text).nodes["x"].source
        if source.meta.nbytes < 2**20:
            source.read(whole(source.meta.shape))

"""Any shape, chunks and shards, four threads at once, a store that dawdles: every byte right."""

import random
import time
from concurrent.futures import ThreadPoolExecutor
from math import prod
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
import zarr
from harness import FULL, times
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hpcflow.meta import Meta
from hpcflow.regions import slices, tiles, whole
from hpcflow.registry import function
from hpcflow.sinks import _parts

pytestmark = pytest.mark.timeout(3600 if FULL else 300)


@st.composite
def layouts(draw):
    """A shape, chunks, perhaps shards, and how many of them make a block."""
    ndim = draw(st.integers(1, 3))
    axis = st.integers(1, 7)
    chunks = draw(st.tuples(*[axis] * ndim))
    shards = None
    if draw(st.booleans()):
        shards = tuple(c * draw(st.integers(1, 3)) for c in chunks)
    shape = draw(st.tuples(*[st.integers(1, 25 if ndim < 3 else 11)] * ndim))
    times_grain = draw(st.tuples(*[st.integers(1, 3)] * ndim))
    return shape, chunks, shards, times_grain


def _dawdle(monkeypatch, seed):
    """Let each write of the store take a while of its own, so that races have room."""
    waits, create = random.Random(seed), _parts._create

    def slow(*args):
        time.sleep(waits.choice([0, 0, 0.0005, 0.002]))
        return create(*args)

    monkeypatch.setattr(_parts, "_create", slow)


@pytest.mark.parametrize("kind", ["zarr", "npy"])
def test_blocks_from_four_threads_are_the_array(kind, monkeypatch, rng, figures):
    _dawdle(monkeypatch, rng.random())
    examples = times(25, 500)
    seen = []

    @settings(deadline=None, max_examples=examples, suppress_health_check=list(HealthCheck))
    @given(layouts(), st.sampled_from(["f4", "i2", "u1"]), st.randoms(use_true_random=False))
    def hold(layout, dtype, order):
        shape, chunks, shards, times_grain = layout
        array = np.arange(prod(shape)).reshape(shape).astype(dtype)
        with TemporaryDirectory() as folder, ThreadPoolExecutor(4) as pool:
            path = str(Path(folder, "a"))
            more = {} if kind == "npy" else {"chunks": list(chunks)}
            more |= {"shards": list(shards)} if shards and kind == "zarr" else {}
            target = function("sinks", kind)(path=path, **more).target(Meta(shape, dtype)).owned("key", "1")
            target.create()
            block = tuple(g * n for g, n in zip(target.grain, times_grain, strict=True))
            regions = list(tiles(whole(shape), block))
            order.shuffle(regions)
            hashes = list(pool.map(lambda r: target.write(r, array[slices(r, whole(shape))]), regions))
            target.finish()
            got = np.load(path) if kind == "npy" else zarr.open_array(path, mode="r")[...]
            assert got.dtype == array.dtype
            np.testing.assert_array_equal(got, array)
            assert [target.digest(region) for region in regions] == hashes
            assert [one.name for one in Path(folder).iterdir()] == ["a"]
            assert not list(Path(folder).rglob("*.partial"))
        seen.append(len(regions))

    hold()
    figures(kind=kind, arrays=len(seen), blocks=sum(seen), wrong_bytes=0)

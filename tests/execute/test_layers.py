"""What neighbouring blocks share is decoded once, and never more of it is kept than was said."""

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

import hpcflow
from hpcflow.execute.layers import Layers, turn_to
from hpcflow.meta import Meta
from hpcflow.planning.stages import Shared
from hpcflow.regions import slices, whole
from hpcflow.sources.zarr import ZarrSource
from hpcflow.spec.validate import loads


@dataclass
class Chunked:
    """An array in memory, as if it were stored in chunks; counts how often each layer is read."""

    array: np.ndarray
    chunks: tuple[int, ...]
    read_times: Counter = field(default_factory=Counter)
    broken: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def meta(self):
        return Meta(self.array.shape, self.array.dtype)

    def read(self, region):
        with self.lock:
            self.broken -= 1
            if self.broken >= 0:
                raise OSError("away")
            depth = self.chunks[0]
            self.read_times.update(range(region[0][0] // depth, -(-region[0][1] // depth)))
        return self.array[slices(region, whole(self.array.shape))]


def held(layers):
    return sum(len(one) for one in layers._held.values())


@settings(deadline=None, max_examples=80)
@given(st.data())
def test_any_region_is_what_the_source_holds(data):
    shape = data.draw(st.lists(st.integers(1, 30), min_size=1, max_size=3).map(tuple))
    chunks = tuple(data.draw(st.integers(1, n + 2)) for n in shape)
    source = Chunked(np.arange(np.prod(shape)).reshape(shape), chunks)
    kept, tasks = data.draw(st.integers(1, 3)), data.draw(st.integers(1, 3))
    layers = Layers({"x": Shared(kept, 1, 1.0)}, tasks)
    for _ in range(4):
        starts = [data.draw(st.integers(0, n - 1)) for n in shape]
        region = tuple((a, data.draw(st.integers(a + 1, n))) for a, n in zip(starts, shape, strict=True))
        got = layers.read("x", source, region)
        np.testing.assert_array_equal(got, source.array[slices(region, whole(shape))], strict=True)
        assert held(layers) <= kept * tasks


@settings(deadline=None, max_examples=30)
@given(
    depth=st.integers(1, 9), each=st.integers(1, 4), halo=st.integers(1, 9), blocks=st.integers(2, 9),
    tasks=st.integers(1, 3),
)  # fmt: skip
def test_slabs_in_turn_decode_every_layer_once(depth, each, halo, blocks, tasks):
    halo = min(halo, depth)
    rows = depth * each
    source = Chunked(np.arange(rows * blocks * 3).reshape(-1, 3), (depth, 2))
    layers = Layers({"x": Shared(2, 1, float(each))}, tasks)
    for first in range(0, rows * blocks, rows):
        region = (max(0, first - halo), min(rows * blocks, first + rows + halo)), (0, 3)
        np.testing.assert_array_equal(layers.read("x", source, region), source.array[slice(*region[0])])
    assert set(source.read_times.values()) == {1}


def test_tasks_at_once_wait_for_the_one_that_decodes():
    source = Chunked(np.arange(4000).reshape(1000, 4), (10, 4))
    layers = Layers({"x": Shared(100, 1, 1.0)}, 1)
    with ThreadPoolExecutor(8) as pool:
        parts = list(pool.map(lambda _: layers.read("x", source, whole((1000, 4))), range(16)))
    assert all((part == source.array).all() for part in parts)
    assert set(source.read_times.values()) == {1}


def test_what_could_not_be_read_is_read_again():
    source = Chunked(np.arange(8).reshape(4, 2), (2, 2), broken=1)
    layers = Layers({"x": Shared(2, 1, 1.0)}, 1)
    with pytest.raises(OSError, match="away"):
        layers.read("x", source, whole((4, 2)))
    np.testing.assert_array_equal(layers.read("x", source, whole((4, 2))), source.array)


def test_the_next_stage_lets_go_of_what_the_last_one_kept():
    source = Chunked(np.zeros((4, 2)), (2, 2))
    one, other = (Layers({"x": Shared(2, 1, 1.0)}, 1) for _ in range(2))
    turn_to(one)
    one.read("x", source, whole((4, 2)))
    turn_to(one)
    assert held(one) == 2
    turn_to(other)
    assert held(one) == 0


def test_a_run_in_slabs_decodes_every_chunk_once(tmp_path, monkeypatch):
    x = np.random.default_rng(0).integers(0, 999, (96, 20, 30)).astype("u2")
    stored = zarr.create_array(tmp_path / "x.zarr", shape=x.shape, chunks=(8, 20, 15), dtype=x.dtype)
    stored[:] = x
    flow = loads(f"""
        flow: slabs
        sources: {{x: {{from: zarr, path: {tmp_path}/x.zarr}}}}
        steps: {{y: {{op: gaussian, of: x, sigma: 1.5}}}}
        sinks: {{y: {{to: zarr, of: y, path: {tmp_path}/y.zarr, chunks: [8, 20, 30]}}}}
        block: [16]
    """)
    reads, read = [], ZarrSource.read

    def counted(source, region):
        reads.append(region)
        return read(source, region)

    monkeypatch.setattr(ZarrSource, "read", counted)
    hpcflow.run(flow, run_dir=tmp_path / "run", cluster="synchronous")
    np.testing.assert_array_equal(zarr.open_array(tmp_path / "y.zarr")[:], ndimage.gaussian_filter(x, 1.5))
    assert sorted(reads) == [((n, n + 8), (0, 20), (0, 30)) for n in range(0, 96, 8)]

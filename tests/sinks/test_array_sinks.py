"""What every array sink holds to: blocks in any order, from any thread, are the array."""

from __future__ import annotations

import multiprocessing
import pickle
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

import hpcflow
from hpcflow.errors import Mismatch, RunError
from hpcflow.meta import ArraySink, Meta, Target
from hpcflow.parameters import validate
from hpcflow.regions import slices, tiles, whole
from hpcflow.registry import function
from hpcflow.sinks._chunks import TARGET, auto_chunks, divisor
from hpcflow.sinks.npy import NpyTarget
from hpcflow.spec.validate import loads


def open_sink(kind, params):
    made = function("sinks", kind)
    return made(**validate(made, params))


def read_npy(path):
    return np.load(path, allow_pickle=False)


def read_zarr(path):
    return np.asarray(zarr.open_array(path, mode="r")[...])


CASES = {
    "npy": ("npy", {}, read_npy),
    "zarr": ("zarr", {}, read_zarr),
    "zarr, zstd": ("zarr", {"codec": "zstd"}, read_zarr),
    "zarr, gzip": ("zarr", {"codec": "gzip"}, read_zarr),
    "zarr, no codec": ("zarr", {"codec": "none"}, read_zarr),
}


@pytest.fixture(params=CASES.values(), ids=CASES)
def case(request, tmp_path):
    kind, params, read = request.param
    return open_sink(kind, {"path": str(tmp_path / "out" / "result"), **params}), read


def values(shape, dtype="float32"):
    return (np.random.default_rng(0).random(shape) * 100).astype(dtype)


def write_all(target, array, block, threads=4):
    """Write an array block by block in a shuffled order from several threads."""
    step = [max(1, b // g) * g for b, g in zip(block, target.grain, strict=True)]
    regions = list(tiles(whole(array.shape), step))
    np.random.default_rng(1).shuffle(regions)
    regions = [tuple((int(a), int(b)) for a, b in region) for region in regions]
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(lambda r: target.write(r, array[slices(r, whole(array.shape))]), regions))


@pytest.mark.parametrize(
    ("shape", "block"),
    [((100,), (7,)), ((37, 41), (8, 41)), ((37, 41), (37, 3)), ((5, 13, 17), (2, 5, 6)), ((3, 4, 5, 6), (1, 4, 2, 6))],
)
def test_blocks_in_any_order_are_the_array(case, shape, block):
    sink, read = case
    array = values(shape)
    target = sink.target(Meta(shape, array.dtype))
    assert isinstance(sink, ArraySink)
    assert isinstance(target, Target)
    target.create()
    write_all(target, array, block)
    target.finish()
    np.testing.assert_array_equal(read(target.path), array)
    assert read(target.path).dtype == array.dtype


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int16", "uint64", "float16", "float64", "complex64", "complex128"])
def test_every_dtype_of_numbers(case, dtype):
    sink, read = case
    array = values((9, 10), dtype)
    target = sink.target(Meta(array.shape, array.dtype))
    target.create()
    write_all(target, array, (4, 10))
    target.finish()
    np.testing.assert_array_equal(read(target.path), array)
    assert read(target.path).dtype == array.dtype


@pytest.mark.parametrize("array", [np.array(2.5), np.zeros((0, 3)), np.zeros((1, 1))], ids=lambda a: str(a.shape))
def test_unusual_shapes(case, array):
    sink, read = case
    target = sink.target(Meta(array.shape, array.dtype))
    target.create()
    target.write(whole(array.shape), array)
    target.finish()
    np.testing.assert_array_equal(read(target.path), array)
    assert read(target.path).shape == array.shape


def test_nothing_stands_under_the_name_before_it_is_finished(case):
    sink, _ = case
    array = values((6, 6))
    target = sink.target(Meta(array.shape, array.dtype))
    assert not Path(target.path).parent.exists()
    target.create()
    target.write(whole(array.shape), array)
    assert not Path(target.path).exists()
    target.finish()
    assert [one.name for one in Path(target.path).parent.iterdir()] == ["result"]


def test_an_earlier_result_stays_until_the_new_one_is_finished(case):
    sink, read = case
    first, second = values((6, 6)), values((4, 9), "int16")
    for array in (first, second):
        target = sink.target(Meta(array.shape, array.dtype))
        target.create()
        if array is second:
            np.testing.assert_array_equal(read(target.path), first)
        target.write(whole(array.shape), array)
        target.finish()
        np.testing.assert_array_equal(read(target.path), array)
    assert [one.name for one in Path(target.path).parent.iterdir()] == ["result"]


def test_what_a_killed_run_left_is_replaced(case):
    sink, read = case
    killed = sink.target(Meta((50, 50), "float64"))
    killed.create()
    killed.write(((0, 50), (0, 50)), np.ones((50, 50)))
    array = values((6, 6))
    target = sink.target(Meta(array.shape, array.dtype))
    target.create()
    target.write(whole(array.shape), array)
    target.finish()
    np.testing.assert_array_equal(read(target.path), array)


def test_a_target_travels_as_a_small_value(case):
    sink, _ = case
    target = sink.target(Meta((6, 6), "float32", ("y", "x")))
    assert len(pickle.dumps(target)) < 2000
    assert pickle.loads(pickle.dumps(target)) == target


def _write_rows(target, array, rows):
    for row in rows:
        target.write(((row, row + 1), (0, array.shape[1])), array[row : row + 1])


def test_npy_from_several_processes(tmp_path):
    array = values((32, 50))
    target = NpyTarget(str(tmp_path / "a.npy"), Meta(array.shape, array.dtype))
    target.create()
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        list(pool.map(_write_rows, [target] * 2, [array] * 2, [range(0, 32, 2), range(1, 32, 2)]))
    target.finish()
    np.testing.assert_array_equal(np.load(target.path), array)


def test_npy_of_records(tmp_path):
    record = np.dtype([("class_id", "i8"), ("score", "f4")])
    array = np.zeros((4, 5), record)
    array["class_id"] = np.arange(20).reshape(4, 5)
    array["score"] = 0.5
    target = NpyTarget(str(tmp_path / "a.npy"), Meta(array.shape, record))
    target.create()
    write_all(target, array, (3, 2))
    target.finish()
    np.testing.assert_array_equal(np.load(target.path, allow_pickle=False), array)


def test_npy_does_not_replace_a_folder(tmp_path):
    (tmp_path / "a.npy").mkdir()
    with pytest.raises(RunError, match="expected no folder"):
        NpyTarget(str(tmp_path / "a.npy"), Meta((2,), "f4")).create()


def test_npy_refuses_objects(tmp_path):
    with pytest.raises(Mismatch, match="expected numbers"):
        open_sink("npy", {"path": str(tmp_path / "a.npy")}).target(Meta((2,), object))


def zarr_target(path, shape, dtype="float32", names=(), **params):
    return open_sink("zarr", {"path": str(path), **params}).target(Meta(shape, dtype, names))


@pytest.mark.parametrize(
    ("params", "grain"),
    [
        ({"chunks": [4, 6]}, (4, 6)),
        ({"chunks": [64, 6]}, (20, 6)),
        ({"chunks": [2, 3], "shards": [4, 9]}, (4, 9)),
        ({"shards": [8, 12]}, (8, 12)),
    ],
)
def test_zarr_blocks_of_whole_chunks_or_shards(params, grain, tmp_path):
    array = values((20, 30))
    target = zarr_target(tmp_path / "a.zarr", array.shape, **params)
    assert target.grain == grain
    target.create()
    write_all(target, array, grain)
    target.finish()
    stored = zarr.open_array(target.path, mode="r")
    np.testing.assert_array_equal(stored[...], array)
    assert (stored.shards or stored.chunks) == grain


def test_zarr_refuses_a_part_of_a_chunk(tmp_path):
    target = zarr_target(tmp_path / "a.zarr", (20, 30), chunks=[4, 6])
    target.create()
    with pytest.raises(AssertionError, match="expected whole chunks"):
        target.write(((0, 4), (0, 5)), values((4, 5)))


@pytest.mark.parametrize("params", [{"chunks": [2, 2]}, {"chunks": [1, 1], "shards": [2, 2]}])
def test_zarr_writes_chunks_of_zeros_too(params, tmp_path):
    target = zarr_target(tmp_path / "a.zarr", (4, 3), **params)
    target.create()
    target.write(((0, 4), (0, 3)), np.zeros((4, 3), "f4"))
    target.finish()
    assert sum(one.is_file() for one in Path(target.path, "c").rglob("*")) == 4


def test_zarr_names_its_axes(tmp_path):
    for params, expected in (({}, ("y", None)), ({"dims": ["a", "b"]}, ("a", "b"))):
        target = zarr_target(tmp_path / "a.zarr", (4, 4), names=("y", None), **params)
        target.create()
        target.finish()
        assert zarr.open_array(target.path, mode="r").metadata.dimension_names == expected


def _text(path):
    path.mkdir()
    (path / "thesis.txt").write_text("years of work")


def _group(path):
    zarr.create_group(path).create_array("a", data=np.ones(3))


@pytest.mark.parametrize(
    "prepare", [_text, _group, lambda path: path.write_text("a file"), lambda p: p.symlink_to("/tmp")]
)
@pytest.mark.parametrize("suffix", ["", ".part"])
def test_zarr_never_removes_what_is_no_array(prepare, suffix, tmp_path):
    place = tmp_path / f"a.zarr{suffix}"
    prepare(place)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(RunError, match="expected a"):
        zarr_target(tmp_path / "a.zarr", (4, 4)).create()
    assert sorted(tmp_path.rglob("*")) == before


def test_zarr_checks_again_before_it_replaces(tmp_path):
    target = zarr_target(tmp_path / "a.zarr", (4, 4))
    target.create()
    _text(tmp_path / "a.zarr")
    with pytest.raises(RunError, match="found a folder of other files"):
        target.finish()
    assert (tmp_path / "a.zarr" / "thesis.txt").exists()


def test_zarr_replaced_halfway_is_put_back(tmp_path):
    first = zarr_target(tmp_path / "a.zarr", (2, 2))
    first.create()
    first.write(((0, 2), (0, 2)), np.ones((2, 2)))
    first.finish()
    (tmp_path / "a.zarr").rename(tmp_path / "a.zarr.hpcflow-replaced")
    zarr_target(tmp_path / "a.zarr", (4, 4)).create()
    assert read_zarr(tmp_path / "a.zarr").tolist() == [[1, 1], [1, 1]]


def test_zarr_takes_the_place_of_an_empty_folder(tmp_path):
    (tmp_path / "a.zarr").mkdir()
    target = zarr_target(tmp_path / "a.zarr", (2, 2))
    target.create()
    target.write(((0, 2), (0, 2)), np.ones((2, 2)))
    target.finish()
    assert read_zarr(target.path).tolist() == [[1, 1], [1, 1]]


@pytest.mark.parametrize(
    ("params", "dtype", "parameter", "message"),
    [
        ({}, [("class_id", "i8"), ("score", "f4")], None, "expected numbers"),
        ({}, "longdouble", None, "expected numbers"),
        ({"chunks": [4]}, "f4", "chunks", "expected 2 chunks"),
        ({"shards": [4]}, "f4", "shards", "expected 2 shards"),
        ({"dims": ["x"]}, "f4", "dims", "expected 2 dims"),
        ({"dims": ["x", "x"]}, "f4", "dims", "expected a different name"),
        ({"chunks": [4, 4], "shards": [6, 8]}, "f4", "shards", "expected shards of whole chunks"),
    ],
)
def test_zarr_refuses_what_does_not_fit(params, dtype, parameter, message, tmp_path):
    with pytest.raises(Mismatch, match=message) as caught:
        zarr_target(tmp_path / "a.zarr", (8, 8), np.dtype(dtype), **params)
    assert caught.value.parameter == parameter


def test_zarr_refuses_a_url():
    with pytest.raises(Mismatch, match="expected a local path"):
        open_sink("zarr", {"path": "s3://bucket/a.zarr"})


@pytest.mark.parametrize(
    ("shape", "dtype", "items", "chunks"),
    [
        ((8192, 8192), "float32", None, (1024, 1024)),
        ((8192, 8192), "uint8", None, (2048, 2048)),
        ((10**7,), "float64", None, (500_000,)),
        ((512, 512, 512), "float32", None, (64, 128, 128)),
        ((1080, 1920), "float32", None, (540, 960)),
        ((3, 100_000), "float32", None, (3, 100_000)),
        ((), "float32", None, ()),
        ((0, 5), "float32", None, (1, 5)),
        ((1000, 1000), "float32", "photos", (63, 1000)),
        ((1000, 224, 224, 3), "float32", "photos", (6, 224, 224, 3)),
        ((5, 4096, 4096), "float32", "photos", (1, 1024, 1024)),
    ],
)
def test_chunks_by_default(shape, dtype, items, chunks):
    assert auto_chunks(Meta(shape, dtype, items=items)) == chunks


@given(st.lists(st.integers(0, 5000), min_size=1, max_size=4), st.sampled_from(["u1", "f4", "c16"]), st.booleans())
@settings(deadline=None, max_examples=200)
def test_chunks_by_default_are_never_too_large(shape, dtype, items):
    meta = Meta(tuple(shape), dtype, items="photos" if items else None)
    chunks = auto_chunks(meta)
    assert all(1 <= c <= max(1, n) for c, n in zip(chunks, shape, strict=True))
    assert np.prod(chunks, dtype=float) * meta.dtype.itemsize <= TARGET


@given(st.integers(1, 5000), st.integers(1, 5000))
def test_divisor_cuts_whole_chunks(shard, side):
    assert shard % divisor(shard, side) == 0
    assert divisor(shard, side) <= side


def _consolidated(path):
    """A group of others', with consolidated metadata."""
    group = zarr.open_group(path, mode="w", attributes={"title": "scans"})
    group.create_array("old", data=np.arange(4), attributes={"units": "K"})
    group.create_group("sub").create_array("older", data=np.arange(3))
    return zarr.consolidate_metadata(path)


SINKS = "\n".join(f"  y{i}: {{to: zarr, of: x, path: g.zarr/{'sub/' * (i % 2)}y{i}}}" for i in range(4))


@pytest.mark.filterwarnings("ignore:Consolidated metadata")
def test_an_output_is_listed_in_the_consolidated_metadata_around_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    _consolidated("g.zarr")
    np.save("x.npy", np.arange(12.0).reshape(3, 4))
    source = "flow: f\nsources: {x: {from: npy, path: x.npy}}\nsinks:\n"
    pyramid = "  p: {to: ome_zarr, of: x, path: g.zarr/p, chunks: [2, 2], levels: 2, dims: [y, x]}\n"
    for _ in range(2):
        hpcflow.run(loads(source + pyramid + SINKS), cluster="threads", run_dir="runs/a")
    script = "import sys, hpcflow; hpcflow.run(sys.argv[1], cluster='synchronous', run_dir=sys.argv[2])"
    running = []
    for i in range(3):  # several runs that write into one group at a time
        Path(f"{i}.yaml").write_text(source + f"  z: {{to: zarr, of: x, path: g.zarr/z{i}}}\n")
        running.append(subprocess.Popen([sys.executable, "-c", script, f"{i}.yaml", f"runs/{i}"]))
    assert [one.wait(120) for one in running] == [0, 0, 0]
    group = zarr.open_consolidated("g.zarr")
    names = {"old", "sub", "sub/older", "p", "p/0", "p/1", "y0", "sub/y1", "y2", "sub/y3", "z0", "z1", "z2"}
    assert {name for name, _ in group.members(max_depth=None)} == names
    assert group.attrs["title"] == "scans"
    assert group["old"].attrs["units"] == "K"
    for name in ("y0", "sub/y3", "z2", "p/0"):
        np.testing.assert_array_equal(group[name][:], np.load("x.npy"))


def test_no_output_goes_where_a_group_of_version_2_would_not_show_it(tmp_path):
    zarr.open_group(tmp_path / "g.zarr", mode="w", zarr_format=2)
    for kind in ("zarr", "ome_zarr"):
        with pytest.raises(Mismatch, match="group of version 2") as error:
            function("sinks", kind)(path=str(tmp_path / "g.zarr/y"))
        assert error.value.parameter == "path"

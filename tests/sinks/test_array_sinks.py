"""What every array sink holds to: blocks in any order, from any thread, are the array."""

from __future__ import annotations

import multiprocessing
import pickle
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from hpcflow.errors import Mismatch, RunError
from hpcflow.meta import ArraySink, Meta, Target
from hpcflow.parameters import validate
from hpcflow.regions import slices, tiles, whole
from hpcflow.registry import function
from hpcflow.sinks.npy import NpyTarget


def open_sink(kind, params):
    made = function("sinks", kind)
    return made(**validate(made, params))


def read_npy(path):
    return np.load(path, allow_pickle=False)


CASES = {
    "npy": ("npy", {}, read_npy),
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

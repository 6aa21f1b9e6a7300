"""What every array source holds to, and what each refuses."""

from __future__ import annotations

import json
import os
import pickle
import re

import numpy as np
import pytest
import zarr

from hpcflow.errors import Mismatch, RunError
from hpcflow.meta import Source
from hpcflow.parameters import validate
from hpcflow.regions import shape_of, slices, whole
from hpcflow.registry import function

SHAPE = (7, 11, 5)


def _npy(folder, array):
    np.save(folder / "a.npy", array)
    return {"path": str(folder / "a.npy"), "dims": ["z", "y", "x"]}, array


def _npy_fortran(folder, array):
    return _npy(folder, np.asfortranarray(array))


def _npy_swapped(folder, array):
    return _npy(folder, array.astype(array.dtype.newbyteorder(">")))


def _raw(folder, array):
    (folder / "a.bin").write_bytes(b"header" + array.tobytes())
    return {"path": str(folder / "a.bin"), "dtype": "float32", "shape": list(SHAPE), "offset": 6}, array


def _raw_fortran(folder, array):
    big = array.astype(">f4")
    (folder / "a.bin").write_bytes(big.tobytes(order="F"))
    return {"path": str(folder / "a.bin"), "dtype": ">f4", "shape": list(SHAPE), "order": "F"}, array


def _zarr(folder, array, **options):
    stored = zarr.create_array(folder / "a.zarr", shape=SHAPE, dtype=array.dtype, **options)
    stored[:] = array
    return {"path": str(folder / "a.zarr")}, array


def _zarr_3(folder, array):
    return _zarr(folder, array, chunks=(3, 4, 5), dimension_names=["z", "y", "x"])


def _zarr_sharded(folder, array):
    return _zarr(folder, array, chunks=(2, 3, 5), shards=(4, 6, 5))


def _zarr_2(folder, array):
    return _zarr(folder, array, chunks=(3, 4, 2), zarr_format=2, order="F")


def _zarr_swapped(folder, array):
    return _zarr(folder, array.astype(">f4"), chunks=(3, 4, 2), zarr_format=2)


def _zarr_in_group(folder, array):
    group = zarr.create_group(folder / "g.zarr")
    group.create_array("images/raw", data=array, chunks=(7, 2, 2))
    return {"path": str(folder / "g.zarr"), "component": "images/raw"}, array


def _zarr_url(folder, array):
    params, array = _zarr(folder, array, chunks=(3, 4, 5))
    return {"path": f"file://{params['path']}", "storage_options": {"auto_mkdir": False}}, array


def _random(folder, array):
    return {"shape": list(SHAPE), "seed": 3}, np.random.default_rng(3).random(SHAPE)


def _random_single(folder, array):
    return {"shape": list(SHAPE), "dtype": "float32"}, np.random.default_rng(0).random(SHAPE, np.float32)


def _full(folder, array):
    return {"shape": list(SHAPE), "value": 2.5, "dtype": "float32"}, np.full(SHAPE, 2.5, np.float32)


CASES = {
    "npy": ("npy", _npy),
    "npy, Fortran order": ("npy", _npy_fortran),
    "npy, the other byte order": ("npy", _npy_swapped),
    "raw": ("raw", _raw),
    "raw, Fortran and byte order": ("raw", _raw_fortran),
    "zarr 3": ("zarr", _zarr_3),
    "zarr 3, sharded": ("zarr", _zarr_sharded),
    "zarr 2": ("zarr", _zarr_2),
    "zarr 2, the other byte order": ("zarr", _zarr_swapped),
    "zarr in a group": ("zarr", _zarr_in_group),
    "zarr behind a URL": ("zarr", _zarr_url),
    "random": ("random", _random),
    "random, float32": ("random", _random_single),
    "full": ("full", _full),
}


def open_source(kind, params):
    made = function("sources", kind)
    return made(**validate(made, params))


@pytest.fixture(params=CASES.values(), ids=CASES)
def opened(request, tmp_path):
    kind, prepare = request.param
    params, array = prepare(tmp_path, np.random.default_rng(1).random(SHAPE, np.float32))
    return open_source(kind, params), array


def some_regions(shape, count=60):
    rng = np.random.default_rng(2)
    yield whole(shape)
    for _ in range(count):
        yield tuple(tuple(sorted(int(i) for i in rng.integers(0, n + 1, 2))) for n in shape)


def test_any_region_is_that_part_of_the_whole(opened):
    source, array = opened
    for region in some_regions(array.shape):
        block = source.read(region)
        assert block.dtype == source.meta.dtype
        assert block.shape == shape_of(region)
        np.testing.assert_array_equal(block, array[slices(region, whole(array.shape))])


def test_meta_is_the_array_s_in_this_machine_s_byte_order(opened):
    source, array = opened
    assert isinstance(source, Source)
    assert source.meta.shape == array.shape
    assert source.meta.dtype == array.dtype.newbyteorder("=")
    assert source.meta.dtype.isnative


def test_a_source_travels_as_a_small_value(opened):
    source, array = opened
    packed = pickle.dumps(source)
    assert len(packed) < 2000
    again = pickle.loads(packed)
    assert again == source
    assert hash(again) == hash(source)
    np.testing.assert_array_equal(again.read(whole(array.shape)), array)


def test_identity_is_plain_and_stays(opened):
    source, _ = opened
    assert json.loads(json.dumps(source.identity)) == source.identity


def test_chunks_fit_the_array(opened):
    source, array = opened
    assert source.chunks is None or len(source.chunks) == array.ndim


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("shape", [(), (1,), (0,), (3, 0), (17,), (5, 3), (2, 3, 2, 3)])
def test_random_is_the_generator_s_for_any_shape(shape, dtype):
    source = open_source("random", {"shape": list(shape), "dtype": dtype, "seed": 11})
    expected = np.random.default_rng(11).random(shape, np.dtype(dtype))
    for region in some_regions(shape, 20):
        np.testing.assert_array_equal(source.read(region), expected[slices(region, whole(shape))])


@pytest.mark.parametrize("array", [np.array(3.5), np.zeros((0, 4)), np.arange(5, dtype=np.uint8)])
def test_npy_of_unusual_shapes(array, tmp_path):
    np.save(tmp_path / "a.npy", array)
    block = open_source("npy", {"path": str(tmp_path / "a.npy")}).read(whole(array.shape))
    np.testing.assert_array_equal(block, array)
    assert block.shape == array.shape


def test_npy_is_read_only_and_lives_without_its_source(tmp_path):
    np.save(tmp_path / "a.npy", np.arange(12.0))
    block = open_source("npy", {"path": str(tmp_path / "a.npy")}).read(((2, 7),))
    assert not block.flags.writeable
    assert not block.flags.owndata
    np.testing.assert_array_equal(block, np.arange(2.0, 7.0))


def test_npy_opens_by_an_absolute_path(tmp_path, monkeypatch):
    np.save(tmp_path / "a.npy", np.arange(3))
    monkeypatch.chdir(tmp_path)
    source = open_source("npy", {"path": "a.npy"})
    monkeypatch.chdir("/")
    assert source.read(((0, 3),)).tolist() == [0, 1, 2]


def test_npy_of_version_2(tmp_path):
    with (tmp_path / "a.npy").open("wb") as file:
        np.lib.format.write_array(file, np.arange(6), version=(2, 0))
    assert open_source("npy", {"path": str(tmp_path / "a.npy")}).read(((1, 3),)).tolist() == [1, 2]


def _truncate(path, by):
    os.truncate(path, path.stat().st_size - by)


def test_npy_truncated_before_opening_is_refused(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros(1000))
    _truncate(tmp_path / "a.npy", 8)
    with pytest.raises(Mismatch, match=r"expected 8128 bytes for shape \(1000,\) of float64, found 8120"):
        open_source("npy", {"path": str(tmp_path / "a.npy")})


def test_npy_truncated_after_opening_is_an_error_and_no_crash(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros(100_000))
    source = open_source("npy", {"path": str(tmp_path / "a.npy")})
    _truncate(tmp_path / "a.npy", 400_000)
    with pytest.raises(RunError, match="changed since opening"):
        source.read(((0, 100_000),))


def test_npy_rewritten_after_opening_is_an_error(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros(10))
    source = open_source("npy", {"path": str(tmp_path / "a.npy")})
    before = (tmp_path / "a.npy").stat().st_mtime_ns
    np.save(tmp_path / "a.npy", np.ones(10))
    os.utime(tmp_path / "a.npy", ns=(before + 1, before + 1))
    with pytest.raises(RunError, match="written to since opening"):
        source.read(((0, 10),))


def test_a_missing_file_is_said_to_be_missing(tmp_path):
    with pytest.raises(FileNotFoundError):
        open_source("npy", {"path": str(tmp_path / "none.npy")})
    with pytest.raises(FileNotFoundError):
        open_source("raw", {"path": str(tmp_path / "none"), "dtype": "u1", "shape": [1]})


def _objects(path):
    np.save(path, np.array([{"a": 1}], dtype=object), allow_pickle=True)


def _records(path):
    np.save(path, np.zeros(3, [("a", "i4"), ("b", "f4")]))


def _text(path):
    path.write_text("1,2,3\n")


def _empty(path):
    path.write_bytes(b"")


def _dates(path):
    np.save(path, np.zeros(3, "M8[s]"))


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (_objects, "expected an array of numbers, found one of Python objects"),
        (_records, "expected an array of numbers, found one of records"),
        (_dates, "expected an array of numbers, found one of `datetime64[s]`"),
        (_text, "expected a `.npy` file of version 1 or 2"),
        (_empty, "expected a `.npy` file of version 1 or 2"),
        (lambda path: path.mkdir(), "expected a file, found a folder"),
    ],
)
def test_npy_refuses_what_is_no_array_of_numbers(write, message, tmp_path):
    write(tmp_path / "a.npy")
    with pytest.raises(Mismatch, match=re.escape(message)) as caught:
        open_source("npy", {"path": str(tmp_path / "a.npy")})
    assert caught.value.parameter == "path"


@pytest.mark.parametrize("dims", [["y"], ["y", "y"], ["y", ""], ["a", "b", "c"]])
def test_dims_must_name_each_axis_once(dims, tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((2, 2)))
    with pytest.raises(Mismatch) as caught:
        open_source("npy", {"path": str(tmp_path / "a.npy"), "dims": dims})
    assert caught.value.parameter == "dims"


def test_raw_refuses_a_file_too_short(tmp_path):
    (tmp_path / "a").write_bytes(bytes(15))
    with pytest.raises(
        Mismatch, match=r"expected 18 bytes for shape \(2, 2\) of uint32 behind an offset of 2, found 15"
    ):
        open_source("raw", {"path": str(tmp_path / "a"), "dtype": "u4", "shape": [2, 2], "offset": 2})


def test_raw_that_is_not_aligned_is_read_right(tmp_path):
    (tmp_path / "a").write_bytes(b"xyz" + np.arange(5.0).tobytes())
    block = open_source("raw", {"path": str(tmp_path / "a"), "dtype": "f8", "shape": [5], "offset": 3}).read(((1, 4),))
    assert block.tolist() == [1, 2, 3]
    assert block.flags.aligned


@pytest.mark.parametrize(
    ("value", "dtype", "expected"),
    [(True, None, "bool"), (3, None, "int64"), (0.5, None, "float64"), (float("inf"), "float32", "float32")],
)
def test_full_takes_the_value_s_dtype(value, dtype, expected):
    source = open_source("full", {"shape": [2], "value": value, "dtype": dtype})
    block = source.read(((0, 2),))
    assert block.dtype == source.meta.dtype == expected
    assert block[1] == value


@pytest.mark.parametrize(
    ("value", "dtype"), [(300, "uint8"), (-1, "uint16"), (0.5, "int32"), (2**70, None), (10**400, "float32")]
)
def test_full_refuses_what_the_dtype_cannot_hold(value, dtype):
    with pytest.raises(Mismatch, match="expected a value that"):
        open_source("full", {"shape": [2], "value": value, "dtype": dtype})


@pytest.mark.parametrize(
    ("prepare", "chunks"), [(_zarr_3, (3, 4, 5)), (_zarr_sharded, (2, 3, 5)), (_zarr_2, (3, 4, 2))]
)
def test_zarr_chunks_are_what_is_decoded_whole(prepare, chunks, tmp_path):
    params, _ = prepare(tmp_path, np.zeros(SHAPE, "f4"))
    assert open_source("zarr", params).chunks == chunks


def test_zarr_dims_come_from_version_3(tmp_path):
    params, _ = _zarr_3(tmp_path, np.zeros(SHAPE, "f4"))
    assert open_source("zarr", params).meta.dims == ("z", "y", "x")
    assert open_source("zarr", {**params, "dims": ["t", None, "x"]}).meta.dims == ("t", None, "x")


@pytest.mark.parametrize(
    ("names", "dims"),
    [(["t", "y", "x"], ("t", "y", "x")), (["t", "y", "y"], ("t", None, None)), (["y"], (None,) * 3), (7, (None,) * 3)],
)
def test_zarr_dims_come_from_xarray_s_attribute(names, dims, tmp_path):
    params, _ = _zarr(tmp_path, np.zeros(SHAPE, "f4"), zarr_format=2, attributes={"_ARRAY_DIMENSIONS": names})
    assert open_source("zarr", params).meta.dims == dims


def test_zarr_group_names_its_arrays(tmp_path):
    params, _ = _zarr_in_group(tmp_path, np.zeros(SHAPE, "f4"))
    with pytest.raises(Mismatch, match="expected an array, found a group") as caught:
        open_source("zarr", {"path": params["path"]})
    assert caught.value.hint == 'give one of its arrays as `component`: "images/raw"'
    with pytest.raises(Mismatch, match="expected an array, found a group") as caught:
        open_source("zarr", {"path": params["path"], "component": "images"})
    assert caught.value.hint == 'give one of its arrays as `component`: "images/raw"'
    with pytest.raises(Mismatch, match="expected an array `image`") as caught:
        open_source("zarr", {"path": params["path"], "component": "image"})
    assert caught.value.parameter == "component"
    assert '"images/raw"' in caught.value.hint


def test_zarr_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError):
        open_source("zarr", {"path": str(tmp_path / "none")})
    with pytest.raises(FileNotFoundError):
        open_source("zarr", {"path": "memory://none/at/all"})


def _v2(folder, **changes):
    plain = {"zarr_format": 2, "shape": [4], "chunks": [2], "dtype": "<f4", "compressor": None}
    document = {**plain, "fill_value": 0, "order": "C", "filters": None, **changes}
    folder.mkdir()
    (folder / ".zarray").write_text(json.dumps(document))


@pytest.mark.parametrize(
    "changes",
    [
        {"filters": [{"id": "pickle", "protocol": 5}]},
        {"compressor": {"id": "pickle", "protocol": 5}},
        {"dtype": "|O", "filters": [{"id": "pickle", "protocol": 5}]},
        {"dtype": "<U5", "fill_value": ""},
        {"compressor": {"id": "nonsense"}},
        {"shape": "four"},
    ],
)
def test_zarr_refuses_pickles_and_what_is_no_array_of_numbers(changes, tmp_path):
    _v2(tmp_path / "a.zarr", **changes)
    with pytest.raises(Mismatch) as caught:
        open_source("zarr", {"path": str(tmp_path / "a.zarr")})
    assert caught.value.parameter == "path"


def test_zarr_attributes_may_mention_pickles(tmp_path):
    params, _ = _zarr(tmp_path, np.zeros(SHAPE, "f4"), attributes={"name": "pickle"})
    assert open_source("zarr", params).meta.shape == SHAPE


def test_zarr_refuses_a_folder_of_other_files(tmp_path):
    with pytest.raises(Mismatch, match="expected a Zarr array, found none"):
        open_source("zarr", {"path": str(tmp_path)})


def test_zarr_refuses_storage_options_for_a_path(tmp_path):
    params, _ = _zarr(tmp_path, np.zeros(SHAPE, "f4"))
    with pytest.raises(Mismatch) as caught:
        open_source("zarr", {**params, "storage_options": {"anon": True}})
    assert caught.value.parameter == "storage_options"


def test_zarr_never_shows_its_credentials(tmp_path):
    params, _ = _zarr_url(tmp_path, np.zeros(SHAPE, "f4"))
    source = open_source("zarr", {**params, "storage_options": {"auto_mkdir": False, "secret": "hunter2"}})
    assert "hunter2" not in repr(source)
    assert "hunter2" not in json.dumps(source.identity)


def test_zarr_of_which_a_chunk_is_damaged_names_its_place(tmp_path):
    params, _ = _zarr(tmp_path, np.ones(SHAPE, "f4"), chunks=SHAPE)
    source = open_source("zarr", params)
    chunk = tmp_path / "a.zarr" / "c" / "0" / "0" / "0"
    chunk.write_bytes(chunk.read_bytes()[:10])
    with pytest.raises(RunError, match=r"cannot read .* of `.*a\.zarr`"):
        source.read(whole(SHAPE))


def test_zarr_replaced_after_opening_is_an_error(tmp_path):
    params, _ = _zarr(tmp_path, np.ones(SHAPE, "f4"))
    source = open_source("zarr", params)
    zarr.create_array(tmp_path / "a.zarr", shape=SHAPE, dtype="f8", overwrite=True)
    with pytest.raises(RunError, match="found other metadata"):
        source.read(whole(SHAPE))


def test_zarr_of_no_axes(tmp_path):
    zarr.create_array(tmp_path / "a.zarr", shape=(), dtype="f8")[...] = 3
    block = open_source("zarr", {"path": str(tmp_path / "a.zarr")}).read(())
    assert block.shape == ()
    assert block == 3

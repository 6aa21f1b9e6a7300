"""Where Zarr stands, what is missing of it, when it has changed, and what its numbers mean."""

import json
import os
import pickle
import shutil
import subprocess
import sys
import threading
import zipfile
from contextlib import suppress
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import fsspec
import numpy as np
import pytest
import zarr
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import hpcflow
from hpcflow.errors import FlowError, Mismatch, RunError
from hpcflow.planning.memory import decoding
from hpcflow.regions import whole
from hpcflow.sources.xarray import xarray as open_xarray
from hpcflow.sources.zarr import zarr as open_zarr
from hpcflow.spec.validate import loads

ROOT = Path(__file__).parents[2]
FLOW = """flow: copy
block: [8, 8]
sources:
  x: {{from: zarr, path: "{path}"{more}}}
sinks:
  y: {{to: npy, of: x, path: out/y.npy}}
"""


class Files(SimpleHTTPRequestHandler):
    """A folder, with dates of change; or without, where the server has none to tell."""

    def send_header(self, keyword, value):
        if keyword != "Last-Modified" or self.server.dated:
            super().send_header(keyword, value)

    def log_message(self, *args):
        """Say nothing."""


@pytest.fixture
def web(tmp_path):
    (tmp_path / "web").mkdir()
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Files, directory=str(tmp_path / "web"))) as server:
        server.dated = True
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture(params=["file", "http", "http, no dates", "memory", "zip"])
def place(request, tmp_path, web):
    """Somewhere that an array can be written to and read from: its URL, and what writes one there."""
    kind = request.param
    web.dated = kind == "http"

    def write(array, chunks=(8, 8), missing=()):
        folder = tmp_path / "web/x.zarr"
        shutil.rmtree(folder, ignore_errors=True)
        zarr.create_array(folder, data=array, chunks=chunks)
        for name in missing:
            (folder / name).unlink()
        for file in folder.rglob("*"):  # the same size and, for a server, the same long past second
            os.utime(file, (1e9, 1e9 + write.times))
        write.times += 1 if kind == "http" else 0
        if kind == "memory":
            memory = fsspec.filesystem("memory")
            if memory.exists("/x.zarr"):
                memory.rm("/x.zarr", recursive=True)
            memory.put(str(folder), "/x.zarr", recursive=True)
        if kind == "zip":
            with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
                for file in folder.rglob("*"):
                    archive.write(file, file.relative_to(folder))

    write.times = 0
    urls = {"file": f"file://{tmp_path}/web/x.zarr", "memory": "memory://x.zarr", "zip": str(tmp_path / "x.zip")}
    return urls.get(kind, f"http://127.0.0.1:{web.server_port}/x.zarr"), write


def run(text):
    return hpcflow.run(loads(text), cluster="threads")


@pytest.mark.parametrize("again", ["the same", "another"])
def test_chunks_written_anew_are_read_again(place, again, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    url, write = place
    text = FLOW.format(path=url, more="")
    first = np.random.default_rng(0).integers(1, 9, (16, 16), np.int32)
    write(first)
    assert run(text).tasks["executed"] == 4
    second = first.copy()
    if again == "another":
        second[:8, :8] = 9 - second[:8, :8]
    write(second)
    report = run(text)
    np.testing.assert_array_equal(np.load("out/y.npy"), second)
    assert report.tasks["executed"] == (0 if again == "the same" else 1)


def test_what_is_missing_is_counted_refused_or_meant(place, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    url, write = place
    write(np.ones((16, 16)), missing=["c/0/1", "c/1/1"])
    flow = loads(FLOW.format(path=url, more=""))
    (warning,) = [str(one) for one in flow.warnings]
    assert "2 of 4 chunks missing" in warning
    assert "^" in warning
    assert hpcflow.plan(flow).to_json()["warnings"] == [warning]
    assert run(FLOW.format(path=url, more="")).to_json()["warnings"] == [warning]
    assert loads(FLOW.format(path=url, more=", missing: fill")).warnings == ()
    with pytest.raises(FlowError, match="2 of 4 chunks missing"):
        loads(FLOW.format(path=url, more=", missing: error"))
    write(np.ones((16, 16)))
    assert loads(FLOW.format(path=url, more=", missing: error")).warnings == ()


def test_shards_that_are_missing_are_counted(tmp_path):
    zarr.create_array(tmp_path / "x.zarr", data=np.ones((16, 16)), chunks=(4, 4), shards=(8, 8))
    (tmp_path / "x.zarr/c/1/0").unlink()
    (note,) = open_zarr(path=str(tmp_path / "x.zarr")).notes
    assert "1 of 4 shards missing" in note


@pytest.mark.parametrize("sink", ["zarr", "ome_zarr"])
def test_a_chunk_missing_from_an_output_is_an_error(sink, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("a.npy", np.zeros((16, 16)))
    options = "chunks: [8, 8], path: out.zarr"
    made = f"{{flow: a, sources: {{x: {{from: npy, path: a.npy}}}}, sinks: {{y: {{to: {sink}, of: x, {options}}}}}}}"
    run(made)
    component = ', component: "0"' if sink == "ome_zarr" else ""
    text = FLOW.format(path="out.zarr", more=component)
    assert loads(text).warnings == ()
    chunk = next(one for one in Path("out.zarr").rglob("c/1/*") if one.is_file())
    chunk.unlink()
    with pytest.raises(FlowError, match="1 of 4 chunks missing"):
        loads(text)
    assert open_zarr(path="out.zarr", component="0" if component else "", missing="fill").notes == ()


def test_a_chunk_that_goes_while_it_is_read_is_an_error_where_that_is_asked(tmp_path):
    zarr.create_array(tmp_path / "x.zarr", data=np.ones((16, 16)), chunks=(8, 8))
    source = open_zarr(path=str(tmp_path / "x.zarr"), missing="error")
    (tmp_path / "x.zarr/c/0/0").unlink()
    with pytest.raises(RunError, match="found it missing"):
        source.state(((0, 8), (0, 8)))


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("component", ["", "images/raw"])
def test_an_archive_is_read_as_its_folder_is(version, component, tmp_path):
    values = np.random.default_rng(0).random((9, 7), np.float32)
    store = zarr.storage.ZipStore(tmp_path / "x.zip", mode="w")
    group = zarr.create_group(store, zarr_format=version) if component else None
    if group is not None:
        group.create_array(component, data=values, chunks=(4, 4))
    else:
        zarr.create_array(store, data=values, chunks=(4, 4), zarr_format=version)
    store.close()
    source = open_zarr(path=str(tmp_path / "x.zip"), component=component)
    np.testing.assert_array_equal(source.read(whole((9, 7))), values)
    script = "import pickle, sys; print(pickle.load(sys.stdin.buffer).read(((0, 9), (0, 7))).sum())"
    done = subprocess.run(
        [sys.executable, "-c", script], input=pickle.dumps(source), capture_output=True, check=True, cwd=ROOT
    )
    assert done.stdout.decode().strip() == str(values.sum())


@pytest.mark.parametrize("damage", ["a text", "cut short", "another archive"])
def test_a_damaged_archive_is_one_error(damage, tmp_path):
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.txt", "b" * 1000)
    path.write_bytes({"a text": b"hello", "cut short": path.read_bytes()[:-30]}.get(damage, path.read_bytes()))
    with pytest.raises(Mismatch, match="expected a Zarr array"):
        open_zarr(path=str(path))


def test_paths_with_colons_are_no_urls(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a::b.zarr", "dask::x.zarr"):
        zarr.create_array(tmp_path / name, data=np.arange(4))
        assert open_zarr(path=name).read(((0, 4),)).tolist() == [0, 1, 2, 3]


@pytest.mark.timeout(60)
@pytest.mark.parametrize("name", ["zarr.json", ".zarray", ".zgroup", "c/0", "c"])
def test_a_pipe_is_never_waited_for(name, tmp_path):
    zarr.create_array(tmp_path / "x.zarr", data=np.arange(4), chunks=(4,), zarr_format=2 if name[0] == "." else 3)
    pipe = tmp_path / "x.zarr" / name
    shutil.rmtree(pipe) if pipe.is_dir() else pipe.unlink(missing_ok=True)
    os.mkfifo(pipe)
    if name in ("c", ".zgroup"):  # of no use to the array itself
        assert len(open_zarr(path=str(tmp_path / "x.zarr")).notes) == (name == "c")
        return
    with pytest.raises((Mismatch, RunError), match="named pipe"):
        open_zarr(path=str(tmp_path / "x.zarr")).read(((0, 4),))


xr = pytest.importorskip("xarray")
NUMBERS = ["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "float16", "float32", "float64"]
FILLS = st.sampled_from([None, 1, 3, 100])


@pytest.mark.filterwarnings("ignore")
@settings(deadline=None, max_examples=60)
@given(
    dtype=st.sampled_from(NUMBERS),
    version=st.sampled_from([2, 3]),
    scale=st.sampled_from([None, 0.5, 0.1, 2, 3.0]),
    offset=st.sampled_from([None, 0, 7, -1.5, 1000.25]),
    fill=FILLS,
    missing_value=FILLS,
    unsigned=st.sampled_from([None, "true", "false"]),
    boolean=st.booleans(),
)
def test_packed_numbers_mean_what_they_mean_to_xarray(  # noqa: PLR0917
    tmp_path_factory, dtype, version, scale, offset, fill, missing_value, unsigned, boolean
):
    # With a whole factor alone xarray casts NaN to an integer: here it stays NaN.
    assume(not (scale == 2 and offset is None and (fill or missing_value)))
    path = tmp_path_factory.mktemp("packed") / "x.zarr"
    values = np.array([0, 1, 2, 3, 100, 50, 7, 9]).astype(dtype)
    if dtype.startswith("int"):
        values[-2:] = -1, -100
    attributes = {"scale_factor": scale, "add_offset": offset, "missing_value": missing_value, "_Unsigned": unsigned}
    attributes = {name: value for name, value in attributes.items() if value is not None}
    if boolean and not attributes and fill is None:
        attributes["dtype"] = "bool"
    data = xr.Dataset({"x": ("n", values, attributes)})
    encoding = {"_FillValue": None if fill is None else values.dtype.type(fill), "chunks": (3,)}
    with xr.set_options(keep_attrs=True):
        data.to_zarr(path, zarr_format=version, consolidated=False, encoding={"x": encoding})
    expected = xr.open_zarr(path, consolidated=False, chunks=None, decode_times=False)["x"]
    for source in (
        open_zarr(path=str(path), component="x", missing="fill"),
        open_xarray(path=str(path), variable="x"),
    ):
        found = source.read(((0, 8),))
        assert (source.meta.dtype, found.dtype) == (expected.dtype, expected.dtype)
        np.testing.assert_array_equal(found, expected.to_numpy())
    raw = open_zarr(path=str(path), component="x", decode=False, missing="fill")
    np.testing.assert_array_equal(raw.read(((0, 8),)), values)


@pytest.mark.parametrize("attribute", [{}, {"_FillValue": 2}])
def test_the_fill_value_that_nobody_chose_masks_nothing(attribute, tmp_path):
    group = zarr.open_group(tmp_path / "x.zarr", mode="w", zarr_format=2)
    array = group.create_array("x", shape=(4,), dtype="int16", fill_value=0)
    array[:] = range(4)
    array.attrs.update({"_ARRAY_DIMENSIONS": ["n"], **attribute})
    expected = [0, 1, np.nan, 3] if attribute else [0, 1, 2, 3]
    for source in (
        open_zarr(path=str(tmp_path / "x.zarr"), component="x"),
        open_xarray(path=str(tmp_path / "x.zarr"), variable="x"),
    ):
        np.testing.assert_array_equal(source.read(((0, 4),)), expected)


def test_packed_numbers_are_planned_beside_their_values(tmp_path):
    shape = (512, 512)
    for name, attributes in (("plain", {}), ("packed", {"scale_factor": 0.5})):
        dtype = np.int64 if attributes else np.float64
        zarr.create_array(tmp_path / name, data=np.zeros(shape, dtype), chunks=(64, 64), attributes=attributes)
    plain, packed = (open_zarr(path=str(tmp_path / name)) for name in ("plain", "packed"))
    assert plain.meta == packed.meta
    assert decoding(packed, whole(shape)) - decoding(plain, whole(shape)) == 8 * 512 * 512


@pytest.mark.parametrize("attribute", [{"scale_factor": "a lot"}, {"_FillValue": [[1]]}, {"add_offset": None}])
def test_attributes_that_are_no_numbers_are_named(attribute, tmp_path):
    zarr.create_array(tmp_path / "x.zarr", data=np.arange(4), attributes=attribute)
    with pytest.raises(Mismatch, match=f"`{next(iter(attribute))}`") as caught:
        open_zarr(path=str(tmp_path / "x.zarr"))
    assert caught.value.parameter == "decode"
    assert open_zarr(path=str(tmp_path / "x.zarr"), decode=False).meta.dtype == np.int64


@settings(deadline=None, max_examples=150)
@given(data=st.data(), version=st.sampled_from([2, 3]))
def test_damaged_metadata_are_one_error(tmp_path_factory, data, version):
    folder = tmp_path_factory.mktemp("damaged")
    shards = {"shards": (4, 4)} if version == 3 else {}
    zarr.create_array(folder / "x.zarr", data=np.ones((8, 8), np.int16), chunks=(2, 2), zarr_format=version, **shards)
    file = folder / "x.zarr" / ("zarr.json" if version == 3 else ".zarray")
    document = json.loads(file.read_bytes())
    content = file.read_bytes()
    if data.draw(st.booleans()):
        name = data.draw(st.sampled_from(sorted(document)))
        odd = st.sampled_from(
            [None, -1, 0, 2**70, "x", [], {}, [[]], [1e400], [8, -8], [2, 0], {"name": "x"}, "NaN", True]
        )
        document[name] = data.draw(odd)
        content = json.dumps(document).encode()
    else:
        at = data.draw(st.integers(0, len(content) - 1))
        content = content[:at] + data.draw(st.binary(max_size=4)) + content[at + data.draw(st.integers(0, 9)) :]
    file.write_bytes(content)
    text = FLOW.format(path=folder / "x.zarr", more="")
    # Anything else that is raised here fails the test.
    with suppress(FlowError, RunError, OSError):
        source = loads(text).nodes["x"].source
        if source.meta.nbytes < 2**20:
            source.read(whole(source.meta.shape))

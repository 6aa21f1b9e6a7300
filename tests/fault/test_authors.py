"""What the author of a flow, or of what it reads, tries at the cost of whoever runs it."""

import io
import os
import pickle
import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import zarr
from typer.testing import CliRunner

import hpcflow
from hpcflow.cli import _shared, app
from hpcflow.errors import FlowError
from hpcflow.ingest import chunks
from hpcflow.meta import Meta
from hpcflow.ops.pad import folded, shown
from hpcflow.regions import tiles
from hpcflow.spec.validate import loads

FLOW = "flow: f\nsources: {x: %s}\n%ssinks: {y: {to: %s, of: %s, path: %s}}\n"
FULL = "{from: full, shape: [8, 8], value: 1.0}"


def flow(source=FULL, op="", sink="npy", path="y.npy"):
    steps = f"steps: {{s: {op}}}\n" if op else ""
    return FLOW % (source, steps, sink, "s" if op else "x", path)


class Harm:
    def __reduce__(self):
        return os.mkdir, ("harm",)


@pytest.mark.parametrize("scheme", ["filecache", "blockcache"])
@pytest.mark.parametrize("form", ["{}://{}", "{}::file://{}", "simplecache::{}::file://{}"])
def test_caches_that_unpickle_what_a_folder_holds_are_refused(scheme, form, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    zarr.save("a.zarr", np.ones(4))
    Path("notes").mkdir()
    Path("notes/cache").write_bytes(pickle.dumps(Harm()))
    options = "{target_protocol: file, cache_storage: notes}"
    url = form.format(scheme, tmp_path / "a.zarr")
    with pytest.raises(FlowError, match=f"found `{scheme}`"):
        loads(flow(f'{{from: zarr, path: "{url}", storage_options: {options}}}'))
    assert not Path("harm").exists()


@pytest.mark.parametrize("sink", ["npy", "csv", "json", "parquet", "png", "zarr", "ome_zarr"])
def test_no_way_around_a_folder_that_is_not_there_yet_leads_to_data_of_others(sink, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("mine").mkdir()
    Path("mine/kept").write_text("mine")
    path = "none/../mine" if "zarr" in sink else "none/../mine/kept"
    Path("f.yaml").write_text(flow(sink=sink, path=path))
    with pytest.raises(FlowError, match="found other data"):
        hpcflow.run("f.yaml", cluster="synchronous", dashboard=False)
    assert Path("mine/kept").read_text() == "mine"


def test_a_pipe_is_no_place_for_an_output(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe")
    Path("f.yaml").write_text(flow(path="pipe"))
    with pytest.raises(FlowError, match="found other data"):
        hpcflow.run("f.yaml", cluster="synchronous", dashboard=False)
    assert Path("pipe").is_fifo()


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ({"source": "{from: full, shape: [9223372036854775807, 9223372036854775807], value: 1}"}, "at most 1024 PiB"),
        ({"source": "{from: full, shape: [0, 9223372036854775807], value: 1}"}, "at most 1024 PiB"),
        ({"source": f"{{from: full, shape: [{'1, ' * 64}1], value: 1}}"}, "at most 64 axes, found 65"),
        ({"op": "{op: pad, of: x, pad_width: 4611686018427387904}"}, "at most 1024 PiB"),
        ({"op": "{op: tile, of: x, reps: {0: 9223372036854775807}}"}, "at most 1024 PiB"),
        ({"op": "{op: repeat, of: x, repeats: 9223372036854775807, axis: 0}"}, "at most 1024 PiB"),
        ({"op": "{op: broadcast, of: x, shape: [1000000000, 1000000000, 8, 8]}"}, "at most 1024 PiB"),
        ({"path": '"a\\0b"'}, r"no control characters, found U\+0000"),
        ({"path": '"a\\e]0;b\\a"'}, r"no control characters, found U\+001B"),
        ({"path": '"a\\u202eb"'}, r"no control characters, found U\+202E"),
    ],
)
def test_what_no_array_and_no_name_can_be_is_said_by_check(given, found):
    with pytest.raises(FlowError, match=found):
        loads(flow(**given), missing_ok=True)


def test_nothing_of_an_array_without_elements_is_long(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("f.yaml").write_text(flow("{from: full, shape: [0, 99999999999999], value: 1}"))
    assert hpcflow.run("f.yaml", cluster="synchronous", dashboard=False).status == "complete"
    assert np.load("y.npy").shape == (0, 99999999999999)


def test_the_first_of_very_many_tiles_is_had_at_once():
    assert next(tiles(((0, 10**15), (0, 10**15)), (1, 1))) == ((0, 1), (0, 1))


@pytest.mark.parametrize("mode", ["constant", "edge", "reflect", "symmetric", "wrap"])
@pytest.mark.parametrize("extent", [1, 2, 5])
def test_what_a_region_of_a_padded_axis_shows_is_told_from_a_few_of_its_elements(mode, extent):
    meta, length = Meta((extent,), "u1"), 4 * extent + 9
    for start in range(length):
        for stop in range(start + 1, length + 1):
            at = folded(np.arange(start, stop) - 7, extent, mode)
            at = at[(at >= 0) & (at < extent)]
            (need,) = shown(((start, stop),), [meta], pad_width=[7, 3 * extent + 2], mode=mode).needs
            assert need == (((at.min(), at.max() + 1),) if at.size else None)
    (need,) = shown(((0, 10**15),), [meta], pad_width=10**15, mode=mode).needs
    assert mode == "constant" or need is not None


def test_names_of_axes_cannot_act_on_a_terminal(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    zarr.create_array("a.zarr", shape=(4,), dtype="f4", dimension_names=["\x1b]0;name\x07"])[:] = 1
    with pytest.raises(FlowError, match="without control characters") as caught:
        loads(flow("{from: zarr, path: a.zarr}"))
    assert "\x1b" not in str(caught.value)


def test_names_of_photos_neither_act_on_a_terminal_nor_end_a_report(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("p").mkdir()
    for name in (b"\x1b]0;name\x07.jpg", b"\xff.jpg"):
        Path(os.fsdecode(b"p/" + name)).write_bytes(b"\xff\xd8\xff\xe0junk")
    Path("f.yaml").write_text(flow("{from: images, path: p, size: 8}"))
    assert hpcflow.run("f.yaml", cluster="synchronous", dashboard=False, max_bad=2).exit_code == 3
    said = io.StringIO()
    monkeypatch.setattr(_shared.typer, "echo", lambda text, **_: said.write(text))
    done = CliRunner().invoke(app, ["report", "runs/f"])
    assert done.exit_code == 0, done.output
    assert said.getvalue().isprintable() or not set(said.getvalue()) & set("\x1b\x07\udcff")
    said.getvalue().encode()


class Endless(BaseHTTPRequestHandler):
    """Answers whatever is asked with a body that has no end."""

    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        with suppress(OSError):
            while True:
                self.wfile.write(bytes(2**20))

    def log_message(self, *_):
        pass


def test_the_metadata_of_an_array_behind_a_url_takes_no_more_memory_than_it_may(monkeypatch):
    monkeypatch.setattr(chunks, "MOST_METADATA", 2**22)
    with ThreadingHTTPServer(("127.0.0.1", 0), Endless) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with pytest.raises(FlowError, match=r"larger than 4.0 MiB, the most that is taken"):
            loads(flow(f'{{from: zarr, path: "http://127.0.0.1:{server.server_port}/a.zarr"}}'))
        server.shutdown()


@pytest.mark.parametrize(
    "op",
    [
        "{op: gaussian, of: x, sigma: 1.0e+300}",
        "{op: gaussian, of: x, sigma: 100000000}",
        "{op: uniform, of: x, size: 1000000001}",
    ],
)
def test_a_window_that_no_memory_holds_is_refused(op):
    with pytest.raises(FlowError, match="expected a window of at most 16777216 elements along an axis"):
        loads(flow(op=op), missing_ok=True)


def test_a_header_with_a_negative_length_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (-8,), }".ljust(117) + b"\n"
    Path("a.npy").write_bytes(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + bytes(64))
    with pytest.raises(FlowError, match="axes of at least 0 elements"):
        loads(flow("{from: npy, path: a.npy}"))


def test_an_hdf5_file_reads_no_other_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    h5py = pytest.importorskip("h5py")
    with h5py.File("other.h5", "w") as file:
        file["v"] = np.ones(4)
    with h5py.File("a.h5", "w") as file:
        file["link"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "v")
        layout = h5py.VirtualLayout((4,), "f8")
        layout[:] = h5py.VirtualSource(str(tmp_path / "other.h5"), "v", shape=(4,))
        file.create_virtual_dataset("virtual", layout)
        file["own"] = np.ones(4)
        layout = h5py.VirtualLayout((4,), "f8")
        layout[:] = h5py.VirtualSource(file["own"])
        file.create_virtual_dataset("inner", layout)
    for name in ("link", "virtual"):
        with pytest.raises(FlowError, match="lie in other files"):
            loads(flow(f"{{from: xarray, path: a.h5, variable: {name}}}"))
    loads(flow("{from: xarray, path: a.h5, variable: inner}"))

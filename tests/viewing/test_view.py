"""`hpcflow view`: what it shows is there, and a bounded part of it is read."""

import io
import json
import re
import subprocess
import sys
from math import ceil, prod
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from rich.console import Console
from typer.testing import CliRunner

from hpcflow import sampling
from hpcflow.cli import app
from hpcflow.meta import Meta
from hpcflow.regions import slices, whole
from hpcflow.viewing import draw, look

MIB = 2**20


class Counted:
    """An array whose elements tell where they are, and which notes what is read."""

    def __init__(self, shape, chunks):
        self.array = np.arange(prod(shape)).reshape(shape)
        self.meta = Meta(shape, self.array.dtype)
        self.chunks = chunks
        self.identity = {}
        self.touched = set()

    def read(self, region):
        if self.chunks:
            self.touched.add(tuple(a // c for (a, _), c in zip(region, self.chunks, strict=True)))
            assert all(a // c == (b - 1) // c for (a, b), c in zip(region, self.chunks, strict=True))
        return self.array[slices(region, whole(self.array.shape))]


@st.composite
def counted(draw):
    shape = tuple(draw(st.lists(st.integers(1, 40), min_size=1, max_size=4)))
    chunks = tuple(draw(st.integers(1, n)) for n in shape) if draw(st.booleans()) else None
    return Counted(shape, chunks)


@given(source=counted(), side=st.integers(1, 50), spread=st.booleans(), data=st.data())
@settings(deadline=None)
def test_a_sample_is_a_grid_of_the_plane(source, side, spread, data):
    shape = source.meta.shape
    index = [data.draw(st.integers(-n, n - 1)) for n in shape[:-2]] if data.draw(st.booleans()) else None
    most = data.draw(st.integers(1, 8))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sampling, "DECODED", most * prod(source.chunks or (1,)) * 8)
        found = sampling.sample(source, side, index, spread=spread)
    plane = source.array[tuple(np.mod(index, shape[:-2]) if index else [n // 2 for n in shape[:-2]])]
    plane = plane if plane.ndim == 2 else plane[None]
    ys = np.unique([np.argwhere(plane == one)[0, 0] for one in found.picture[:, 0]])
    xs = np.unique([np.argwhere(plane == one)[0, 1] for one in found.picture[0]])
    np.testing.assert_array_equal(found.picture, plane[np.ix_(ys, xs)])
    assert max(found.picture.shape) <= side
    if source.chunks:
        assert found.chunks[0] == len(source.touched) <= most
    if found.chunks[0] == found.chunks[1]:
        # All over the plane: no gap is longer than an even spacing gives.
        taken = [1, *sampling.sides(shape[-2:], side)][-2:]
        for positions, n, count in zip((ys, xs), plane.shape, taken, strict=True):
            assert len(positions) == count
            assert np.diff([-1, *positions, n]).max() <= ceil(n / len(positions)) + 1
    elif source.chunks and not spread:
        # One piece of the plane, in its middle: no gap between its chunks.
        for positions, n, chunk in zip((ys, xs), plane.shape, [1, *source.chunks][-2:], strict=True):
            gaps = np.diff([*positions, positions[-1] + 1])
            assert positions[-1] - positions[0] < most * chunk
            assert gaps[:-1].max(initial=0) - gaps[:-1].min(initial=gaps[:-1].max(initial=0)) <= 1
            assert abs((positions[0] + positions[-1] + 1) - n) <= 2 * chunk + 2 * gaps.max()


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def call(*arguments):
    return CliRunner().invoke(app, ["view", *arguments])


def on_terminal(view, **options):
    console = Console(file=io.StringIO(), force_terminal=True, width=100, **options)
    draw.show(view, console)
    return console.file.getvalue()


@pytest.mark.parametrize("kind", ["npy", "zarr"])
def test_40_gib_in_little_memory(here, kind):
    shape = (1000, 3277, 3277)
    if kind == "npy":
        with Path("large.npy").open("wb") as file:
            header = {"descr": "<f4", "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(file, header)
            file.truncate(file.tell() + prod(shape) * 4)
    else:
        zarr.create_array("large.zarr", shape=(100_000, 107_374), chunks=(1024, 1024), dtype="f4")
    code = (
        "import re, sys\nfrom hpcflow.cli import app\n"
        "try: app(sys.argv[1:])\nexcept SystemExit: pass\n"
        r"print(re.search(r'VmHWM:\s*(\d+)', open('/proc/self/status').read())[1])"
    )
    command = [sys.executable, "-c", code, "view", f"large.{kind}", "--png", "large.png"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=True)
    *lines, peak = done.stdout.splitlines()
    assert "40.0 GiB" in lines[0]
    assert int(peak) < 300 * 1024
    if kind == "zarr":
        read = int(re.search(r"from (\d+) of 10,290 chunks", done.stdout)[1])
        assert 100 < read <= sampling.DECODED // (4 * MIB)


def test_an_array_in_a_pipe_and_on_a_terminal(here):
    plane = np.linspace(0, 1, 200 * 300, dtype="float32").reshape(200, 300)
    plane[0, 0] = np.nan
    zarr.create_array("plane.zarr", data=plane, chunks=(64, 64), dimension_names=("y", "x"))
    piped = call("plane.zarr")
    assert piped.exit_code == 0
    assert "\x1b" not in piped.stdout
    assert "array\t(y: 200, x: 300) float32" in piped.stdout
    assert "chunks (64, 64)" in piped.stdout
    assert "values\tfrom 1.66669e-05 to 1, mean 0.500008" in piped.stdout
    seen = look.look("plane.zarr", side=100, rows=0)
    shown = on_terminal(seen, color_system="truecolor")
    picture = [line for line in shown.splitlines() if "▀" in line]
    # 80 columns by 54 pixels, two in a line.
    assert len(picture) == 27
    assert {line.count("▀") for line in picture} == {80}
    # It becomes lighter downwards.
    assert "\x1b[38;2;0;0;0;48;2" in picture[0]
    assert "\x1b[38;2;25" in picture[-1]
    assert "▄" in shown or "█" in shown
    plain = on_terminal(seen, color_system=None)
    assert "░" in plain
    assert "\x1b[38" not in plain


def test_json_and_png(here):
    volume = np.random.default_rng(0).integers(0, 1000, (5, 40, 30)).astype("uint16")
    np.save("volume.npy", volume)
    found = json.loads(call("volume.npy", "--index", "-1", "--png", "out.png", "--json").stdout)
    assert (found["kind"], found["shape"], found["dtype"], found["index"]) == ("array", [5, 40, 30], "uint16", [4])
    counts, edges = np.histogram(volume[4], bins=look.BINS)
    assert found["histogram"]["counts"] == counts.tolist()
    np.testing.assert_allclose(found["histogram"]["edges"], edges)
    with Image.open("out.png") as image:
        drawn = np.asarray(image)
    # Each element is a square of 16 pixels there.
    middles = drawn[16 + 8 : 16 + 640 : 16, 16 + 8 : 16 + 480 : 16, 0].astype(float)
    low, high = np.percentile(volume[4], (0.5, 99.5))
    np.testing.assert_allclose(middles, np.clip((volume[4] - low) / (high - low), 0, 1) * 255, atol=0.6)


def test_every_kind_of_number(here):
    for dtype in ("bool", "int8", "uint64", "float16", "complex64"):
        np.save("one.npy", np.arange(12).reshape(3, 4).astype(dtype))
        seen = look.look("one.npy", side=10, rows=0)
        assert sampling.pixels(seen.sample.picture).shape == (3, 4, 3)
        assert sampling.pixels(seen.sample.picture).max() == 255
        assert "▀" in on_terminal(seen, color_system="truecolor")
    np.save("one.npy", np.array(3.0))
    assert "from 3 to 3" in call("one.npy").stdout
    np.save("one.npy", np.empty((0, 4)))
    assert call("one.npy", "--png", "one.png").exit_code == 0
    np.save("one.npy", np.full((4, 4), np.nan))
    assert call("one.npy", "--png", "one.png").exit_code == 0


def test_pyramids_are_read_where_they_are_small(here):
    group = zarr.open_group("image.zarr", mode="w")
    sizes = {"0": 2048, "s1": 1024, "s2": 512}
    for name, n in sizes.items():
        group.create_array(name, shape=(3, n, n), chunks=(1, 64, 64), dtype="u1")
    group.attrs["ome"] = {"version": "0.5", "multiscales": [{"datasets": [{"path": one} for one in sizes]}]}
    seen = look.look("image.zarr", side=600, rows=0, index=[2])
    assert seen.meta.shape == (3, 2048, 2048)
    assert seen.levels == ((3, 2048, 2048), (3, 1024, 1024), (3, 512, 512))
    assert seen.sample.index == (2,)
    assert seen.sample.chunks[1] == 16 * 16


def test_tables(here):
    table = pa.table({"path": [f"{i:03}.jpg" for i in range(100)], "score": np.linspace(0, 1, 100)})
    pyarrow.parquet.write_table(table, "t.parquet")
    pyarrow.csv.write_csv(table, "t.csv")
    lines = call("t.parquet", "--rows", "2").stdout.splitlines()
    assert lines == ["table\t100 rows of 2 columns", "path\tscore", "000.jpg\t0.0", "001.jpg\t0.010101010101010102"]
    assert call("t.csv", "--rows", "1").stdout.splitlines()[1:] == ["path\tscore", "000.jpg\t0.0"]
    assert json.loads(call("t.parquet", "--rows", "1", "--json").stdout)["rows"] == [{"path": "000.jpg", "score": 0.0}]
    assert "│ 000.jpg" in on_terminal(look.look("t.parquet", side=1, rows=3))


def test_photos_and_numbers(here):
    Image.new("RGB", (2000, 1000), (255, 0, 0)).save("red.jpg")
    seen = look.look("red.jpg", side=50, rows=0)
    assert seen.meta.shape == (1000, 2000, 3)
    assert seen.sample.picture.shape == (25, 50, 3)
    assert sampling.pixels(seen.sample.picture)[0, 0].tolist() == pytest.approx([255, 0, 0], abs=2)
    (here / "total.json").write_text("0.25\n")
    assert call("total.json").stdout == "0.25\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing.zarr"], "error: expected an output, found nothing at `nothing.zarr`"),
        (["notes.doc"], "error: expected a Zarr folder or a file that ends in `.npy`"),
        (["folder"], "error: expected a Zarr array"),
        (["bad.parquet"], "error: expected a Parquet file in `bad.parquet`"),
        (["bad.csv", "--png", "x.png"], "error: --png: expected an array to draw, found no picture in `bad.csv`"),
        (["bad.png"], "error: expected an image in `bad.png`"),
        (["plane.npy", "--index", "3"], "error: --index: expected 0 positions for (3, 4) float64, found 1"),
        (["volume.npy", "-i", "9"], "error: --index: expected a position from -2 to 1, found 9"),
        (["volume.npy", "-i", "x"], "error: --index: expected positions such as 10 or 3,10, found 'x'"),
    ],
)
def test_mistakes_have_one_clear_message(here, arguments, message):
    (here / "folder").mkdir()
    for name in ("notes.doc", "bad.parquet", "bad.csv", "bad.png"):
        (here / name).write_text("a,b\n1,2\n")
    np.save("plane.npy", np.zeros((3, 4)))
    np.save("volume.npy", np.zeros((2, 3, 4)))
    found = call(*arguments)
    assert found.exit_code == 2
    assert found.stderr.startswith(message)

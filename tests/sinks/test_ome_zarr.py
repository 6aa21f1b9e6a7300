"""Pyramids: each level is the level before it at half the size, whatever the blocks; readers agree."""

import importlib
import json
import re
from math import ceil, prod
from pathlib import Path

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

import hpcflow
from hpcflow.errors import Mismatch
from hpcflow.meta import Meta
from hpcflow.parameters import validate
from hpcflow.regions import slices, tiles, whole
from hpcflow.registry import function
from hpcflow.sinks import _channels, _pyramid, ome_zarr

DTYPES = ["bool", "uint8", "int8", "uint16", "int32", "uint64", "int64", "float32", "float64", "complex64"]


def sink(**params):
    made = function("sinks", "ome_zarr")
    return made(**validate(made, params))


def slow_half(array, axes, method):
    """Element by element, with exact fractions: the definition."""
    shape = [ceil(n / 2) if i in axes else n for i, n in enumerate(array.shape)]
    out = np.empty(shape, array.dtype)
    for index in np.ndindex(*shape):
        window = array[tuple(slice(2 * i, 2 * i + 2) if a in axes else slice(i, i + 1) for a, i in enumerate(index))]
        values = window.ravel()
        if method == "nearest":
            out[index] = values[0]
        elif array.dtype.kind in "fc":
            out[index] = values.astype(np.result_type(array.dtype, np.float64)).sum() / values.size
        elif array.dtype.kind == "b":
            out[index] = 2 * int(values.sum()) >= values.size
        else:
            out[index] = (2 * sum(values.tolist()) + values.size) // (2 * values.size)
    return out


def values(shape, dtype, seed):
    rng = np.random.default_rng(seed)
    dtype = np.dtype(dtype)
    if dtype.kind in "fc":
        real = rng.normal(size=shape) * 100
        return (real + 1j * rng.normal(size=shape) if dtype.kind == "c" else real).astype(dtype)
    if dtype.kind == "b":
        return rng.random(shape) < 0.5
    # The ends of the range among them: sums must not overflow.
    ends = np.iinfo(dtype)
    array = rng.integers(ends.min, ends.max, shape, dtype, endpoint=True)
    return np.where(rng.random(shape) < 0.3, ends.max, array).astype(dtype)


def assert_level(found, expected):
    if found.dtype.kind in "fc":
        np.testing.assert_allclose(found, expected, rtol=1e-6 if found.dtype.itemsize < 8 else 1e-12, atol=1e-5)
    else:
        np.testing.assert_array_equal(found, expected)


@st.composite
def images(draw):
    ndim = draw(st.integers(2, 5))
    dims = {2: "yx", 3: draw(st.sampled_from(["zyx", "cyx", "tyx"])), 4: draw(st.sampled_from(["tcyx", "czyx"]))}
    dims = dims.get(ndim, "tczyx")
    shape = tuple(draw(st.integers(1, 3 if d in "tc" else 9 if ndim > 3 else 21)) for d in dims)
    array = values(shape, draw(st.sampled_from(DTYPES)), draw(st.integers(0, 99)))
    chunks = [draw(st.integers(1, max(2, n // 2))) for n in shape]
    shards = [c * draw(st.integers(1, 2)) for c in chunks] if draw(st.booleans()) else None
    return dims, array, {"chunks": chunks, "shards": shards, "method": draw(st.sampled_from(["mean", "nearest"]))}


@given(image=images(), levels=st.integers(1, 5), budget=st.sampled_from([1, 2**10, 2**30]), data=st.data())
@settings(deadline=None, max_examples=25)
def test_levels_are_those_of_the_whole_array(tmp_path_factory, image, levels, budget, data):
    dims, array, params = image
    path = tmp_path_factory.mktemp("image") / "image.ome.zarr"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ome_zarr, "ONE_PASS", budget)
        target = sink(path=str(path), levels=levels, **params).target(Meta(array.shape, array.dtype, tuple(dims)))
        target.create()
        block = [g * data.draw(st.integers(1, 3)) for g in target.grain]
        regions = list(tiles(whole(array.shape), block))
        hashes = {region: target.write(region, array[slices(region, whole(array.shape))]) for region in regions}
        assert all(target.digest(region) == found for region, found in hashes.items())
        target.finish()
        assert all(target.digest(region) == found for region, found in hashes.items())
        group = zarr.open_group(path, mode="r")
        assert sorted(group.array_keys()) == [str(n) for n in range(levels)]
        expected = array
        for number in range(levels):
            found = group[str(number)]
            assert found.metadata.dimension_names == tuple(dims)
            assert_level(found[...], expected)
            axes = [i for i, d in enumerate(dims) if d not in "tc"]
            expected = slow_half(found[...], axes, params["method"])
        # Every level that fits is made in the same pass; every file has a hash that somebody keeps.
        assert target.at_once == max(
            n for n in range(levels) if n == 0 or prod(target._grain(n)) * array.itemsize <= budget
        )
        kept = {
            f"{n}/{c}"
            for n in range(target.at_once + 1)
            for c in target.levels[n].names(whole(target.levels[n].meta.shape))
        }
        files = {str(one.relative_to(path)) for one in path.rglob("*") if one.is_file()}
        assert files == kept | set(target.documents())


@given(
    array=st.tuples(st.sampled_from(["yx", "cyx", "tcyx", "czyx"]), st.sampled_from(DTYPES), st.integers(1, 8)),
    spoilt=st.booleans(),
    seed=st.integers(0, 99),
)
@settings(deadline=None, max_examples=25)
def test_every_channel_has_a_colour_and_the_range_of_its_values(tmp_path_factory, array, spoilt, seed):
    dims, dtype, count = array
    path = tmp_path_factory.mktemp("image") / "image.ome.zarr"
    data = values([count if d == "c" else 5 for d in dims], dtype, seed)
    if spoilt and data.dtype.kind == "f":
        data[..., 0, 0], data[..., 0, 1] = np.nan, np.inf
    target = sink(path=str(path), levels=1, chunks=[2] * data.ndim).target(Meta(data.shape, dtype, tuple(dims)))
    target.create()
    for region in tiles(whole(data.shape), target.grain):
        target.write(region, data[slices(region, whole(data.shape))])
    target.finish()
    ome = zarr.open_group(path, mode="r").attrs.asdict()["ome"]
    if data.dtype.kind == "c":
        assert "omero" not in ome
        return
    channels = np.moveaxis(data, dims.index("c"), 0) if "c" in dims else data[None]
    assert len(ome["omero"]["channels"]) == len(channels)
    for shown, one in zip(ome["omero"]["channels"], channels, strict=True):
        window = shown["window"]
        assert re.fullmatch("[0-9A-F]{6}", shown["color"])
        assert window["min"] <= window["start"] < window["end"] <= window["max"]
        finite = one[np.isfinite(one)]
        if finite.min() < finite.max():
            assert (window["start"], window["end"]) == (finite.min(), finite.max())
        if dtype == "uint16":
            assert (window["min"], window["max"]) == (0, 65535)


def test_of_a_large_level_some_chunks_are_looked_at(tmp_path, monkeypatch):
    monkeypatch.setattr(_channels, "LOOKED_AT", 100)
    data = np.arange(3 * 40 * 40, dtype="int32").reshape(3, 40, 40)
    target = sink(path=str(tmp_path / "a"), levels=1, chunks=[1, 10, 40]).target(
        Meta(data.shape, "i4", ("c", "y", "x"))
    )
    target.create()
    for region in tiles(whole(data.shape), target.grain):
        target.write(region, data[slices(region, whole(data.shape))])
    target.finish()
    channels = zarr.open_group(tmp_path / "a", mode="r").attrs.asdict()["ome"]["omero"]["channels"]
    assert [one["window"]["start"] for one in channels] == [0, 1600, 3200]
    assert [one["window"]["end"] for one in channels] == [399, 1999, 3599]
    assert [one["color"] for one in channels] == ["FF0000", "00FF00", "0000FF"]


@pytest.mark.parametrize("rows", [1, 7, 2**18])
def test_however_many_rows_at_once(rows, monkeypatch):
    monkeypatch.setattr(_pyramid, "ROWS", rows)
    array = values((9, 8, 7), "int64", 0)
    np.testing.assert_array_equal(_pyramid.half(array, (0, 2), "mean"), slow_half(array, (0, 2), "mean"))


FLOW = """\
flow: image
sources:
  volume: {from: npy, path: volume.npy, dims: [z, y, x]}
steps:
  smooth: {op: uniform, of: volume, size: 3}
sinks:
  image: {to: ome_zarr, of: smooth, path: out/image.ome.zarr, chunks: [8, 16, 16], levels: 4,
          scale: [2, 0.5, 0.5], units: [micrometer, micrometer, micrometer]}
"""


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Run the flow in a folder of its own; a small budget leaves levels for the end."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(ome_zarr, "ONE_PASS", 2**16)
    Path("flow.yaml").write_text(FLOW)
    np.save("volume.npy", values((37, 90, 101), "uint16", 0))
    return lambda: hpcflow.run("flow.yaml", cluster="synchronous", dashboard=False)


def content():
    return {str(one): one.read_bytes() for one in sorted(Path("out/image.ome.zarr").rglob("*")) if one.is_file()}


def test_a_run_is_resumed_verified_and_repaired(run):
    first = run()
    before = content()
    assert first.tasks["executed"] > 4
    again = run()
    assert (again.tasks["executed"], again.tasks["reused"]) == (0, first.tasks["total"])
    assert hpcflow.verify("out/image.ome.zarr").sound
    damaged = ["0/zarr.json", "1/c/0/1/1", "3/c/0/0/0"]
    for name in damaged:
        path = Path("out/image.ome.zarr", name)
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 4
        path.write_bytes(data)
        found = hpcflow.verify("out/image.ome.zarr")
        assert len(found.damage) == 1, name
        mended = hpcflow.verify("out/image.ome.zarr", repair=True)
        assert mended.sound, str(mended)
        assert content() == before
    for name in ("zarr.json", "0/c/1/2/3", "3/c/0/0/0"):
        Path("out/image.ome.zarr", name).unlink()
    assert hpcflow.verify("out/image.ome.zarr", repair=True).sound
    assert content() == before


def test_a_run_that_is_cut_short_goes_on(run, monkeypatch):
    whole_run = run()
    before = content()
    for one in ("out", "runs"):
        Path(one).rename(f"{one}-whole")
    write, written = ome_zarr.OmeZarrTarget.write, []

    def stops(self, region, array):
        if len(written) == 3:
            raise KeyboardInterrupt
        written.append(region)
        return write(self, region, array)

    monkeypatch.setattr(ome_zarr.OmeZarrTarget, "write", stops)
    with pytest.raises(KeyboardInterrupt):
        run()
    monkeypatch.setattr(ome_zarr.OmeZarrTarget, "write", write)
    assert not Path("out/image.ome.zarr").exists()
    again = run()
    assert again.tasks["reused"] > 0
    assert again.tasks["total"] == whole_run.tasks["total"]
    assert content() == before


def test_plan_counts_all_levels(run):
    planned = hpcflow.plan("flow.yaml")
    shapes = [(37, 90, 101), (19, 45, 51), (10, 23, 26), (5, 12, 13)]
    assert planned.bytes_written == 2 * sum(map(prod, shapes))


def test_readers_of_others_take_it(run):
    reader = pytest.importorskip("ome_zarr.reader")
    from ome_zarr.io import parse_url  # noqa: PLC0415

    run()
    (node, *_) = list(reader.Reader(parse_url("out/image.ome.zarr", mode="r"))())
    group = zarr.open_group("out/image.ome.zarr", mode="r")
    assert len(node.data) == 4
    for number, level in enumerate(node.data):
        np.testing.assert_array_equal(np.asarray(level), group[str(number)][...])
    assert [axis["name"] for axis in node.metadata["axes"]] == ["z", "y", "x"]
    assert {axis["unit"] for axis in node.metadata["axes"]} == {"micrometer"}
    scales = [one[0]["scale"] for one in node.metadata["coordinateTransformations"]]
    assert scales == [[2 * 2**n, 0.5 * 2**n, 0.5 * 2**n] for n in range(4)]
    smallest = group["3"][...]
    assert node.metadata["contrast_limits"] == [[smallest.min(), smallest.max()]]
    assert node.metadata["channel_names"] == ["0"]
    assert node.metadata["colormap"] == [[[0, 0, 0], [1, 1, 1]]]


def test_the_models_of_the_specification_take_it(run):
    models = pytest.importorskip("ome_zarr_models.v05")
    run()
    image = models.Image.from_zarr(zarr.open_group("out/image.ome.zarr", mode="r"))
    (multiscale,) = image.attributes.ome.multiscales
    assert [one.path for one in multiscale.datasets] == ["0", "1", "2", "3"]
    channels = importlib.import_module("ome_zarr_models.common.omero").Omero(**image.attributes.ome.omero).channels
    assert [one.color for one in channels] == ["FFFFFF"]
    second = multiscale.datasets[1].coordinateTransformations
    assert second[0].scale == [4, 1, 1]
    # The middle of the first window lies half an element behind the first element's.
    assert second[1].translation == [1, 0.25, 0.25]


@pytest.mark.parametrize(
    ("meta", "params", "message"),
    [
        (Meta((8,), "u1", ("x",)), {}, "2 to 5 axes"),
        (Meta((8, 8), "u1", ("t", "x")), {}, "two or three axes of space"),
        (Meta((8, 8, 8), "u1", ("y", "x", "c")), {}, "time before channel before space"),
        (Meta((8, 8), "u1", ("y", None)), {}, "a different name for each axis"),
        (Meta((8, 8), "u1"), {"scale": [1]}, "expected 2 scale"),
        (Meta((8, 8), "u1"), {"chunks": [4]}, "expected 2 chunks"),
        (Meta((8, 8), [("a", "u1")]), {}, "expected numbers"),
    ],
)
def test_what_is_no_image_is_refused(meta, params, message):
    with pytest.raises(Mismatch, match=message):
        sink(path="image.zarr", **params).target(meta)


def test_axes_without_names_get_those_of_images():
    target = sink(path="image.ome.zarr").target(Meta((2, 3, 1000, 700), "u2"))
    assert target.meta.dims == ("c", "z", "y", "x")
    assert [level.meta.shape for level in target.levels] == [(2, 3, 1000, 700), (2, 2, 500, 350), (2, 1, 250, 175)]
    assert target.name == "image"
    assert json.loads(bytes(target._document()))["attributes"]["ome"]["multiscales"][0]["axes"][0] == {
        "name": "c",
        "type": "channel",
    }

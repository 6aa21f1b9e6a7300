"""NetCDF variables through xarray: the same elements, names and coordinates, block by block."""

import pickle
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import hpcflow
from hpcflow.errors import FlowError, Mismatch, MissingPackage, RunError
from hpcflow.parameters import validate
from hpcflow.regions import slices, whole
from hpcflow.registry import function

xr = pytest.importorskip("xarray")
pytest.importorskip("h5netcdf")


def open_source(**params):
    made = function("sources", "xarray")
    return made(**validate(made, params))


def write(path, shape=(4, 9, 11), chunks=(2, 4, 5), dtype="float32", encoding=None):
    rng = np.random.default_rng(0)
    values = (rng.random(shape) * 100).astype(dtype)
    names = ("time", "lat", "lon")[-len(shape) :]
    coords = {
        "time": np.arange(shape[0]) * 6.0,
        "lat": np.linspace(60, -60, shape[-2]),
        "lon": np.linspace(0, 350, shape[-1]),
    }
    array = xr.DataArray(values, dims=names, coords={n: coords[n] for n in names}, name="air")
    options = {"chunksizes": chunks, "zlib": True} if chunks else {}
    array.to_netcdf(path, engine="h5netcdf", encoding={"air": {**options, **(encoding or {})}})
    return array


@given(
    shape=st.lists(st.integers(1, 9), min_size=2, max_size=3).map(tuple),
    dtype=st.sampled_from(["uint8", "int16", "float32", "float64"]),
    chunked=st.booleans(),
    data=st.data(),
)
@settings(deadline=None, max_examples=20)
def test_any_region_is_what_xarray_gives(tmp_path_factory, shape, dtype, chunked, data):
    path = tmp_path_factory.mktemp("netcdf") / "air.nc"
    chunks = tuple(data.draw(st.integers(1, n)) for n in shape) if chunked else None
    array = write(path, shape, chunks, dtype)
    source = pickle.loads(pickle.dumps(open_source(path=str(path), variable="air")))
    assert (source.meta.shape, source.meta.dtype, source.meta.dims) == (shape, np.dtype(dtype), array.dims)
    assert source.chunks == chunks
    starts = [data.draw(st.integers(0, n)) for n in shape]
    region = tuple((a, data.draw(st.integers(a, n))) for a, n in zip(starts, shape, strict=True))
    np.testing.assert_array_equal(source.read(region), array.to_numpy()[slices(region, whole(shape))])
    assert {k: v.tolist() for k, v in source.coordinates().items()} == {
        k: v.values.tolist() for k, v in array.coords.items()
    }


def test_packed_integers_are_decoded_or_not(tmp_path):
    array = write(tmp_path / "a.nc", encoding={"dtype": "int16", "scale_factor": 0.01, "_FillValue": -1})
    decoded = open_source(path=str(tmp_path / "a.nc"), variable="air")
    np.testing.assert_allclose(decoded.read(whole(array.shape)), array, atol=0.0051)
    raw = open_source(path=str(tmp_path / "a.nc"), variable="air", decode=False)
    assert raw.meta.dtype == np.int16
    assert decoded.identity != raw.identity


FLOW = """\
flow: weather
sources:
  air: {from: xarray, path: air.nc, variable: air}
steps:
  smooth: {op: gaussian, of: air, sigma: 1, axes: [lat, lon]}
  part: {op: isel, of: smooth, indexers: {lat: "1:-1:2", lon: "::-1", time: 1}}
  turned: {op: transpose, of: part, axes: [lon, lat]}
  warm: {op: expr, expr: "turned > 50"}
  mean: {op: mean, of: air, axis: time}
  waves: {op: fft, of: air, axes: [lon]}
  shifted: {op: expr, expr: "mean - mean"}
sinks:
  warm: {to: zarr, of: warm, path: out/warm.zarr}
  waves: {to: zarr, of: waves, path: out/waves.zarr}
  shifted: {to: npy, of: shifted, path: out/shifted.npy}
"""


def test_names_and_coordinates_follow_the_steps(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    array = write("air.nc")
    Path("weather.yaml").write_text(FLOW)
    built = hpcflow.build("weather.yaml", xarray=True)
    assert set(built) == {"air", "smooth", "part", "turned", "warm", "mean", "waves", "shifted"}
    smooth = built["smooth"]
    assert hasattr(smooth.data, "dask")
    xr.testing.assert_equal(built["air"].compute(), array)
    expected = smooth.compute().isel(lat=slice(1, -1, 2), lon=slice(None, None, -1), time=1, drop=True)
    xr.testing.assert_equal(built["part"].compute(), expected.rename("part"))
    xr.testing.assert_equal(built["warm"].compute(), (expected.transpose("lon", "lat") > 50).rename("warm"))
    xr.testing.assert_allclose(built["mean"].compute(), array.mean("time").rename("mean"))
    # A frequency is no longitude.
    assert set(built["waves"].coords) == {"time", "lat"}
    report = hpcflow.run("weather.yaml", cluster="synchronous", dashboard=False)
    assert report.status == "complete"
    plain = hpcflow.build("weather.yaml")["mean"]
    assert type(plain).__module__.startswith("dask.")


def test_without_names_axes_are_numbered(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("a.npy", np.ones((3, 4)))
    Path("f.yaml").write_text(
        "flow: f\nsources: {a: {from: npy, path: a.npy, dims: [null, x]}}\nsinks: {a: {to: npy, of: a, path: b.npy}}\n"
    )
    assert hpcflow.build("f.yaml", xarray=True)["a"].dims == ("dim_0", "x")


def test_what_is_wrong_is_said(tmp_path, monkeypatch):
    write(tmp_path / "air.nc")
    with pytest.raises(Mismatch, match="expected a variable `wind`") as error:
        open_source(path=str(tmp_path / "air.nc"), variable="wind")
    assert error.value.hint == "it has `air`, `lat`, `lon`, `time`"
    (tmp_path / "text.nc").write_text("no data")
    with pytest.raises(Mismatch, match="expected a file that xarray opens"):
        open_source(path=str(tmp_path / "text.nc"), variable="air")
    with pytest.raises(FileNotFoundError):
        open_source(path=str(tmp_path / "none.nc"), variable="air")
    source = open_source(path=str(tmp_path / "air.nc"), variable="air")
    (tmp_path / "air.nc").write_bytes(b"\0" * 100)
    with pytest.raises(RunError, match="to stay as it was"):
        source.read(whole(source.meta.shape))
    monkeypatch.setitem(sys.modules, "xarray", None)
    with pytest.raises(MissingPackage, match="hpcflow\\[xarray\\]"):
        open_source(path=str(tmp_path / "air.nc"), variable="air")
    (tmp_path / "f.yaml").write_text(FLOW.replace("air.nc", str(tmp_path / "none.nc")))
    with pytest.raises(FlowError, match=r"none\.nc"):
        hpcflow.load(tmp_path / "f.yaml")

"""NetCDF variables through xarray: the same elements, names and coordinates, block by block."""

import pickle
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
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


NUMBERS = ("plain", "half", "enum", "bool", "complex", "big", "scalar", "linked")
REFUSED = {
    "compound": "records",
    "texts": "Python objects",
    "fixed": "`|S2`",
    "ragged": "Python objects",
    "references": "Python objects",
    "opaque": "`|V2`",
    "nothing": "without elements",
    "outside": "in other files",
    "named": "expected a variable `named`",
    "nowhere": "expected a variable `nowhere`",
    "elsewhere": "expected a variable `elsewhere`",
    "group": "expected a variable `group`",
}


def odd(path):
    """An HDF5 file of types that NetCDF has no word for; what its numbers are."""
    h5py = pytest.importorskip("h5py")
    values = {
        "plain": np.arange(3.0),
        "half": np.array([0.5, 1, np.inf], np.float16),
        "enum": np.array([0, 1, 1], np.int8),
        "bool": np.array([True, False, True]),
        "complex": np.array([1j, 2, 3], np.complex64),
        "big": np.arange(3, dtype=">i4"),
        "scalar": np.array(3.5),
    }
    with h5py.File(path, "w") as file:
        for name, value in values.items():
            dtype = h5py.enum_dtype({"a": 0, "b": 1}, basetype="i1") if name == "enum" else value.dtype
            file.create_dataset(name, data=value, dtype=dtype)
        file["compound"] = np.zeros(3, [("a", "i4"), ("b", "f4")])
        file.create_dataset("texts", data=["a", "bb", "c"], dtype=h5py.string_dtype())
        file["fixed"] = np.array([b"a", b"bb", b"c"])
        file.create_dataset("ragged", (3,), dtype=h5py.vlen_dtype("i4"))
        file.create_dataset("references", (3,), dtype=h5py.ref_dtype)
        file["opaque"] = np.array([b"ab", b"cd"], "V2")
        file["nothing"] = h5py.Empty("f4")
        file.create_dataset("outside", (3,), "u1", external=[("/etc/passwd", 0, 3)])
        file["named"] = np.dtype("f4")
        file["linked"] = h5py.SoftLink("/plain")
        file["nowhere"] = h5py.SoftLink("/none")
        file["elsewhere"] = h5py.ExternalLink("none.h5", "/x")
        file.create_group("group")["around"] = h5py.SoftLink("/")
    return {**values, "linked": values["plain"]}


@pytest.mark.parametrize("engine", ["auto", "h5netcdf", "netcdf4"])
def test_types_beside_the_one_that_is_asked_for_do_no_harm(engine, tmp_path):
    values = odd(tmp_path / "odd.h5")
    for name in NUMBERS:
        source = open_source(path=str(tmp_path / "odd.h5"), variable=name, engine=engine)
        found = source.read(whole(source.meta.shape))
        assert found.dtype == values[name].dtype.newbyteorder("=")
        np.testing.assert_array_equal(found, values[name])
    for name, message in REFUSED.items():
        with pytest.raises(Mismatch) as error:
            open_source(path=str(tmp_path / "odd.h5"), variable=name, engine=engine)
        assert message in str(error.value)
        assert error.value.parameter == "variable"
    # The C library of NetCDF would have ended the process over some of these types.
    assert "netCDF4" not in sys.modules


PACKED = st.sampled_from([None, np.float32(0.5), np.float64(0.1), np.int16(2), np.float32(7)])


@pytest.mark.filterwarnings("ignore")
@given(
    dtype=st.sampled_from(["i1", "u1", "i2", "u2", "i4", "u4", "i8", "f4", "f8"]),
    attributes=st.fixed_dictionaries(
        {
            "scale_factor": PACKED,
            "add_offset": PACKED,
            "missing_value": st.sampled_from([None, 1, 3, 50]),
            "_Unsigned": st.sampled_from([None, "true", "false"]),
        }
    ),
    fill=st.sampled_from([None, 1, 100]),
)
@settings(deadline=None, max_examples=60)
def test_packed_numbers_of_a_file_mean_what_they_mean_to_xarray(tmp_path_factory, dtype, attributes, fill):
    path = tmp_path_factory.mktemp("packed") / "x.nc"
    values = np.array([0, 1, 2, 3, 100, 50, 7, 127]).astype(dtype)
    given = {
        name: values.dtype.type(v) if name == "missing_value" else v for name, v in attributes.items() if v is not None
    }
    whole_factor = isinstance(given.get("scale_factor"), np.integer) and "add_offset" not in given
    assume(not (whole_factor and (fill or "missing_value" in given)))
    data = xr.Dataset({"x": ("n", values, given)})
    data.to_netcdf(path, engine="h5netcdf", encoding={"x": {"_FillValue": fill and values.dtype.type(fill)}})
    with xr.open_dataset(path, engine="h5netcdf", decode_times=False, cache=False) as opened:
        expected = opened["x"].load()
    source = open_source(path=str(path), variable="x")
    assert (source.meta.dtype, source.meta.dims) == (expected.dtype, expected.dims)
    np.testing.assert_array_equal(source.read(((0, 8),)), expected.to_numpy())


def test_names_of_axes_are_those_that_xarray_gives(tmp_path):
    rng = np.random.default_rng(0)
    data = xr.Dataset(
        {"a": (("y", "x"), rng.random((3, 4))), "y": (("y", "x"), rng.random((3, 4)))} | {"b": ("z", np.arange(5))},
        coords={"x": np.arange(4.0), "lat": (("y", "x"), rng.random((3, 4)))},
    )
    data.drop_vars("y").to_netcdf(tmp_path / "a.nc", engine="h5netcdf")
    for name in ("a", "b", "x", "lat"):
        source = open_source(path=str(tmp_path / "a.nc"), variable=name)
        assert source.meta.dims == data[name].dims
        assert set(source.coordinates()) == set(data[name].dims) & {"x"}

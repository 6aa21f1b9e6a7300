"""Arrays without elements: the same as NumPy and SciPy say, or one clear fault."""

import warnings

import numpy as np
import pytest
import zarr

import hpcflow
from hpcflow.errors import FlowError

SHAPES = [(0,), (0, 5), (5, 0), (3, 0, 4)]
SAME = [
    "expr, expr: x + 1",
    "gaussian, of: x, sigma: 1",
    "uniform, of: x",
    "median, of: x, size: 3",
    "clip, of: x, min: 0",
]


def ran(folder, source, op, sink="npy"):
    """The result of one op on the source."""
    (folder / "f.yaml").write_text(
        f"flow: empty\nsources:\n  x: {source}\nsteps:\n  y: {{op: {op}}}\n"
        f"sinks:\n  y: {{to: {sink}, of: y, path: {folder}/y.{sink}}}\n"
    )
    hpcflow.run(folder / "f.yaml", cluster="synchronous", run_dir=folder / "run", fresh=True)
    return np.load(folder / "y.npy") if sink == "npy" else zarr.open_array(folder / "y.zarr", mode="r")[...]


@pytest.mark.parametrize("shape", SHAPES)
def test_ops_that_keep_the_shape_keep_it(shape, tmp_path):
    np.save(tmp_path / "x.npy", np.zeros(shape, "f4"))
    for op in SAME:
        assert ran(tmp_path, f"{{from: npy, path: {tmp_path}/x.npy}}", op).shape == shape


@pytest.mark.parametrize("shape", SHAPES)
def test_what_is_built_of_it_is_empty_too(shape, tmp_path):
    np.save(tmp_path / "x.npy", np.zeros(shape, "f4"))
    steps = {"stacked": "stack, of: [x, x]", "turned": "transpose, of: x", "peak": "softmax, of: x, axis: 0"}
    steps |= {f"same_{i}": op for i, op in enumerate(SAME)}
    made = [f"  {name}: {{op: {op}}}" for name, op in steps.items()]
    sinks = [f"  {name}: {{to: npy, of: {name}, path: {tmp_path}/{name}.npy}}" for name in steps]
    text = [f"flow: empty\nsources: {{x: {{from: npy, path: {tmp_path}/x.npy}}}}\nsteps:", *made, "sinks:", *sinks]
    (tmp_path / "f.yaml").write_text("\n".join(text) + "\n")
    flow = hpcflow.load(tmp_path / "f.yaml")
    for name, array in hpcflow.build(flow).items():
        assert array.shape == array.compute().shape == flow.nodes[name].meta.shape
        assert array.dtype == array.compute().dtype == flow.nodes[name].meta.dtype


@pytest.mark.parametrize("shape", SHAPES)
def test_zarr_to_zarr(shape, tmp_path):
    zarr.create_array(tmp_path / "x.zarr", shape=shape, dtype="f4", chunks=tuple(max(1, n) for n in shape))
    result = ran(tmp_path, f"{{from: zarr, path: {tmp_path}/x.zarr}}", "uniform, of: x", "zarr")
    assert result.shape == shape


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("axis", [None, 0, -1])
def test_reductions_give_their_identity(shape, axis, tmp_path):
    x = np.zeros(shape, "f4")
    np.save(tmp_path / "x.npy", x)
    for name in ("sum", "mean", "std"):
        given = "" if axis is None else f", axis: {axis}"
        got = ran(tmp_path, f"{{from: npy, path: {tmp_path}/x.npy}}", f"{name}, of: x{given}")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # the mean of nothing is NaN
            want = getattr(np, name)(x, axis=axis)
        np.testing.assert_array_equal(got, want)
        assert got.dtype == want.dtype


@pytest.mark.parametrize("op", ["min, of: x", "max, of: x", "argmax, of: x"])
def test_there_is_no_largest_of_none(op, tmp_path):
    np.save(tmp_path / "x.npy", np.zeros((0, 5), "f4"))
    with pytest.raises(FlowError, match="expected at least one element"):
        ran(tmp_path, f"{{from: npy, path: {tmp_path}/x.npy}}", op)


def test_the_largest_along_an_axis_with_elements_is_as_empty_as_the_other(tmp_path):
    np.save(tmp_path / "x.npy", np.zeros((5, 0), "f4"))
    for name in ("min", "max", "argmax"):
        assert ran(tmp_path, f"{{from: npy, path: {tmp_path}/x.npy}}", f"{name}, of: x, axis: 0").shape == (0,)

"""Networks run in tiles: the same as on the whole array, wherever the depth covers what they see."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpcflow.errors import Mismatch
from hpcflow.meta import Meta
from hpcflow.ops.infer_tiled import infer_tiled
from hpcflow.parameters import resolve_axes, validate
from hpcflow.program.evaluate import evaluate
from hpcflow.program.program import Program, Step
from hpcflow.regions import slices, tiles, whole
from hpcflow.registry import get_op

torch = pytest.importorskip("torch")
PADS = {"reflect": "symmetric", "mirror": "reflect", "nearest": "edge", "constant": "constant", "wrap": "wrap"}
FIELD = 3
"""How far `Chain` sees: three convolutions of size 3."""


class Chain(torch.nn.Module):
    """Three convolutions that pad by zeros and are anything but linear."""

    def __init__(self, channels, ndim):
        super().__init__()
        torch.manual_seed(0)
        conv = {2: torch.nn.Conv2d, 3: torch.nn.Conv3d}[ndim]
        widths = (channels, 4, 4, channels)
        self.layers = torch.nn.Sequential(*(conv(a, b, 3, padding=1) for a, b in pairwise(widths)))

    def forward(self, x):
        for layer in self.layers:
            x = torch.sin(3 * layer(x))
        return x


class Pooled(torch.nn.Module):
    """Down by two and up again: it sees two around an element's pair, and moves with pairs alone."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        self.conv = torch.nn.Conv2d(1, 1, 3, padding=1)

    def forward(self, x):
        small = self.conv(torch.nn.functional.max_pool2d(x, 2))
        return x + small.repeat_interleave(2, 2).repeat_interleave(2, 3)


def saved(path, module, shape):
    """Exported for any number of items, and planes or volumes of any (even) size."""
    factor = 2 if isinstance(module, Pooled) else 1
    sizes = {0: torch.export.Dim("n", min=1, max=4096)}
    for axis in range(2, len(shape)):
        one = torch.export.Dim(f"n{axis}", min=2, max=4096)
        sizes[axis] = factor * one if factor > 1 else one
    torch.export.save(torch.export.export(module.eval(), (torch.zeros(shape),), dynamic_shapes=(sizes,)), path)
    return str(path)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    return {
        "plane": saved(folder / "plane.pt2", Chain(1, 2), (2, 1, 12, 14)),
        "rgb": saved(folder / "rgb.pt2", Chain(3, 2), (2, 3, 12, 14)),
        "volume": saved(folder / "volume.pt2", Chain(1, 3), (2, 1, 6, 8, 10)),
        "pooled": saved(folder / "pooled.pt2", Pooled(), (2, 1, 12, 16)),
    }


def program(array, **params):
    meta = Meta(array.shape, array.dtype, ("t", "y", "x", "c")[: array.ndim] if array.ndim != 2 else ("y", "x"))
    params = resolve_axes(infer_tiled, validate(infer_tiled, params), meta)
    made = get_op("infer_tiled").meta([meta], params)
    return Program({"in": meta}, (Step("out", "infer_tiled", ("in",), params, made),))


def blockwise(array, block, **params):
    """The op on each block alone, put together."""
    prog = program(array, **params)
    out = np.full(array.shape, np.nan, np.float32)
    for region in tiles(whole(array.shape), block):
        got = evaluate(prog, {"out": region}, lambda _, part: array[slices(part, whole(array.shape))])["out"]
        out[slices(region, whole(array.shape))] = got
    return out


def at_once(module, planes, mode, depth=FIELD):
    """The network on whole planes (N, C, ...), continued by `depth` beyond their ends."""
    if mode != "network":
        around = [(0, 0), (0, 0)] + [(depth, depth)] * (planes.ndim - 2)
        planes = np.pad(planes, around, mode=PADS[mode])
    with torch.inference_mode():
        result = module.eval()(torch.from_numpy(np.ascontiguousarray(planes))).numpy()
    return result if mode == "network" else result[(..., *[slice(depth, -depth)] * (planes.ndim - 2))]


def noise(*shape):
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


@settings(deadline=None, max_examples=15)
@given(
    shape=st.tuples(st.integers(2, 40), st.integers(2, 40)),
    block=st.tuples(st.integers(9, 40), st.integers(9, 40)),
    tile=st.integers(4, 20),
    depth=st.integers(FIELD, 6),
    batch=st.integers(1, 5),
    mode=st.sampled_from(["network", *PADS]),
)
def test_planes_have_no_seams(files, shape, block, tile, depth, batch, mode):  # noqa: PLR0917  (as drawn)
    plane = noise(*shape)
    expected = at_once(Chain(1, 2), plane[None, None], mode)[0, 0]
    found = blockwise(plane, block, model=files["plane"], depth=depth, tile=tile, batch=batch, mode=mode)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_a_depth_too_small_leaves_seams(files):
    plane = noise(30, 30)
    expected = at_once(Chain(1, 2), plane[None, None], "network")[0, 0]
    found = blockwise(plane, (30, 30), model=files["plane"], depth=FIELD - 1, tile=10)
    wrong = ~np.isclose(found, expected, rtol=1e-4, atol=1e-5)
    assert wrong[9:11].any()
    assert not wrong[:9, :9].any()


@settings(deadline=None, max_examples=5)
@given(block=st.tuples(*[st.integers(2, 9)] * 4), tile=st.integers(3, 9), mode=st.sampled_from(["network", "wrap"]))
def test_channels_and_what_is_run_alone(files, block, tile, mode):
    stack = noise(3, 11, 13, 3)
    expected = at_once(Chain(3, 2), stack.transpose(0, 3, 1, 2), mode).transpose(0, 2, 3, 1)
    params = {"axes": ["y", "x"], "channels": "c", "depth": FIELD, "tile": [tile, 5], "mode": mode}
    found = blockwise(stack, (*block[:3], 3), model=files["rgb"], **params)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("axes", [["x", "y"], ["y", "x"]])
def test_the_order_of_axes_is_the_networks(files, axes):
    stack = noise(2, 9, 12)
    planes = stack if axes == ["y", "x"] else stack.transpose(0, 2, 1)
    expected = at_once(Chain(1, 2), planes[:, None], "reflect")[:, 0]
    found = blockwise(stack, (1, 5, 7), model=files["plane"], axes=axes, depth=[FIELD, FIELD], tile=4, mode="reflect")
    np.testing.assert_allclose(found, expected if axes == ["y", "x"] else expected.transpose(0, 2, 1), atol=1e-5)


def test_volumes(files):
    volume = noise(9, 14, 12)
    expected = at_once(Chain(1, 3), volume[None, None], "network")[0, 0]
    found = blockwise(volume, (4, 14, 7), model=files["volume"], depth=FIELD, tile=[3, 6, 6])
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@settings(deadline=None, max_examples=10)
@given(
    shape=st.tuples(st.integers(8, 40), st.integers(8, 40)),
    block=st.tuples(st.integers(9, 40), st.integers(9, 40)),
    tile=st.integers(4, 12),
    mode=st.sampled_from(["network", "reflect", "nearest"]),
)
def test_networks_that_move_by_steps(files, shape, block, tile, mode):
    plane = noise(*shape)
    even = np.pad(plane, [(0, n % 2) for n in shape], mode=PADS.get(mode, "edge"))
    if mode == "network":
        expected = at_once(Pooled(), even[None, None], mode)
    else:
        around = [(4, 4 + n % 2) for n in shape]
        expected = at_once(Pooled(), np.pad(plane, around, mode=PADS[mode])[None, None], "network")[..., 4:, 4:]
    found = blockwise(plane, block, model=files["pooled"], depth=4, step=2, tile=tile, mode=mode)
    np.testing.assert_allclose(found, expected[0, 0, : shape[0], : shape[1]], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("shape", "dtype", "given", "words"),
    [
        ((20, 30), "float64", {}, r"expected the input of .*float32 .*found \(1, 1, 20, 30\) float64"),
        ((4, 20, 30), "float32", {}, "expected the input of"),
        ((4, 20, 30), "float32", {"axes": ["y", "x"], "depth": [1, 2, 3]}, "expected one `depth` for each of 2 axes"),
        ((4, 20, 30), "float32", {"channels": "t"}, "expected `channels` to be none of the axes"),
        ((21, 30), "float32", {"mode": "wrap", "step": 2}, "expected a periodic axis to be a multiple of `step`"),
        ((20, 30), "float32", {"precision": "int8"}, "expected `precision` to be float32 or bfloat16 or float16"),
    ],
)
def test_what_does_not_fit(files, shape, dtype, given, words):
    with pytest.raises(Mismatch, match=words):
        program(np.zeros(shape, dtype), **{"model": files["plane"], "depth": 3, **given})


def test_a_network_that_gives_something_else(tmp_path):
    exported = torch.export.export(torch.nn.AvgPool2d(2), (torch.zeros(1, 1, 20, 30),))
    path = str(tmp_path / "mean.pt2")
    torch.export.save(exported, path)
    with pytest.raises(Mismatch, match=r"expected a network that gives as much as it takes, \(1, 20, 30\)"):
        program(np.zeros((20, 30), np.float32), model=path, depth=3)

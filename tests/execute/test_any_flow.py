"""Any flow, cut into any blocks and tiles, on any executor: the whole-array answer."""

from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
import yaml
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import hpcflow
from hpcflow.clusters.profiles import open_pool
from hpcflow.execute.progress import Silent
from hpcflow.execute.run import Outcome, run_plan
from hpcflow.planning import blocks
from hpcflow.planning.plan import make_plan
from hpcflow.regions import whole as region_of
from hpcflow.registry import get_op
from hpcflow.spec.validate import loads

MODES = ["reflect", "mirror", "nearest", "constant", "wrap"]
REDUCTIONS = ["sum", "mean", "std", "var", "min", "max", "ptp", "any", "all", "argmax", "argmin"]


@st.composite
def parameters(draw, op, ndim):  # noqa: C901, PLR0911  (one case for each op)
    """Parameters for one step, as they stand in a flow."""
    mode = {"mode": draw(st.sampled_from(MODES))}
    axis = draw(st.integers(0, ndim - 1))
    match op:
        case "gaussian":
            return {"sigma": draw(st.floats(0.2, 2)), **mode}
        case "uniform" | "median" | "minimum" | "maximum":
            return {"size": draw(st.integers(1, 5)), **mode}
        case "sobel":
            return {"axis": axis, **mode}
        case "laplace":
            return mode
        case "correlate" | "convolve":
            shape = [draw(st.integers(1, 3)) for _ in range(ndim)]
            return {"weights": (np.arange(np.prod(shape)) - 1.0).reshape(shape).tolist(), **mode}
        case "clip":
            return {"min": 0, "max": 3}
        case "astype":
            return {"dtype": "float64"}
        case "transpose":
            return {"axes": list(draw(st.permutations(range(ndim))))}
        case "softmax":
            return {"axis": axis}
        case "isel":
            return {"indexers": {axis: draw(st.sampled_from(["::1", "::2", {"step": 3}, [0, 0], [-1, 0]]))}}
        case "expr":
            return {
                "expr": draw(st.sampled_from(["NODE * 2 + 1", "where(NODE > 1, NODE, -NODE)", "sqrt(abs(NODE) + 0.5)"]))
            }
        case "stack" | "concatenate":
            return {"axis": axis}
    raise AssertionError(op)


UNARY = [
    *("gaussian", "uniform", "median", "minimum", "maximum", "sobel", "laplace", "correlate", "convolve"),
    *("clip", "astype", "transpose", "softmax", "isel", "expr"),
]


@st.composite
def flows(draw, folder):
    """A flow's text: a source, a DAG of steps, reductions, and a value that uses one again."""
    shape = draw(st.lists(st.integers(1, 13), min_size=1, max_size=3).map(tuple))
    dtype = draw(st.sampled_from(["float32", "float64", "uint8", "int16"]))
    data = np.random.default_rng(draw(st.integers(0, 99))).integers(0, 7, shape)
    np.save(Path(folder, "x.npy"), data.astype(dtype))
    steps, ndims = {}, {"x": len(shape)}
    for i in range(draw(st.integers(1, 4))):
        of = draw(st.sampled_from(sorted(ndims)))
        op = draw(st.sampled_from([*UNARY, "stack", "concatenate"]))
        params = draw(parameters(op, ndims[of]))
        name = f"s{i}"
        if op == "expr":
            steps[name] = {"op": op, "expr": params["expr"].replace("NODE", of)}
        else:
            steps[name] = {"op": op, "of": [of, of] if op in ("stack", "concatenate") else of, **params}
        ndims[name] = ndims[of] + (op == "stack")
    last = f"s{len(steps) - 1}"
    axes = draw(st.sets(st.integers(0, ndims[last] - 1), min_size=1))
    for op in draw(st.sets(st.sampled_from(REDUCTIONS), max_size=2)):
        all_axes = draw(st.booleans())
        axis = None if all_axes else min(axes) if op.startswith("arg") else sorted(axes)
        steps[op] = {"op": op, "of": last, "axis": axis, "keepdims": draw(st.booleans())}
        if all_axes:
            steps[f"{op}_again"] = {"op": "expr", "expr": f"{last} - {op}" if draw(st.booleans()) else f"{op} + 1"}
    sinks = {}
    for name in steps:
        kind = draw(st.sampled_from(["npy", "zarr"]))
        sinks[name] = {"to": kind, "of": name, "path": str(Path(folder, f"{name}.{kind}"))}
    source = {"from": "npy", "path": str(Path(folder, "x.npy"))}
    return yaml.safe_dump({"flow": "any", "sources": {"x": source}, "steps": steps, "sinks": sinks})


def whole(flow):
    """Every node by the op's function on whole arrays, and reductions by NumPy itself."""
    values = {}
    for node in flow.nodes.values():
        if node.source is not None:
            values[node.name] = node.source.read(region_of(node.meta.shape))
            continue
        op = get_op(node.use)
        arrays = [values[name] for name in node.of]
        if op.is_reduction:
            axis = node.params["axis"]
            one = axis[0] if len(axis) == 1 else None if node.use.startswith("arg") else axis
            values[node.name] = getattr(np, node.use)(arrays[0], axis=one, keepdims=node.params["keepdims"])
        else:
            values[node.name] = op(arrays, node.params, np, metas=[flow.nodes[name].meta for name in node.of])
    return values


@contextmanager
def small(block, tile):
    """Cut into blocks and tiles of a few elements, as if memory and caches were tiny."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks, "LARGEST_BLOCK", block)
        patch.setattr(blocks, "TILE", tile)
        patch.setattr(blocks, "TASK_COST", 1)
        yield


def check(flow, plan):
    expected = whole(flow)
    for output in plan.outputs:
        path = output.path
        got = np.load(path) if path.endswith(".npy") else np.asarray(zarr.open(path, mode="r")[...])
        want = np.asarray(expected[output.name])
        assert got.shape == want.shape
        assert got.dtype == want.dtype
        tolerance = 1e-5 if got.dtype == np.float32 else 1e-9
        np.testing.assert_allclose(got, want, rtol=tolerance, atol=tolerance * max(1, np.abs(want).max(initial=0)))


@pytest.mark.parametrize(("kind", "examples"), [("synchronous", 60), ("threads", 25), ("local", 10)])
def test_any_flow_gives_the_whole_array_answer(kind, examples):
    with open_pool(kind) as pool:

        @settings(deadline=None, max_examples=examples, suppress_health_check=[HealthCheck.too_slow])
        @given(st.data())
        def run(data):
            with TemporaryDirectory() as folder:
                flow = loads(data.draw(flows(folder)))
                block, tile = 2 ** data.draw(st.integers(4, 11)), 2 ** data.draw(st.integers(3, 10))
                with small(block, tile):
                    plan = make_plan(flow, run_dir=Path(folder, "run"), workers=1, threads=2, budget=2**34)
                run_plan(plan, pool, Outcome(), max_bad=0, progress=Silent())
                check(flow, plan)

        run()


def test_a_flow_can_ask_for_its_blocks(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = """
    flow: asked
    block: [3, 100]
    sources: {x: {from: random, shape: [10, 20, 4], seed: 1}}
    steps: {y: {op: gaussian, of: x, sigma: 1}, total: {op: sum, of: y}}
    sinks: {y: {to: zarr, of: y, path: y.zarr, chunks: [2, 5, 4]}, total: {to: npy, of: total, path: t.npy}}
    """
    flow = loads(text)
    plan = hpcflow.plan(flow, cluster="synchronous")
    assert [stage.block for stage in plan.stages] == [(4, 20, 4), ()]
    hpcflow.run(flow, cluster="synchronous")
    check(flow, plan)


@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_build_gives_the_same_arrays_lazily(data):
    with TemporaryDirectory() as folder:
        flow = loads(data.draw(flows(folder)))
        expected = whole(flow)
        with small(2 ** data.draw(st.integers(4, 11)), 64):
            arrays = hpcflow.build(flow)
            for name in flow.nodes:
                array = arrays[name]
                got = array.compute(scheduler="synchronous")
                want = np.asarray(expected[name])
                assert array.shape == got.shape == want.shape
                assert array.dtype == got.dtype == want.dtype
                np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5 * max(1, np.abs(want).max(initial=0)))

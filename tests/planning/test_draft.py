"""Which ends share a task, and where a node is stored between two passes."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hpcflow.clusters.profiles import open_pool
from hpcflow.execute.progress import Silent
from hpcflow.execute.run import Outcome, run_plan
from hpcflow.planning.describe import halo

ZARR = "{{to: zarr, of: {0}, path: OUT/{0}.zarr, chunks: {1}}}"


def test_edges_is_one_stage_with_the_halo_of_both_filters(sparse, planned, flow):
    steps = [
        "smooth: {op: gaussian, of: x, sigma: 1.5}",
        "gx: {op: sobel, of: smooth, axis: 1}",
        "gy: {op: sobel, of: smooth, axis: 0}",
        'energy: {op: expr, expr: "sqrt(gx**2 + gy**2)"}',
        "total: {op: sum, of: energy}",
    ]
    sinks = ["e: " + ZARR.format("energy", [1024, 1024]), "t: {to: json, of: total, path: OUT/t.json}"]
    plan = planned(flow(sparse((8192, 8192)), steps, sinks))
    (stage,) = plan.stages
    assert stage.steps == ("smooth", "gx", "gy", "energy", "total")
    assert halo(stage) == [7, 7]
    assert all(b % 1024 == 0 for b in stage.block)


def test_sinks_and_reductions_of_one_source_share_its_tasks(sparse, planned, flow):
    steps = ["a: {op: clip, of: x, min: 0}", "s: {op: sum, of: a}", "m: {op: max, of: a}", "h: {op: mean, of: x}"]
    sinks = ["a: {to: npy, of: a, path: OUT/a.npy}", "x: {to: npy, of: x, path: OUT/x2.npy}"]
    sinks += [f"{name}: {{to: json, of: {name}, path: OUT/{name}.json}}" for name in "smh"]
    plan = planned(flow(sparse((4096, 4096)), steps, sinks))
    (stage,) = plan.stages
    assert {write.node for write in stage.writes} == {"a", "x"}
    assert {reduce.node for reduce in stage.reduces} == {"s", "m", "h"}


def test_ends_that_share_nothing_have_stages_of_their_own(sparse, planned, flow):
    text = flow(sparse((64, 64)), [], ["a: {to: npy, of: x, path: OUT/a.npy}", "b: {to: npy, of: z, path: OUT/b.npy}"])
    text = text.replace("sinks:", f"  z: {sparse((32, 32), name='z')}\nsinks:")
    assert len(planned(text).stages) == 2


def test_a_result_that_later_steps_read_comes_from_a_stage_before_theirs(sparse, planned, flow):
    steps = ["m: {op: mean, of: x}", 'y: {op: expr, expr: "x - m"}']
    plan = planned(flow(sparse((4096, 4096)), steps, ["y: {to: npy, of: y, path: OUT/y.npy}"]))
    assert [stage.level for stage in plan.stages] == [0, 1]
    assert plan.scratch == ()


def test_planes_become_columns_in_two_passes(sparse, planned, flow):
    source = sparse((1024, 2048, 2048), "uint16", chunks=(1, 2048, 2048))
    plan = planned(
        flow(source, [], ["o: {to: zarr, of: x, path: OUT/o.zarr, chunks: [1024, 64, 64]}"]), budget=1024 * 2**20
    )
    first, second = plan.stages
    assert first.writes[0].target == plan.scratch[0]
    assert second.writes[0].target.path.endswith("o.zarr")
    assert plan.scratch_disk == plan.to_json()["scratch_disk"] == 8 * 2**30
    assert plan.disk_needed()[plan.scratch[0].path] == 8 * 2**30
    assert plan.peak_memory <= plan.budget
    # Each pass reads every byte once.
    assert plan.bytes_read == 2 * 8 * 2**30


def test_chunks_that_suit_the_blocks_are_read_directly(sparse, planned, flow):
    source = sparse((8192, 8192), chunks=(1024, 1024))
    plan = planned(flow(source, [], ["o: {to: zarr, of: x, path: OUT/o.zarr, chunks: [2048, 2048]}"]))
    assert plan.scratch == ()
    assert plan.bytes_read == 8192 * 8192 * 4


def test_photos_are_never_stored_between_since_bad_ones_are_told_apart_to_the_end(planned, flow, tmp_path):
    from PIL import Image  # noqa: PLC0415

    photos = tmp_path / "photos"
    photos.mkdir()
    for i in range(3):
        Image.new("RGB", (64, 64)).save(photos / f"{i}.png")
    steps = ["t: {op: transpose, of: x, axes: [1, 2, 3, 0]}", "s: {op: softmax, of: u, axis: 0}"]
    steps.insert(1, "u: {op: astype, of: t, dtype: float32}")
    source = f"{{from: images, path: {photos}, size: 64}}"
    assert planned(flow(source, steps, ["s: {to: npy, of: s, path: OUT/s.npy}"])).scratch == ()


@pytest.mark.parametrize("kind", ["synchronous", "threads"])
def test_two_passes_give_the_same_and_leave_nothing_behind(kind, planned, flow, tmp_path, monkeypatch):
    monkeypatch.setattr("hpcflow.planning.blocks.TASK_COST", 1)
    monkeypatch.setattr("hpcflow.planning.blocks.CHUNK_COST", 1)
    monkeypatch.setattr("hpcflow.planning.blocks.LARGEST_BLOCK", 2**14)
    data = np.random.default_rng(0).integers(0, 1000, (32, 40, 48)).astype("uint16")
    zarr.create_array(tmp_path / "x.zarr", data=data, chunks=(1, 40, 48))
    text = flow(
        f"{{from: zarr, path: {tmp_path}/x.zarr}}", [], ["o: {to: zarr, of: x, path: OUT/o.zarr, chunks: [32, 8, 8]}"]
    )
    plan = planned(text)
    assert len(plan.stages) == 2
    with open_pool(kind) as pool:
        run_plan(plan, pool, Outcome(), max_bad=0, progress=Silent())
    np.testing.assert_array_equal(zarr.open_array(tmp_path / "o.zarr", mode="r")[...], data)
    # A mark of what it was stays, for the receipts of what was made of it.
    assert [path.name for path in (tmp_path / "run" / "stages").iterdir()] == ["x.npy.gone"]


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.tuples(
        st.sampled_from(["fft", "ifft"]),
        st.sampled_from(["backward", "ortho", "forward"]),
        st.permutations([0, 1, 2]),
        st.sampled_from(["float32", "complex64", "int16"]),
    )
)
def test_transforms_that_do_not_fit_go_axis_by_axis(planned, flow, tmp_path, case):
    op, norm, axes, dtype = case
    x = np.random.default_rng(0).normal(0, 99, (64, 256, 256)).astype(dtype)
    np.save(tmp_path / "x.npy", x)
    steps = [f"y: {{op: {op}, of: x, axes: {axes}, norm: {norm}}}"]
    text = flow(f"{{from: npy, path: {tmp_path}/x.npy}}", steps, ["y: {to: npy, of: y, path: OUT/y.npy}"])
    budget = planned(text).base.total + 48 * 2**20
    plan = planned(text, budget=budget, threads=1)
    assert len(plan.stages) == 2
    assert plan.peak_memory <= budget
    shutil.rmtree(tmp_path / "run", ignore_errors=True)
    # What this process holds of other tests is no matter here.
    with open_pool("synchronous") as pool:
        run_plan(replace(plan, budget=2**40), pool, Outcome(), max_bad=0, progress=Silent())
    want = getattr(np.fft, f"{op}n")(x.astype("complex128"), axes=axes, norm=norm)
    np.testing.assert_allclose(np.load(tmp_path / "y.npy"), want, atol=1e-5 * np.abs(want).max())

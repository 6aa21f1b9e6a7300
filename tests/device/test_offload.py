"""Blocks on a device: the moves, the turns, and what is done where there is no room."""

import json
import threading
from pathlib import Path

import numpy as np
import pytest
import scipy.ndimage as ndi
from hypothesis import given, settings
from hypothesis import strategies as st

from hpcflow import ceilings
from hpcflow.clusters.profiles import Profile, open_pool
from hpcflow.errors import FlowError, RunError
from hpcflow.execute import device
from hpcflow.execute.device import Cuda
from hpcflow.execute.progress import Silent
from hpcflow.execute.run import Outcome, run_plan
from hpcflow.planning.device import AT_ONCE, CONTEXT, Gpu
from hpcflow.planning.plan import make_plan
from hpcflow.spec.validate import loads
from tests.device.fake import FakeCupy, compiles

FLOW = """\
flow: moved
block: {block}
sources:
  x: {{from: npy, path: x.npy}}
steps:
  smooth: {{op: gaussian, of: x, sigma: 1, mode: {mode}}}
  shaped: {{op: expr, expr: "sqrt(abs(smooth)) + x"}}
  total: {{op: sum, of: shaped}}
  peaks: {{op: argmax, of: shaped, axis: 0}}
  spread: {{op: std, of: smooth, axis: 1}}
sinks:
  shaped: {{to: npy, of: shaped, path: shaped.npy}}
  smooth: {{to: zarr, of: smooth, path: smooth.zarr, chunks: [4, 4]}}
  total: {{to: json, of: total, path: total.json}}
  peaks: {{to: npy, of: peaks, path: peaks.npy}}
  spread: {{to: npy, of: spread, path: spread.npy}}
"""


class Told(Silent):
    """Keeps what it is told."""

    def __init__(self):
        self.notes = []

    def note(self, text):
        self.notes.append(text)


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(device, "_made", {})
    ceilings.begin("another")


def run(tmp_path, text, xp, threads=1):
    """Run a flow on a device that stands in for a GPU; what was noted."""
    device._made["cuda"] = Cuda(xp)
    plan = make_plan(
        loads(text, "moved.yaml"),
        run_dir=tmp_path / "run",
        workers=1,
        threads=threads,
        budget=2**32,
        processes=False,
        gpu=Gpu(None, threads),
    )
    told = Told()
    kind = "synchronous" if threads == 1 else "threads"
    with open_pool(Profile(kind, 1, threads, device="cuda", dashboard=False)) as pool:
        run_plan(plan, pool, Outcome(), max_bad=0, progress=told, fresh=True)
    assert all(stage.tile == stage.block and stage.device == "cuda" for stage in plan.stages)
    return told.notes


def answers(x, mode):
    smooth = ndi.gaussian_filter(x.astype(x.dtype.newbyteorder("=")), 1, mode=mode)
    return smooth, np.sqrt(np.abs(smooth)) + x


def check(x, mode):
    smooth, shaped = answers(x, mode)
    np.testing.assert_allclose(np.load("shaped.npy"), shaped, rtol=1e-5)
    np.testing.assert_array_equal(np.load("peaks.npy"), np.load("shaped.npy").argmax(0))
    np.testing.assert_allclose(np.load("spread.npy"), smooth.std(1, dtype=np.float64), rtol=1e-4)
    assert json.loads(Path("total.json").read_text()) == pytest.approx(shaped.sum(dtype=np.float64), rel=1e-5)


@pytest.mark.skipif(not compiles(), reason="needs g++")
@settings(deadline=None, max_examples=4)
@given(st.data())
def test_a_run_on_a_device_gives_the_same(tmp_path_factory, data):
    tmp_path = tmp_path_factory.mktemp("run")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        shape = data.draw(st.tuples(st.integers(1, 40), st.integers(1, 40)))
        x = np.random.default_rng(0).uniform(0.5, 2, shape).astype(data.draw(st.sampled_from(["f4", "f8", ">f4"])))
        np.save("x.npy", x)
        mode = data.draw(st.sampled_from(["reflect", "wrap", "nearest"]))
        block = [data.draw(st.integers(-(-n // 3), n)) for n in shape]
        threads = data.draw(st.sampled_from([1, 3]))
        # Rooms for a block at once, for parts of it, and often for a few elements alone.
        xp = FakeCupy(room=data.draw(st.sampled_from([2**30, 6000, 3000])))
        notes = run(tmp_path, FLOW.format(mode=mode, block=block), xp, threads)
        check(x, mode)
        assert bool(notes) == bool(xp.freed)


def test_a_smaller_block_is_remembered_and_said_once(tmp_path):
    np.save("x.npy", np.random.default_rng(0).random((64, 64)))
    text = (
        "flow: moved\nblock: [32, 64]\nsources:\n  x: {from: npy, path: x.npy}\n"
        "steps:\n  y: {op: gaussian, of: x, sigma: 1}\nsinks:\n  y: {to: npy, of: y, path: y.npy}\n"
    )
    xp = FakeCupy(room=30 * 64 * 8)
    notes = run(tmp_path, text, xp)
    np.testing.assert_allclose(np.load("y.npy"), ndi.gaussian_filter(np.load("x.npy"), 1), rtol=1e-12)
    assert notes == ["`y`: the device had no room for 32×64 at once; 32×32 now"]
    assert xp.freed == 1  # the second block began with halves


def test_no_room_for_anything_is_one_clear_error(tmp_path):
    np.save("x.npy", np.ones((8, 8)))
    text = (
        "flow: moved\nsources:\n  x: {from: npy, path: x.npy}\n"
        "steps:\n  y: {op: gaussian, of: x, sigma: 1}\nsinks:\n  y: {to: npy, of: y, path: y.npy}\n"
    )
    with pytest.raises(RunError, match=r"expected a device with room for .* at once, found: Out of memory allocating"):
        run(tmp_path, text, FakeCupy(room=1))


def test_two_blocks_are_on_the_device_and_a_third_is_read(monkeypatch):
    xp = FakeCupy()
    cuda = Cuda(xp)
    inside, leave, staged, order = threading.Barrier(3), threading.Event(), threading.Event(), []

    def block(number):
        array = cuda.staged(np.full(3, number))
        if number == 2:
            staged.set()
        with cuda.turn():
            order.append(number)
            moved = cuda.put(array)
            if number < 2:
                inside.wait(10)
                assert leave.wait(10)
            return cuda.get(moved)

    results = {}
    threads = [threading.Thread(target=lambda n=n: results.update({n: block(n)})) for n in (0, 1)]
    for thread in threads:
        thread.start()
    inside.wait(10)  # both are on the device at one time, each with a stream of its own
    third = threading.Thread(target=lambda: results.update({2: block(2)}))
    third.start()
    assert staged.wait(10)  # what is read does not wait for a turn
    assert 2 not in order
    leave.set()
    for thread in [*threads, third]:
        thread.join(10)
    assert order[2] == 2
    assert {n: list(a) for n, a in results.items()} == {n: [n] * 3 for n in range(3)}


def test_what_is_copied_is_kept_until_the_copy_is_done():
    cuda = Cuda(FakeCupy())
    with cuda.turn():
        # The caller keeps neither; the stream's `synchronize` would find the memory gone.
        assert cuda.get(cuda.put(cuda.staged(np.arange(5)))).tolist() == [0, 1, 2, 3, 4]
        cuda.put(cuda.staged(np.ones(9)))


def plan_of(tmp_path, gpu, threads=1):
    text = FLOW.format(mode="reflect", block=[512, 2000])
    flow = loads(text.replace("{from: npy, path: x.npy}", "{from: full, shape: [2000, 2000], value: 1}"), "moved.yaml")
    return make_plan(flow, run_dir=tmp_path / "r", workers=1, threads=threads, budget=2**32, processes=False, gpu=gpu)


def test_a_plan_says_what_a_device_must_hold(tmp_path):
    assert plan_of(tmp_path, None).to_json()["memory"]["device"] is None
    known = plan_of(tmp_path, Gpu(2**31, 2), 2)
    found = known.to_json()["memory"]["device"]
    assert found["peak"] == CONTEXT + AT_ONCE * found["per_task"] <= found["budget"] < 2**31
    block = 512 * 2000 * 8
    assert 3 * block < found["per_task"] < 12 * block
    assert "on each device" in str(known)
    assert plan_of(tmp_path, Gpu()).to_json()["memory"]["device"]["budget"] is None


def test_a_run_that_has_no_room_on_the_smallest_device_is_refused(tmp_path):
    with pytest.raises(FlowError, match=r"of device memory, found that a block of 512×2000 takes .* for CUDA \+ 2 ×"):
        plan_of(tmp_path, Gpu(CONTEXT + 2**20, 2), 2)

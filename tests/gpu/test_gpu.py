"""On a real GPU: ops against NumPy, moves, what is done without room, one model for each device.

`make test-gpu` runs this; without an NVIDIA driver and CuPy all of it is skipped.
"""

import json
from pathlib import Path

import numpy as np
import pytest

import hpcflow
from hpcflow import ceilings
from hpcflow.clusters.profiles import Profile, open_pool
from hpcflow.execute import device
from hpcflow.execute.device import Cuda
from hpcflow.execute.progress import Silent
from hpcflow.namespace import computing_on
from hpcflow.ops._functions import FUNCTIONS
from hpcflow.program.evaluate import evaluate
from hpcflow.regions import whole
from tests.cutting import build, metas_of
from tests.device.cases import CASES
from tests.device.test_offload import FLOW, check
from tests.test_ops_declared import INPUTS

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.gpu


@pytest.fixture(scope="module", autouse=True)
def cupy():
    found = pytest.importorskip("cupy")
    try:
        found.cuda.runtime.getDeviceCount()
    except found.cuda.runtime.CUDARuntimeError as error:
        pytest.skip(f"no GPU answers: {error}")
    return found


@pytest.fixture
def profile(tmp_path, monkeypatch):
    """A working directory with a profile for the GPU."""
    monkeypatch.chdir(tmp_path)
    ceilings.begin(str(tmp_path))
    Path("gpu.yaml").write_text("kind: threads\nthreads: 3\ndevice: cuda\n")
    return "gpu.yaml"


def compare(program, arrays, out, cupy):
    wanted = {out: whole(program.metas[out].shape)}
    with np.errstate(all="ignore"):
        exact = evaluate(program, wanted, lambda name, _: arrays[name])[out]
        got = evaluate(program, wanted, lambda name, _: cupy.asarray(arrays[name]), cupy)[out]
    got = got.get() if hasattr(got, "get") else got
    assert got.dtype == exact.dtype
    for field in got.dtype.names or [...]:
        np.testing.assert_allclose(got[field], exact[field], rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("dtype", ["uint8", "float32", "float64"])
@pytest.mark.parametrize(("name", "given"), CASES)
def test_op(name, given, dtype, cupy):
    x = np.random.default_rng(0).uniform(0, 9, (30, 6) if name != "matmul" else (6, 6)).astype(dtype)
    arrays = {f"x{i}": x for i in range(2 if name == "matmul" else INPUTS.get(name, 1))}
    program = build(
        metas_of(arrays), ("out", name, list(arrays), {"bins": 5, **given} if name == "histogram" else given)
    )
    op, params = program.ops["out"], program.steps[0].params
    if not op.is_reduction:
        compare(program, arrays, "out", cupy)
        return
    placed = {"region": whole(x.shape), "metas": [program.metas["x0"]]}
    for one, other in zip(op([cupy.asarray(x)], params, cupy, **placed), op([x], params, np, **placed), strict=True):
        np.testing.assert_allclose(one.get() if hasattr(one, "get") else one, other, rtol=1e-6)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_function_of_a_formula(name, cupy):
    arrays = {n: np.random.default_rng(0).uniform(1, 9, (4, 5)).astype("f4") for n in "abc"[: FUNCTIONS[name][0]]}
    text = f"{name}({', '.join(arrays)})"
    try:
        program = build(metas_of(arrays), ("out", "expr", list(arrays), {"expr": text}))
    except ValueError:
        pytest.skip("not for floats")
    compare(program, arrays, "out", cupy)


@pytest.mark.parametrize("dtype", ["f4", ">f4", "u1", "c8", "?"])
def test_there_and_back_it_is_the_same(dtype, cupy):
    x = np.random.default_rng(0).integers(0, 2, (301, 203)).astype(dtype)[::2, ::-1]
    cuda = Cuda(cupy)
    with cuda.turn():
        back = cuda.get(cuda.put(cuda.staged(x)))
    np.testing.assert_array_equal(back, x)


def test_a_flow_gives_what_it_gives_on_the_processor(profile):
    x = np.random.default_rng(0).uniform(0.5, 2, (700, 500)).astype("f4")
    np.save("x.npy", x)
    Path("flow.yaml").write_text(FLOW.format(mode="reflect", block=[200, 500]))
    report = hpcflow.run("flow.yaml", cluster=profile, dashboard=False)
    assert report.cluster["device"] == "cuda"
    check(x, "reflect")


@pytest.mark.parametrize("name", ["matmul", "spectrum", "gpu_speedup"])
def test_the_flows_for_either_device(name, profile):
    answers = []
    for cluster in (profile, "synchronous"):
        hpcflow.run(ROOT / f"flows/{name}.yaml", params={"n": 300}, cluster=cluster, dashboard=False, fresh=True)
        found = sorted(Path("out").glob("*.npy"))
        numbers = [json.loads(path.read_text()) for path in Path("out").glob("*.json") if not path.name.startswith(".")]
        answers.append(([np.load(path) for path in found], numbers))
    (arrays, numbers), (others, exact) = answers
    for one, other in zip(arrays, others, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-3)
    for one, other in zip(numbers, exact, strict=True):
        assert one == pytest.approx(other, rel=1e-4)


def test_a_block_without_room_is_halved(profile, cupy, monkeypatch):
    x = np.random.default_rng(0).uniform(0.5, 2, (2000, 2000)).astype("f4")
    np.save("x.npy", x)
    Path("flow.yaml").write_text(FLOW.format(mode="reflect", block=[2000, 2000]))
    # The device's own allocator refuses: what follows is what follows on a full device.
    pool = cupy.get_default_memory_pool()
    pool.free_all_blocks()
    monkeypatch.setattr(device, "_made", {})
    pool.set_limit(size=4 * x.nbytes)
    notes = []
    try:
        with computing_on("cuda"):
            progress = type("Told", (Silent,), {"note": lambda _, text: notes.append(text)})()
            hpcflow.run("flow.yaml", cluster=profile, dashboard=False, progress=progress)
    finally:
        pool.set_limit(size=0)
    check(x, "reflect")
    assert any("had no room" in text for text in notes)


def test_a_network_takes_the_device_s_own_array(cupy):
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("torch sees no GPU")
    from hpcflow.models._torch import tensor  # noqa: PLC0415

    x = cupy.arange(6.0)
    assert tensor(x, "cuda").data_ptr() == x.data.ptr


def test_one_worker_has_each_device(cupy):
    pytest.importorskip("dask_cuda")
    count = cupy.cuda.runtime.getDeviceCount()
    with open_pool(Profile("local_cuda", count, 2, device="cuda", dashboard=False)) as pool:
        seen = {pool.submit(f"device-{i}", _device).result(120) for i in range(8 * count)}
    assert len(seen) == count


def _device():
    import cupy as here  # noqa: PLC0415  (on the worker)

    return here.cuda.runtime.getDeviceProperties(0)["uuid"]

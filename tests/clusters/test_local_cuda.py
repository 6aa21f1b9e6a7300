"""One worker for each GPU, against a stub of the NVIDIA driver's library; blocks are computed on the CPU."""

import json
import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="a C compiler makes the stub")


@pytest.fixture(scope="module")
def stub(tmp_path_factory):
    """An environment in which the driver's library is the stub."""
    folder = tmp_path_factory.mktemp("nvml")
    library = folder / "libnvidia-ml.so.1"
    subprocess.run(["gcc", "-shared", "-fPIC", "-O1", "-o", library, HERE / "nvml_stub.c"], check=True)
    environment = {**os.environ, "LD_LIBRARY_PATH": str(folder), "PYTHONPATH": str(ROOT)}
    environment.pop("CUDA_VISIBLE_DEVICES", None)
    return environment


def python(body, environment, folder):
    """What a script prints, as JSON; the library is found by a process that starts with it."""
    script = folder / "script.py"
    head = "import json, os, sys\nfrom hpcflow.clusters.profiles import Profile, open_pool, profile\n"
    script.write_text(
        head + textwrap.dedent(body).replace("MAIN:", 'if __name__ == "__main__":').replace("THERE", str(folder))
    )
    done = subprocess.run([sys.executable, script], env=environment, cwd=folder, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()[-4000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize(
    ("visible", "expected"),
    [
        (None, ["Stub 0", "Stub 1", "Stub 2", "Stub 3"]),
        ("2,0", ["Stub 2", "Stub 0"]),
        ("1,7,0", ["Stub 1"]),  # CUDA shows those before the first that does not exist
        ("", []),
        ("GPU-00000000-0000-0000-0000-000000000003", ["Stub 3"]),
    ],
)
def test_devices_are_those_that_cuda_would_show(stub, tmp_path, visible, expected):
    environment = stub if visible is None else {**stub, "CUDA_VISIBLE_DEVICES": visible}
    body = """
    from hpcflow.clusters._gpus import devices
    print(json.dumps([[gpu.name, gpu.memory] for gpu in devices()]))
    """
    assert python(body, environment, tmp_path) == [[name, 16 << 30] for name in expected]


PINNED = """
import signal, time
from contextlib import suppress
from hpcflow.errors import WorkerLost

def who():
    from distributed import get_worker
    time.sleep(0.2)
    worker = get_worker()
    limit = worker.data.device_buffer.fast.n if hasattr(worker.data, "device_buffer") else None
    cores = sorted(os.sched_getaffinity(0))
    return os.getpid(), os.environ["CUDA_VISIBLE_DEVICES"], worker.memory_manager.memory_limit, limit, cores

def everyone(pool):
    found = {}
    while len(found) < 4:
        for ticket in [pool.submit("who-0", who) for _ in range(8)]:
            with suppress(WorkerLost):
                pid, *rest = ticket.result(60)
                found[rest[0]] = [pid, *rest[1:]]
    return found

MAIN:
    options = {"device_memory_limit": 0.5}
    with open_pool(Profile("local_cuda", 4, 1, device="cpu", dashboard=False, options=options)) as pool:
        before = everyone(pool)
        os.kill(before["2,3,0,1"][0], signal.SIGKILL)
        after = before
        while after["2,3,0,1"][0] == before["2,3,0,1"][0]:
            after = everyone(pool)
        print(json.dumps([before, after]))
"""


@pytest.mark.slow
def test_every_worker_has_its_own_device_and_one_that_died_comes_back_on_it(stub, tmp_path):
    pytest.importorskip("dask_cuda")
    before, after = python(PINNED, stub, tmp_path)
    assert set(before) == set(after) == {"0,1,2,3", "1,2,3,0", "2,3,0,1", "3,0,1,2"}
    assert len({pid for pid, *_ in before.values()}) == 4
    for pid, host_limit, device_limit, cores in [*before.values(), *after.values()]:
        assert pid
        assert not host_limit  # the plan bounds the memory of the host
        assert device_limit == (16 << 30) // 2
        assert cores == [0]
    changed = {device for device in before if before[device][0] != after[device][0]}
    assert changed == {"2,3,0,1"}


RUN = """
import numpy as np
import hpcflow
from hpcflow import namespace

MAIN:
    rng = np.random.default_rng(0)
    np.save("x.npy", rng.random((400, 300), dtype="float32"))
    open("flow.yaml", "w").write(
        "flow: smooth\\nblock: [50, 300]\\nsources:\\n  x: {from: npy, path: x.npy}\\n"
        "steps:\\n  y: {op: gaussian, of: x, sigma: 2}\\nsinks:\\n  y: {to: npy, of: y, path: y.npy}\\n"
    )
    open("gpus.yaml", "w").write("kind: local_cuda\\ndevice: cpu\\nthreads: 1\\ndashboard: false\\n")
    report = hpcflow.run("flow.yaml", cluster="gpus.yaml")
    first = open("y.npy", "rb").read()
    open("cpu.yaml", "w").write("kind: synchronous\\ndevice: cpu\\n")
    hpcflow.run("flow.yaml", cluster="cpu.yaml", fresh=True)
    print(json.dumps([report.cluster, report.tasks, first == open("y.npy", "rb").read()]))
"""


@pytest.mark.slow
def test_a_flow_runs_on_them(stub, tmp_path):
    pytest.importorskip("dask_cuda")
    cluster, tasks, same = python(RUN, stub, tmp_path)
    assert (cluster["kind"], cluster["workers"], cluster["device"]) == ("local_cuda", 4, "cpu")
    assert tasks["executed"] == 8
    assert same


NETWORK = """
import numpy as np
import hpcflow

MAIN:
    np.save("stack.npy", np.random.default_rng(0).random((32, 64, 64), dtype="float32"))
    open("count.py", "w").write(
        "import os\\n"
        "from hpcflow.models._archive import Archive\\n"
        "def dask_setup(worker):\\n"
        "    load = Archive.load\\n"
        "    def counted(*given, **named):\\n"
        "        with open('THERE/loads.txt', 'a') as file:\\n"
        "            file.write(os.environ['CUDA_VISIBLE_DEVICES'] + chr(10))\\n"
        "        return load(*given, **named)\\n"
        "    Archive.load = counted\\n"
    )
    open("flow.yaml", "w").write(
        "flow: denoise\\nblock: [1, 64, 64]\\nsources:\\n  x: {from: npy, path: stack.npy, dims: [t, y, x]}\\n"
        "steps:\\n  y: {op: infer_tiled, of: x, model: MODEL, axes: [y, x], depth: 5, mode: reflect}\\n"
        "sinks:\\n  y: {to: npy, of: y, path: y.npy}\\n"
    )
    open("gpus.yaml", "w").write(
        "kind: local_cuda\\ndevice: cpu\\nthreads: 1\\ndashboard: false\\noptions: {preload: [THERE/count.py]}\\n"
    )
    report = hpcflow.run("flow.yaml", cluster="gpus.yaml")
    print(json.dumps([report.tasks["executed"], open("loads.txt").read().split()]))
"""


@pytest.mark.slow
def test_a_network_is_loaded_once_on_each(stub, tmp_path):
    pytest.importorskip("dask_cuda")
    pytest.importorskip("torch")
    executed, loads = python(NETWORK.replace("MODEL", str(ROOT / "data" / "denoiser.pt2")), stub, tmp_path)
    assert executed == 32
    assert len(loads) > 1
    assert len(set(loads)) == len(loads)


def test_auto_takes_the_devices_and_the_smallest_memory(stub, tmp_path):
    pytest.importorskip("cupy")
    body = """
    found = profile("local-cuda", threads=2)
    print(json.dumps([found.workers, found.threads, found.device, found.device_reason, found.device_memory]))
    """
    assert python(body, stub, tmp_path) == [4, 2, "cuda", "Stub 0 and 3 more", 16 << 30]


def test_without_a_device_it_is_refused(stub, tmp_path):
    body = """
    from hpcflow.errors import Mismatch
    try:
        profile("local-cuda")
    except Mismatch as error:
        print(json.dumps(str(error)))
    """
    assert "expected an NVIDIA GPU to compute on: no NVIDIA device is visible" in python(
        body, {**stub, "HPCFLOW_STUB_GPUS": "0"}, tmp_path
    )

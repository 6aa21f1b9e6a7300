"""What a profile's `device` comes to, and that every worker knows."""

import json

import pytest

import hpcflow
from hpcflow.clusters import _gpus
from hpcflow.clusters._gpus import Gpu, decide, look
from hpcflow.clusters.profiles import Profile, open_pool, profile
from hpcflow.namespace import choose, chosen

TWO = [Gpu("NVIDIA H100", "GPU-0", 80 << 30), Gpu("NVIDIA L4", "GPU-1", 24 << 30)]


def found(monkeypatch, gpus, *, cupy=True):
    monkeypatch.setattr(_gpus, "devices", lambda environment: gpus)
    monkeypatch.setattr(_gpus, "find_spec", lambda name: object() if cupy else None)


@pytest.mark.parametrize("kind", ["local", "threads", "synchronous"])
def test_auto_is_cuda_where_there_is_a_device_and_cupy(kind, monkeypatch):
    found(monkeypatch, TWO)
    chosen = profile(kind)
    assert (chosen.device, chosen.device_memory) == ("cuda", 24 << 30)
    assert chosen.device_reason == "NVIDIA H100 and 1 more"


def test_auto_is_cpu_where_something_lacks_and_says_what(monkeypatch):
    monkeypatch.setattr(_gpus, "LIBRARY", "libno-such-driver.so.1")
    assert decide("auto", None, here=True)["device_reason"] == "no NVIDIA driver was found"
    found(monkeypatch, [])
    assert look() == ([], "no NVIDIA device is visible")
    found(monkeypatch, TWO, cupy=False)
    assert decide("auto", None, here=True)["device"] == "cpu"
    assert "pip install 'hpcflow[cuda]'" in decide("auto", None, here=True)["device_reason"]


def test_what_a_profile_says_of_its_device_holds(monkeypatch):
    found(monkeypatch, TWO)
    assert decide("cpu", None, here=True) == {"device": "cpu"}
    assert decide("cuda", 5, here=True) == {"device": "cuda", "device_reason": "", "device_memory": 5}
    assert decide("cuda", 5, here=False)["device"] == "cuda"


def test_gpus_of_other_machines_are_used_only_where_asked_for(monkeypatch):
    found(monkeypatch, TWO)
    elsewhere = decide("auto", None, here=False)
    assert elsewhere["device"] == "cpu"
    assert "device: cuda" in elsewhere["device_reason"]


@pytest.mark.parametrize("kind", ["local", "threads", "synchronous"])
def test_every_worker_knows_its_device(kind):
    with open_pool(Profile(kind, 1, 1, device="cuda", dashboard=False)) as pool:
        assert pool.info.device == "cuda"
        assert pool.submit("device-0", chosen).result(30) == "cuda"
    assert chosen() == "cpu"


def test_a_choice_is_kept():
    choose("cuda")
    try:
        assert chosen() == "cuda"
    finally:
        choose("cpu")


def test_the_report_says_why(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    flow = tmp_path / "one.yaml"
    flow.write_text(
        "flow: one\nsources:\n  x: {from: full, shape: [4], value: 1.0}\n"
        "steps:\n  y: {op: sum, of: x}\nsinks:\n  y: {to: json, of: y, path: y.json}\n"
    )
    monkeypatch.setattr(_gpus, "LIBRARY", "libno-such-driver.so.1")
    hpcflow.run(flow, cluster="synchronous")
    cluster = json.loads((tmp_path / "runs/one/report.json").read_text())["cluster"]
    assert (cluster["device"], cluster["device_reason"]) == ("cpu", "no NVIDIA driver was found")

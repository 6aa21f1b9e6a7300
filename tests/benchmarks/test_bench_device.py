"""`benchmarks.device` on this machine, and with a stand-in for a GPU."""

import json

import pytest

from benchmarks import device
from tests.device.fake import FakeCupy, compiles

NAMES = {"matrix product", "fft 2-D", "mean filter 3 x 3", "map-reduce"}


@pytest.fixture(autouse=True)
def _without_a_network(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))

    def missing(*, quick):
        raise ImportError("no network")

    monkeypatch.setattr(device, "_inference", missing)


@pytest.fixture
def run(monkeypatch, capsys):
    def run(*options):
        monkeypatch.setattr("sys.argv", ["device", "--quick", *options])
        device.main()
        return capsys.readouterr().out

    return run


def test_without_a_gpu_it_times_the_cpu_and_says_why(monkeypatch, run):
    monkeypatch.setattr(device, "_gpu", lambda: (None, "no GPU answers"))
    found = json.loads(run("--json"))
    assert found["device"] is None
    assert {row["name"] for row in found["rows"]} == NAMES
    assert all(row["cpu"] > 0 and row["gpu"] is None for row in found["rows"])
    assert found["left_out"] == {"inference": "no network"}


@pytest.mark.skipif(not compiles(), reason="needs g++")
def test_with_one_it_has_a_floor_for_each_row(monkeypatch, run):
    class Gpu(FakeCupy):
        synchronized = 0

        def get_current_stream(self):
            return self

        def synchronize(self):
            self.synchronized += 1

    gpu = Gpu()
    monkeypatch.setattr(device, "_gpu", lambda: (gpu, "a stand-in"))
    lines = run().splitlines()
    assert lines[0] == "GPU: a stand-in"
    assert len([line for line in lines if line.count(" ms") == 3]) == len(NAMES)
    # Every row in each of three rounds, the product's bare call, and the copies.
    assert gpu.synchronized == 3 * (len(NAMES) + 1) + device.ROUNDS

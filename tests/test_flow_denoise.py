"""flows/denoise.yaml and the script that trains its network."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import zarr

import hpcflow

torch = pytest.importorskip("torch")
ROOT = Path(__file__).parents[1]


def decibels(frames, truth):
    """The peak signal-to-noise ratio."""
    return 10 * np.log10(np.ptp(truth) ** 2 / np.mean((frames - truth) ** 2))


@pytest.fixture
def counts(tmp_path, monkeypatch):
    """Frames of soft spots, and what a camera counts of them."""
    monkeypatch.chdir(tmp_path)
    y, x = np.mgrid[:120, :150]
    spots = [(30, 40, 9), (80, 100, 14), (60, 20, 5), (95, 60, 20)]
    frame = 30 + sum(250 * np.exp(-((y - a) ** 2 + (x - b) ** 2) / 2 / width**2) for a, b, width in spots)
    truth = np.stack([frame, np.roll(frame, 7, 1)])
    np.save("stack.npy", np.random.default_rng(0).poisson(truth).astype(np.uint16))
    return truth


def run(model):
    given = {"stack": "stack.npy", "model": str(model)}
    hpcflow.run(ROOT / "flows" / "denoise.yaml", params=given, cluster="synchronous", dashboard=False)
    return zarr.open_array("out/denoised.zarr", mode="r")[:]


def test_frames_lose_their_noise(counts):
    gained = decibels(run(ROOT / "data" / "denoiser.pt2"), counts) - decibels(np.load("stack.npy"), counts)
    assert gained > 5


def test_the_script_trains_a_network(counts, tmp_path):
    script = [sys.executable, ROOT / "data" / "train_denoiser.py", "--steps", "20", "--out", tmp_path / "quick.pt2"]
    subprocess.run(script, check=True, timeout=200, capture_output=True)
    assert run(tmp_path / "quick.pt2").shape == counts.shape

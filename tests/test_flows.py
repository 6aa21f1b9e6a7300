"""The flows that ship, on small data, against what NumPy and SciPy give."""

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow.csv
import pyarrow.parquet
import pytest
import zarr
from PIL import Image
from scipy import ndimage

import hpcflow
from hpcflow.errors import RunError

ROOT = Path(__file__).parents[1]
FIRST = {"chelsea.jpg": range(281, 286), "china.jpg": [698], "coffee.jpg": [967], "flower.jpg": [985]}


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """An empty working directory with the flows' own data folder."""
    monkeypatch.chdir(tmp_path)
    Path("data").symlink_to(ROOT / "data")


@pytest.fixture
def plane():
    """A small plane and its path."""
    array = np.random.default_rng(0).random((61, 47), np.float32)
    np.save("plane.npy", array)
    return array


def run(name, **params):
    return hpcflow.run(ROOT / "flows" / f"{name}.yaml", params=params, cluster="synchronous", dashboard=False)


def needs_models():
    pytest.importorskip("torch")
    pytest.importorskip("efficientnet_lite_pytorch")


def firsts(rows):
    return {Path(row["path"]).name: row["class_id"] for row in rows if row["rank"] == 1}


def test_image():
    needs_models()
    report = run("image")
    table = pyarrow.parquet.read_table("out/labels.parquet")
    assert table.column_names == ["path", "rank", "class_id", "label", "score"]
    assert table["rank"].to_pylist() == [1, 2, 3, 4, 5] * 6
    rows = table.to_pylist()
    for name, classes in FIRST.items():
        assert firsts(rows)[name] in classes
    assert {row["label"] for row in rows if row["class_id"] == 698} == {"palace"}
    with Image.open("out/labels.png") as sheet:
        assert sheet.width > 3 * 224
    assert report.status == "complete"
    assert "espresso" in "\n".join(report.printed)


def test_image_with_bad_photos():
    needs_models()
    shutil.copytree(ROOT / "data" / "photos", "photos")
    Path("photos/a_text.jpg").write_text("this is no photo")
    Path("photos/b_cut.jpg").write_bytes(Path("photos/china.jpg").read_bytes()[:9000])
    with pytest.raises(RunError, match=r"a_text\.jpg: not a JPEG"):
        run("image", photos="photos")
    flow = hpcflow.load(ROOT / "flows" / "image.yaml", params={"photos": "photos"})
    report = hpcflow.run(flow, cluster="synchronous", dashboard=False, max_bad=2)
    assert report.exit_code == 3
    assert [Path(one["item"]).name for one in report.quarantine] == ["a_text.jpg", "b_cut.jpg"]
    rows = pyarrow.parquet.read_table("out/labels.parquet").to_pylist()
    assert [(row["rank"], row["label"]) for row in rows[:2]] == [(None, None)] * 2
    for name, classes in FIRST.items():
        assert firsts(rows)[name] in classes


def test_resnet18():
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    torch.save(pytest.importorskip("hpcflow.models._resnet").ResNet18().state_dict(), "weights.pth")
    digest = hashlib.sha256(Path("weights.pth").read_bytes()).hexdigest()
    run("resnet18", weights="weights.pth", sha256=digest)
    assert len(pyarrow.csv.read_csv("out/resnet18.csv")) == 6 * 5


def test_mean_filter(plane):
    run("mean_filter", plane="plane.npy")
    np.testing.assert_allclose(np.load("out/mean.npy"), ndimage.uniform_filter(plane, 3), rtol=1e-6)


def test_edges(plane):
    run("edges", plane="plane.npy")
    smooth = ndimage.gaussian_filter(plane, 1.5)
    energy = np.hypot(ndimage.sobel(smooth, 1), ndimage.sobel(smooth, 0))
    written = zarr.open_array("out/energy.zarr", mode="r")
    assert written.metadata.dimension_names == ("y", "x")
    np.testing.assert_allclose(written[:], energy, rtol=1e-5, atol=1e-6)
    assert json.loads(Path("out/total.json").read_text()) == pytest.approx(float(energy.sum(dtype=np.float64)))


def test_map_reduce(plane):
    report = run("map_reduce", array="plane.npy")
    exact = plane.astype(np.float64)
    total = json.loads(Path("out/map_reduce.json").read_text())
    assert total == pytest.approx((np.sqrt(exact) + exact**2).sum())
    assert report.printed == (f"total = {total}",)


def random(seed, n):
    return np.random.default_rng(seed).random((n, n), np.float32)


def test_matmul():
    run("matmul", n=60)
    product = zarr.open_array("out/matmul.zarr", mode="r")
    assert product.metadata.dimension_names == ("row", "column")
    np.testing.assert_allclose(product[:], random(1, 60) @ random(2, 60), rtol=1e-5)


def test_spectrum():
    run("spectrum", n=48)
    kernel = np.outer([1, 2, 1], [1, 2, 1]) / 16
    smooth = ndimage.correlate(random(3, 48), kernel)
    power = np.log1p(np.abs(np.fft.fft2(smooth.astype(np.float64))) ** 2)
    np.testing.assert_allclose(np.load("out/power.npy"), power, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(np.load("out/alike.npy"), smooth @ smooth.T, rtol=1e-5)


def test_gpu_speedup():
    run("gpu_speedup", n=64)
    x, other = random(5, 64).astype(np.float64), random(6, 64).astype(np.float64)
    numbers = json.loads(Path("out/gpu_speedup.json").read_text())
    assert numbers == {
        "spread": pytest.approx(ndimage.uniform_filter(x, 3).std(), rel=1e-5),
        "strongest": pytest.approx(np.abs(np.fft.fft2(x)).max(), rel=1e-5),
        "largest": pytest.approx((x @ other).max(), rel=1e-5),
        "total": pytest.approx((np.sqrt(x) + x**2).sum(), rel=1e-6),
    }

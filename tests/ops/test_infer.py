"""The op `infer`: what it takes, what it makes, and that blocks do not matter."""

import hashlib
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from hpcflow.errors import Mismatch
from hpcflow.meta import Meta
from hpcflow.operation import accepted
from hpcflow.ops.infer import infer
from hpcflow.parameters import ParameterFaults, validate
from hpcflow.program.evaluate import evaluate
from hpcflow.program.program import Program, Step
from hpcflow.regions import slices, whole
from hpcflow.registry import get_op
from hpcflow.sources.images import images

PHOTOS = Path(__file__).parents[2] / "data" / "photos"
LABELS = {"chelsea.jpg": range(281, 286), "china.jpg": [698], "coffee.jpg": [967], "flower.jpg": [985]}
DEFAULTS = validate(infer, {})


def torch_or_skip():
    pytest.importorskip("torch")
    pytest.importorskip("efficientnet_lite_pytorch")


def photos_meta(*shape):
    return Meta(shape, "uint8", ("photo", "y", "x", "channel"), items="photos")


def test_meta_and_reach():
    op = get_op("infer")
    meta = photos_meta(6, 224, 224, 3)
    made = op.meta([meta], DEFAULTS)
    assert made == Meta((6, 1000), "float32", ("photo", "class"), items="photos")
    reach = op.reach(((2, 4), (7, 9)), made, [meta], DEFAULTS)
    assert reach.made == ((2, 4), (0, 1000))
    assert reach.needs == (((2, 4), (0, 224), (0, 224), (0, 3)),)
    given = accepted(op.scratch, {**DEFAULTS, "shapes": [meta.shape]})
    assert op.scratch(meta, **given) > 50
    assert op.scratch(meta, **{**given, "shapes": [(80, 224, 224, 3)]}) < op.scratch(meta, **given) / 9


def test_a_changed_model_file_is_another_model(tmp_path):
    path = tmp_path / "model.pt2"
    found = []
    for content in (b"one", b"another"):
        path.write_bytes(content)
        found.append(get_op("infer").identity(model=str(path), weights=None, sha256=None))
    assert found == [hashlib.sha256(content).hexdigest() for content in (b"one", b"another")]


@pytest.mark.parametrize("name", ["efficientnet_lite0", "resnet18"])
def test_checking_does_not_import_torch(name):
    code = f"""
import sys
from itertools import pairwise
from hpcflow.meta import Meta
from hpcflow.operation import accepted
from hpcflow.registry import get_op
from hpcflow.parameters import validate
op = get_op("infer")
op.meta([Meta((6, 224, 224, 3), "uint8")], validate(op.function, {{"model": "{name}"}}))
assert not {{"torch", "PIL", "scipy", "dask", "zarr", "pyarrow"}} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


@pytest.mark.parametrize(
    ("given", "parameter", "words"),
    [
        ({"model": "resnet81"}, "model", "expected `efficientnet_lite0`, `resnet18` or the path of a model file"),
        ({"model": "model.onnx"}, "model", "found `model.onnx`"),
        ({"model": "model.pt2", "weights": "x.pth"}, "weights", "expected no `weights` beside a model file"),
    ],
)
def test_models_that_are_none(given, parameter, words):
    with pytest.raises(Mismatch, match=words) as wrong:
        get_op("infer").meta([photos_meta(1, 64, 64, 3)], validate(infer, given))
    assert wrong.value.parameter == parameter


def test_a_close_name_is_suggested():
    with pytest.raises(Mismatch) as wrong:
        get_op("infer").meta([photos_meta(1, 64, 64, 3)], validate(infer, {"model": "resnet81"}))
    assert wrong.value.hint == "did you mean `resnet18`?"


def test_a_model_file_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError):
        get_op("infer").meta([photos_meta(1, 64, 64, 3)], validate(infer, {"model": str(tmp_path / "no.pt2")}))


@pytest.mark.parametrize("given", [{"batch": 0}, {"sha256": "f370"}, {"model": 18}])
def test_parameters_that_do_not_fit(given):
    with pytest.raises(ParameterFaults):
        validate(infer, given)


def test_the_photos_get_their_labels():
    torch_or_skip()
    source = images(path=str(PHOTOS))
    scores = infer(source.read(whole(source.meta.shape)), **DEFAULTS, xp=np)
    found = {Path(item).name: row.argmax() for item, row in zip(source.items, scores, strict=True)}
    for name, classes in LABELS.items():
        assert found[name] in classes


def test_large_photos_decoded_at_a_fraction_keep_their_first_label(tmp_path):
    torch_or_skip()
    for name in LABELS:
        with Image.open(PHOTOS / name) as photo:
            photo.resize((3 * photo.width, 3 * photo.height), Image.Resampling.BICUBIC).save(tmp_path / name)
    scores = []
    for reduce in (True, False):
        source = images(path=str(tmp_path), reduce=reduce)
        scores.append(infer(source.read(whole(source.meta.shape)), **DEFAULTS, xp=np))
    np.testing.assert_array_equal(scores[0].argmax(1), scores[1].argmax(1))
    assert not np.array_equal(scores[0], scores[1])  # so they were decoded differently


@settings(deadline=None, max_examples=6)
@given(cuts=st.sets(st.integers(1, 6), max_size=3), batch=st.integers(1, 8))
def test_blocks_and_batches_do_not_matter(cuts, batch):
    torch_or_skip()
    block = np.random.default_rng(0).integers(0, 256, (7, 40, 40, 3), np.uint8)
    expected = infer(block, **DEFAULTS, xp=np)
    meta = photos_meta(*block.shape)
    params = {**DEFAULTS, "batch": batch}
    step = Step("scores", "infer", ("photos",), params, get_op("infer").meta([meta], params))
    program = Program({"photos": meta}, (step,))
    edges = [0, *sorted(cuts), 7]
    parts = [
        evaluate(program, {"scores": ((a, b), (0, 1000))}, lambda _, region: block[slices(region, whole(block.shape))])
        for a, b in pairwise(edges)
    ]
    found = np.concatenate([part["scores"] for part in parts])
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)

"""What can be seen to be wrong before a run is said: numbers for other values, names for other classes."""

import pytest

from hpcflow.errors import FlowError
from hpcflow.spec.validate import loads

WARNED = """
flow: warned
sources:
  photos: {{from: full, shape: [6, 8, 8, 3], value: 7, dtype: {dtype}, dims: [photo, y, x, channel]}}
steps:
  centred: {{op: normalize, of: photos, mean: {mean}, std: {std}}}
sinks:
  centred: {{to: npy, of: centred, path: centred.npy}}
"""


@pytest.mark.parametrize(
    ("dtype", "mean", "std", "hint"),
    [
        ("uint8", "[0.485, 0.456, 0.406]", "[0.229, 0.224, 0.225]", "times 255: `mean: [123.675, 116.28, 103.53]"),
        ("uint16", "0.5", "0.5", "times 65535: `mean: 32767.5, std: 32767.5`"),
        ("uint8", "[123.675, 116.28, 103.53]", "[58, 57, 57]", None),
        ("float32", "[0.485, 0.456, 0.406]", "[0.229, 0.224, 0.225]", None),
        ("uint8", "0", "1", None),
    ],
)
def test_a_mean_for_other_numbers_is_doubted(dtype, mean, std, hint):
    found = loads(WARNED.format(dtype=dtype, mean=mean, std=std)).warnings
    assert [fault.hint.startswith(hint) for fault in found] == ([True] if hint else [])


LABELLED = """
flow: labelled
sources:
  scores: {{from: full, shape: [6, 64], value: 7, dtype: float32, dims: [photo, class]}}
  photos: {{from: full, shape: [6, 8, 8, 3], value: 7, dtype: uint8, dims: [photo, y, x, channel]}}
steps:
  best: {{op: top_k, of: scores, k: 3}}
sinks:
  out: {{to: {sink}, of: {of}, path: out.{sink}, labels: names.txt}}
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder to work in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(("sink", "of"), [("csv", "best"), ("parquet", "best"), ("png", "[photos, best]")])
@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"cat\ndog\nbird\n", "expected a name for each of 64 classes, one a line, in `.*names.txt`, found 3"),
        (b"name\n" * 65, "found 65"),
        (b"caf\xe9\n" * 64, "in UTF-8 in `.*names.txt`, found the byte 0xe9 in line 1"),
        (b"name\r\n" * 64 + b"\n\n", None),
    ],
)
def test_labels_are_one_for_each_class(sink, of, content, found, folder):
    (folder / "names.txt").write_bytes(content)
    text = LABELLED.format(sink=sink, of=of)
    if found is None:
        loads(text, missing_ok=True)
        return
    with pytest.raises(FlowError, match=found) as refused:
        loads(text)
    assert refused.value.faults[0].location.line == 9

"""`${name}`, overrides, and credentials."""

import pickle
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from hpcflow import registry
from hpcflow.errors import FlowError
from hpcflow.meta import Meta
from hpcflow.secrets import reveal
from hpcflow.spec.validate import loads

FLOW = """
flow: params
params:
  n: 8
  sizes: [4, 6]
  name: plane
  ratio: 1e-3
  flag: true
sources:
  plane: {from: random, shape: "${sizes}", dims: [y, "${axis}"]}
steps:
  smooth: {op: gaussian, of: "${name}", sigma: ["${n}", 2], mode: reflect}
sinks:
  out: {to: npy, of: smooth, path: "out/${name}-${n}-${ratio}-${flag}-$${n}.npy"}
"""


def test_a_reference_alone_keeps_its_type_and_is_text_inside_text():
    flow = loads(FLOW.replace('"${axis}"', "x"))
    assert flow.nodes["plane"].meta.shape == (4, 6)
    assert flow.nodes["smooth"].params["sigma"] == [8, 2]
    assert Path(flow.sinks["out"].sink.path).name == "plane-8-0.001-true-${n}.npy"


def test_overrides():
    params = {"n": np.float32(2), "sizes": np.array([3, 5]), "name": "plane", "ratio": Path("a/b"), "flag": (1,)}
    flow = loads(FLOW.replace('"${axis}"', "x").replace("-${flag}", ""), params=params)
    assert flow.nodes["plane"].meta.shape == (3, 5)
    assert flow.params["n"] == 2.0
    assert flow.params["sizes"] == [3, 5]
    assert flow.params["ratio"] == "a/b"
    assert flow.params["flag"] == [1]


def test_an_override_that_yaml_cannot_hold():
    with pytest.raises(FlowError, match="expected `n` to be a value that YAML can hold, found a object"):
        loads(FLOW.replace('"${axis}"', "x"), params={"n": object()})


def test_parameters_cannot_blow_up_a_flow():
    flow = "flow: a\nparams:\n  x: " + "x" * 500_000 + "\nsources:\n  s: {from: npy, path: ["
    flow += ", ".join(['"${x}${x}${x}"'] * 2000) + "]}\nsinks:\n  o: {to: npy, of: s, path: o.npy}\n"
    with pytest.raises(FlowError, match="expected parameters that fill at most") as caught:
        loads(flow)
    assert len(str(caught.value)) < 200_000


@dataclass(frozen=True)
class Remote:
    """A source that needs a credential."""

    path: str
    token: str

    meta = Meta((4,), "f4")
    chunks = None

    @property
    def identity(self):
        return {"path": self.path}


def remote(*, path: str, token: str, wrong: str | None = None) -> Remote:
    """Something far away."""
    opened = reveal(token)
    if wrong:
        raise OSError(f"no access to {path} with {opened}")
    return Remote(path, token)


@pytest.fixture
def with_remote(monkeypatch):
    """A source `remote`, as a plug-in would bring it."""
    names, function = registry.names, registry.function
    monkeypatch.setattr(registry, "names", lambda kind: ("remote",) if kind == "sources" else names(kind))
    monkeypatch.setattr(registry, "function", lambda kind, name: remote if name == "remote" else function(kind, name))
    monkeypatch.setenv("HPCFLOW_TEST_TOKEN", "hunter2")


SECRET = """
flow: secret
params:
  token: "${env:HPCFLOW_TEST_TOKEN}"
sources:
  a: {from: remote, path: "https://x/?key=${env:HPCFLOW_TEST_TOKEN}", token: "${token}"}
sinks:
  out: {to: npy, of: a, path: out/a.npy}
"""


@pytest.mark.usefixtures("with_remote")
def test_a_credential_is_used_and_shown_nowhere():
    flow = loads(SECRET)
    assert flow.params == {"token": "${env:HPCFLOW_TEST_TOKEN}"}
    assert flow.nodes["a"].params["path"] == "https://x/?key=${env:HPCFLOW_TEST_TOKEN}"
    assert "hunter2" not in repr(flow)
    assert b"hunter2" not in pickle.dumps(flow.nodes["a"].source)


@pytest.mark.usefixtures("with_remote")
def test_a_credential_is_redacted_from_what_others_say():
    with pytest.raises(FlowError) as caught:
        loads(SECRET.replace('token: "${token}"}', 'token: "${token}", wrong: x}'))
    assert "with ${env:HPCFLOW_TEST_TOKEN}" in str(caught.value)
    assert "hunter2" not in str(caught.value)


@pytest.mark.usefixtures("with_remote")
def test_without_a_credential_nothing_is_opened(monkeypatch):
    monkeypatch.delenv("HPCFLOW_TEST_TOKEN")
    with pytest.raises(FlowError, match="expected the environment variable `HPCFLOW_TEST_TOKEN` to be set"):
        loads(SECRET)
    flow = loads(SECRET, missing_ok=True)
    assert [fault.severity for fault in flow.warnings] == ["warning"]
    assert flow.nodes["a"].meta is None

"""What `hpcflow ops` knows."""

import json

import pytest

from hpcflow import registry
from hpcflow.errors import Mismatch
from hpcflow.spec import catalog


def test_everything_is_listed():
    listed = {(entry.kind, entry.name) for entry in catalog.entries()}
    assert listed == {(catalog.SINGULAR[kind], name) for kind in registry.KINDS for name in registry.names(kind)}
    text = catalog.render_list(catalog.entries())
    assert text.startswith("ops\n  all ")
    assert "\n\nsources\n  full " in text


@pytest.mark.parametrize("entry", catalog.entries(), ids=lambda entry: f"{entry.kind}-{entry.name}")
def test_every_page_is_whole(entry):
    assert entry.summary.endswith(".")
    assert len(entry.summary) < 120
    assert entry.example
    assert all(parameter.doc for parameter in entry.parameters)
    json.dumps(entry.to_json())
    text = catalog.render(entry)
    assert "``" not in text
    assert "Parameters\n---" not in text


def test_a_page():
    (entry,) = catalog.find("gaussian")
    assert entry.reads == "one node"
    first = entry.parameters[0]
    assert (first.name, first.type, first.required) == ("sigma", "number of at least 0, or a list of them", True)
    text = catalog.render(entry)
    assert "  sigma: number of at least 0, or a list of them (required)\n" in text
    assert "  cval: number (default: 0.0)\n      The value there" in text
    assert text.splitlines()[0] == "gaussian (op)"


def test_one_name_for_two():
    assert [entry.kind for entry in catalog.find("zarr")] == ["source", "sink"]


def test_an_unknown_name():
    with pytest.raises(Mismatch, match="found `gausian`") as caught:
        catalog.find("gausian")
    assert caught.value.hint == "did you mean `gaussian`?"

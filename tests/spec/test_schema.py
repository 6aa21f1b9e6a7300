"""The JSON Schema says what the checker says, as far as a schema can."""

from pathlib import Path

import jsonschema
import pytest
import yaml

from hpcflow import registry
from hpcflow.spec import catalog
from hpcflow.spec.schema import flow_schema
from hpcflow.text.document import parse, plain
from hpcflow.text.faults import Faults

ROOT = Path(__file__).parents[2]
SCHEMA = flow_schema()


def errors(text):
    value = plain(parse(text, "f", Faults()))
    return [error.message for error in jsonschema.Draft202012Validator(SCHEMA).iter_errors(value)]


def test_it_is_a_schema():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("path", sorted((ROOT / "flows").glob("*.yaml")), ids=lambda path: path.stem)
def test_flows_that_ship(path):
    assert errors(path.read_text(encoding="utf-8")) == []


EXAMPLES = [(kind, entry) for kind in ("ops", "sources", "sinks") for entry in catalog.entries(kind)]


@pytest.mark.parametrize(("kind", "entry"), EXAMPLES, ids=lambda one: getattr(one, "name", one))
def test_examples_of_the_catalog(kind, entry):
    section = {"ops": "steps"}.get(kind, kind)
    flow = {"flow": "a", "sinks": {"out": {"to": "npy", "of": "x", "path": "p"}}}
    flow.setdefault(section, {}).update(yaml.safe_load(entry.example))
    assert list(jsonschema.Draft202012Validator(SCHEMA).iter_errors(flow)) == []


GOOD = """
flow: a
sources: {plane: {from: random, shape: ["${n}", 4]}}
steps: {smooth: {op: gaussian, of: [plane], sigma: "${sigma}", mode: ["reflect", "${mode}"], truncate: 3}}
sinks: {out: {to: npy, of: smooth, path: "${x}.npy"}}
"""


def test_references_fit_everywhere():
    assert errors(GOOD) == []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("flow: a", "flow: a/b"),
        ("flow: a", "flw: a"),
        ("gaussian", "gausian"),
        ("of: [plane], ", ""),
        ("truncate: 3", "truncate: -3"),
        ("truncate: 3", "truncate: many"),
        ("truncate: 3", "trunkate: 3"),
        ("reflect", "reflekt"),
        ("plane: {", "my-plane: {"),
        ("op: gaussian", "use: gaussian"),
        ("from: random, ", "from: random, of: plane, "),
        ('sinks: {out: {to: npy, of: smooth, path: "${x}.npy"}}', "sinks: {}"),
    ],
)  # fmt: skip
def test_faults_are_seen(old, new):
    assert old in GOOD
    assert errors(GOOD.replace(old, new))


def test_every_op_has_a_branch_with_descriptions():
    for name in registry.names("ops"):
        definition = SCHEMA["$defs"][f"step.{name}"]
        assert definition["description"]
        for parameter, schema in definition["properties"].items():
            assert parameter in ("op", "of") or schema["description"]

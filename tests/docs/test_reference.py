"""The pages that are made of the code: every op has a picture, every parameter a place."""

import sys
from pathlib import Path

import pytest

from hpcflow import registry
from hpcflow.spec.catalog import entries, find

sys.path.insert(0, str(Path(__file__).parents[2] / "docs" / "site"))
import pictures  # (beside the pages)
import reference


def test_every_op_has_a_picture():
    assert set(pictures.STEPS) == set(registry.names("ops"))


@pytest.mark.parametrize("name", sorted(set(pictures.STEPS) - {"infer", "infer_tiled"}))
def test_a_picture_is_drawn(name, tmp_path):
    step = pictures.draw(find(name)[0], tmp_path / "picture.png")
    assert step.startswith(f"after: {{op: {name}")
    with pictures.Image.open(tmp_path / "picture.png") as drawn:
        # It shows something: more than the words under two white tiles.
        low, high = drawn.convert("L").crop((288, 16, 544, 272)).getextrema()
        assert low < high


@pytest.mark.parametrize("entry", entries(), ids=lambda entry: f"{entry.kind}-{entry.name}")
def test_a_page_says_all_of_an_entry(entry):
    page = reference.page(entry, "")
    assert page.startswith(f"# {entry.name}\n")
    assert entry.example in page
    assert all(f"- `{parameter.name}`: " in page for parameter in entry.parameters)


def test_signatures_are_as_they_are_written():
    def small(x, /, *, size: "int" = 3) -> "hpcflow.meta.Meta": ...  # noqa: F821

    assert reference.head("small", small) == "small(x, *, size: int = 3) -> Meta"
    assert "## hpcflow.run" in reference.python()
    assert "## view" in reference.commands()

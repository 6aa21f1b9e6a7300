"""Notebooks: what shows itself, the bar below a cell, and the example of the documentation."""

import copy
import re
from pathlib import Path

import nbformat
import numpy as np
import pytest
from nbclient import NotebookClient

import hpcflow
from hpcflow.report.notebook import Cell, in_notebook
from hpcflow.report.pace import Expected

EXAMPLE = Path(__file__).parents[2] / "docs" / "notebook.ipynb"


def shown(cell, kind="text/html"):
    return "".join(out["data"].get(kind, "") for out in cell.outputs if "data" in out)


@pytest.fixture(scope="module")
def executed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("notebook")
    notebook = nbformat.read(EXAMPLE, as_version=4)
    where = {"metadata": {"path": str(folder)}}
    return notebook, NotebookClient(
        copy.deepcopy(notebook), timeout=240, startup_timeout=240, resources=where
    ).execute()


# The kernel's channels, and the loop that waits for them, are no business of ours.
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_the_example_runs_and_shows_what_is_kept_of_it(executed):
    kept, now = executed
    cells = [cell for cell in now.cells if cell.cell_type == "code"]
    for cell in cells:
        said = "".join(out.get("text", "") for out in cell.outputs if out.output_type == "stream")
        assert "Error" not in said, said
        assert "Warning" not in said, said
    texts = [shown(cell) for cell in cells]
    assert sum("<svg" in text for text in texts) >= 2
    (run,) = [text for text in texts if "ring: complete" in text]
    assert "<progress value='4' max='4'>" in run
    assert "report.html" in run
    assert "'executed': 0, 'reused': 4" in "".join(shown(cell, "text/plain") for cell in cells)
    # What is committed was made by the same cells, and shows as much.
    for cell, old in zip(cells, [cell for cell in kept.cells if cell.cell_type == "code"], strict=True):
        assert bool(cell.outputs) == bool(old.outputs), old.source
        assert ("<svg" in shown(cell)) == ("<svg" in shown(old)), old.source


def test_what_shows_itself_shows_no_markup_of_others(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("x.npy", np.ones((8, 8)))
    Path("f.yaml").write_text(
        "flow: tags\nabout: a <b>bold</b> word\nsources: {x: {from: npy, path: x.npy}}\n"
        'steps: {y: {op: expr, expr: "where(x < 2, x, 1)"}}\nsinks: {y: {to: npy, of: y, path: y.npy}}\n'
    )
    flow = hpcflow.load("f.yaml")
    planned = hpcflow.plan(flow, cluster="threads")
    report = hpcflow.run(flow, cluster="threads")
    for one in (flow, planned, report):
        html = one._repr_html_()
        assert "<b>bold</b>" not in html
        assert "x < 2" not in html
        assert html.count("<table>") == html.count("</table>")
    assert "where(x &lt; 2" in flow._repr_html_()
    assert "y.npy" in report._repr_html_()


def test_a_bar_moves_on_below_its_cell(monkeypatch):
    cell, seen = Cell(), []
    monkeypatch.setattr(cell, "_show", lambda at_once=False: seen.append(cell.html()))
    cell.start([Expected("<one>", 4, 1.0), Expected("two", 1, 1.0)])
    cell.stage("<one>", 4)
    for done in range(1, 5):
        cell.block("<one>", done, 2**20, 0, 0, memory=2**30)
    cell.note("a & b")
    cell.end(None)
    assert [re.search(r"value='(\d)' max='4'", html)[1] for html in seen] == list("0123444")
    assert "&lt;one&gt;" in seen[-1]
    assert "left in all" in seen[2]
    assert "a &amp; b" in seen[-1]
    assert "1.0 GiB in use" in seen[-1]
    assert not in_notebook()

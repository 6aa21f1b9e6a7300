"""Every block of code in the documentation runs: flows on small data, Python, and commands.

The blocks of a page run one after another in one folder, as a reader would. A flow is saved
under its name. One that cannot run says why in a comment before it: ``<!-- not run: why -->``.
"""

import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

import jsonschema
import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

import hpcflow
from hpcflow.cli import app
from hpcflow.clusters.profiles import profile
from hpcflow.spec.schema import flow_schema
from hpcflow.text.document import parse, plain
from hpcflow.text.faults import Faults

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(
    r"(?:<!-- not run: (?P<why>[^\n]+) -->\n+)?^```(?P<kind>\S*)[^\n]*\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL
)
SILENT = {"", "text", "csv"}
"""What is shown, not said: output, diagrams."""


@dataclass
class Block:
    """One fenced block."""

    kind: str
    text: str
    line: int
    why: str | None


def blocks(page):
    text = page.read_text(encoding="utf-8")
    for found in FENCE.finditer(text):
        yield Block(found["kind"], found["text"], text.count("\n", 0, found.start("kind")) + 1, found["why"])


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working directory with the data that the pages name."""
    monkeypatch.chdir(tmp_path)
    furnish(tmp_path)
    return tmp_path


def furnish(folder):
    """The repository's data and flows, and a small plane where the flows look for theirs."""
    (folder / "data").mkdir()
    for one in (ROOT / "data").iterdir():
        if one.suffix not in (".npy", ".raw", ".zarr"):
            (folder / "data" / one.name).symlink_to(one)
    (folder / "flows").symlink_to(ROOT / "flows")
    plane = np.random.default_rng(0).random((64, 48), np.float32)
    np.save(folder / "data" / "plane.npy", plane)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_blocks_run(page, folder):
    names = {}
    for block in blocks(page):
        if block.why is None:
            try:
                run(block, names)
            except BaseException as error:
                error.add_note(f"{page.relative_to(ROOT)}:{block.line}")
                raise


def run(block, names):
    if block.kind == "python":
        exec(compile(block.text, f"block at line {block.line}", "exec"), names)
    elif block.kind == "yaml":
        run_yaml(block.text)
    elif block.kind == "console":
        for line in block.text.splitlines():
            if line.startswith("$ "):
                command(line[2:])
    elif block.kind == "json":
        json.loads(block.text)
    elif block.kind == "toml":
        tomllib.loads(block.text)
    else:
        assert block.kind in SILENT, f"expected a block that says what it is, found `{block.kind}`"


def run_yaml(text):
    """Run a flow; hold a part of one against the schema, and a cluster's profile against its own rules."""
    value = plain(parse(text, "block", Faults()))
    if "kind" in value:
        Path("profile.yaml").write_text(text, encoding="utf-8")
        assert profile("profile.yaml").kind.replace("_", "-") == value["kind"]
        return
    if "flow" in value:
        path = Path(f"{value['flow']}.yaml")
        path.write_text(text, encoding="utf-8")
        report = hpcflow.run(path, cluster="synchronous", dashboard=False)
        assert report.status == "complete"
        return
    flow = {"flow": "part", "sinks": {"out": {"to": "npy", "of": "x", "path": "x.npy"}}}
    if value.keys() <= {"params", "sources", "steps", "sinks"}:
        flow |= value
    else:
        for name, node in value.items():
            sections = {"from": "sources", "op": "steps", "to": "sinks"}
            section = next(sections[word] for word in sections if word in node)
            flow.setdefault(section, {})[name] = node
    jsonschema.Draft202012Validator(flow_schema()).validate(flow)


def command(line):
    """Run a command of hpcflow, or a script that one has written; a redirection is done by hand."""
    words = shlex.split(line, comments=True)
    if words[0] == "cd":
        os.chdir(words[1])
        return
    if words[0] == "python" and words[1:] == ["make_data.py"]:
        subprocess.run([sys.executable, words[1]], check=True, timeout=100)
        return
    into = words.index(">") if ">" in words else None
    target = words[into + 1] if into is not None else None
    words = words[:into] if into is not None else words
    words = words[3:] if words[:3] == ["python", "-m", "hpcflow"] else words[1:] if words[0] == "hpcflow" else None
    assert words is not None, f"expected a command of hpcflow, found `{line}`"
    if words[0] == "run":
        words += ["--cluster", "synchronous", "--no-dashboard", "--quiet"]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    if target:
        Path(target).write_text(done.stdout, encoding="utf-8")


def test_the_collector_finds_what_is_wrong(folder):
    for kind, text in (
        ("python", "assert False\n"),
        ("console", "$ python -m hpcflow check nothing.yaml\n"),
        ("console", "$ rm -rf all\n"),
        ("yaml", "smooth: {op: gausian, of: x}\n"),
        ("toml", "= 1\n"),
        ("perl", ""),
    ):
        with pytest.raises(Exception):  # noqa: B017
            run(Block(kind, text, 1, None), {})


def test_every_page_is_read():
    counted = sum(1 for page in PAGES for _ in blocks(page))
    fences = sum(len(re.findall(r"^```", page.read_text(), re.MULTILINE)) for page in PAGES)
    assert 2 * counted == fences
    assert yaml.safe_load((ROOT / "docs/site/mkdocs.yml").read_text())["site_name"] == "hpcflow"

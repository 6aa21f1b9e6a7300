"""Nothing that a flow has not written is ever replaced unasked, and `check` sees every conflict of outputs."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import zarr
from typer.testing import CliRunner

import hpcflow
from hpcflow.cli import app
from hpcflow.errors import FlowError, RunError
from hpcflow.execute import run as running
from hpcflow.spec import check as checking

HEAD = """flow: own
block: [8, 8]
sources:
  x: {from: npy, path: x.npy, dims: [y, x]}
steps:
  y: {op: expr, expr: "2 * x"}
  rows: {op: sum, of: y, axis: 1}
  best: {op: top_k, of: y, k: 2}
"""
SINKS = {
    "zarr": "{to: zarr, of: y, path: out/a}",
    "ome_zarr": "{to: ome_zarr, of: y, path: out/a}",
    "npy": "{to: npy, of: y, path: out/a}",
    "json": "{to: json, of: rows, path: out/a}",
    "csv": "{to: csv, of: rows, path: out/a}",
    "parquet": "{to: parquet, of: rows, path: out/a}",
    "png": "{to: png, of: y, path: out/a}",
}


@pytest.fixture
def flow(tmp_path, monkeypatch):
    """Writes a flow with these sinks."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "out").mkdir()
    np.save("x.npy", np.arange(256, dtype="u1").reshape(16, 16) // 4)

    def write(*sinks, name="flow.yaml"):
        lines = "".join(f"  s{number}: {sink}\n" for number, sink in enumerate(sinks))
        Path(name).write_text(f"{HEAD}sinks:\n{lines}")
        return name

    return write


def call(*words):
    return CliRunner().invoke(app, [str(word) for word in words])


def content(path):
    path = Path(path)
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    return {str(one): one.read_bytes() for one in files if one.is_file()}


def text_file():
    Path("out/a").write_text("years of work")


def array_file():
    with Path("out/a").open("wb") as file:
        np.save(file, np.ones(3))


def zarr_array():
    zarr.create_array("out/a", data=np.ones(3))


def zarr_group():
    zarr.create_group("out/a").create_array("b", data=np.ones(3))


def folder_of_files():
    Path("out/a").mkdir()
    text = Path("out/a/thesis.txt")
    text.write_text("years of work")


def link_to_data():
    Path("thesis.txt").write_text("years of work")
    Path("out/a").symlink_to("../thesis.txt")


@pytest.mark.parametrize("there", [text_file, array_file, zarr_array, zarr_group, folder_of_files, link_to_data])
@pytest.mark.parametrize("kind", SINKS)
def test_data_of_others_is_refused_by_check_plan_and_run_alike(flow, kind, there):
    file = flow(SINKS[kind])
    there()
    before = content("out")
    for command in (["check"], ["plan"], ["run", "--cluster", "synchronous"]):
        result = call(command[0], file, *command[1:])
        assert result.exit_code == 2
        lines = result.stderr.splitlines()
        start = next(number for number, text in enumerate(lines) if ": error: " in text)
        first, line, caret, hint = lines[start : start + 4]
        assert first.startswith(f"{file}:10:{line.index('out/a') - 7}: error: expected nothing at")
        assert line[caret.index("^") :].startswith("out/a")
        assert "--overwrite" in hint
    assert content("out") == before


@pytest.mark.parametrize("kind", SINKS)
def test_ones_own_output_is_replaced_and_another_flow_s_is_not(flow, kind):
    file = flow(SINKS[kind])
    hpcflow.run(file, cluster="synchronous")
    made = content("out")
    Path("flow.yaml").write_text(Path(file).read_text().replace("2 * x", "x // 2"))
    assert call("check", file).exit_code == 0
    assert hpcflow.run(file, cluster="synchronous").tasks["executed"]
    assert content("out") != made
    Path("other.yaml").write_text(Path(file).read_text().replace("flow: own", "flow: other"))
    result = call("run", "other.yaml", "--cluster", "synchronous")
    assert (result.exit_code, "found the output of `own`" in result.stderr) == (2, True)
    assert call("run", "other.yaml", "--cluster", "synchronous", "--overwrite").exit_code == 0


@pytest.mark.parametrize("kind", ["zarr", "npy", "json"])
@pytest.mark.parametrize("again", [False, True])
def test_a_run_cut_short_at_any_step_is_taken_up_without_being_asked(flow, kind, again, monkeypatch):
    file = flow(SINKS[kind])
    if again:
        hpcflow.run(file, cluster="synchronous")
        Path(file).write_text(Path(file).read_text().replace("2 * x", "x // 2"))
    with monkeypatch.context() as patch:  # everything is written and has its name, but for the manifest
        patch.setattr(running, "publish", lambda *_: (_ for _ in ()).throw(RunError("cut short")))
        with pytest.raises(RunError, match="cut short"):
            hpcflow.run(file, cluster="synchronous")
    assert Path("out/a").exists()
    assert call("check", file).exit_code == 0
    hpcflow.run(file, cluster="synchronous")
    assert sorted(one.name for one in Path("out").iterdir()) == [".a.manifest.json", "a"]


def test_a_manifest_that_is_gone_or_damaged(flow):
    file = flow(SINKS["zarr"])
    hpcflow.run(file, cluster="synchronous")
    manifest = Path("out/.a.manifest.json")
    manifest.write_bytes(manifest.read_bytes().replace(b"sum", b"sun", 1))
    assert call("check", file).exit_code == 0  # the run's folder has a copy of it
    manifest.unlink()
    shutil.rmtree("out/a")
    zarr_array()  # for all that is known, these are somebody's
    assert call("check", file).exit_code == 2


def test_what_holds_no_data_is_replaced(flow):
    file = flow("{to: zarr, of: y, path: out/a}", "{to: json, of: rows, path: out/b}")
    Path("out/a").mkdir()
    Path("out/b").touch()
    assert hpcflow.run(file, cluster="synchronous").status == "complete"


@pytest.mark.parametrize(
    ("sinks", "found"),
    [
        (["{to: npy, of: y, path: out/a}", "{to: npy, of: y, path: link/a}"], "one that is taken"),
        (["{to: zarr, of: y, path: out/a}", "{to: npy, of: y, path: link/a/b.npy}"], "one inside another"),
        (["{to: npy, of: y, path: x.npy}"], "that of the source `x`"),
        (["{to: npy, of: y, path: to_x}"], "that of the source `x`"),
        (["{to: zarr, of: y, path: runs/own}"], "the folder of the run"),
        (["{to: npy, of: y, path: runs/own/report.json}"], "the folder of the run"),
        (["{to: zarr, of: y, path: runs}"], "the folder of the run"),
        (["{to: json, of: rows, path: flow.yaml}"], "that of the flow itself"),
        (
            ["{to: csv, of: best, path: out/a, labels: names.txt}", "{to: npy, of: y, path: names.txt}"],
            "which `s0` reads",
        ),
    ],
)
def test_every_conflict_of_outputs_is_seen_by_check(flow, sinks, found):
    Path("link").symlink_to("out")
    Path("to_x").symlink_to("x.npy")
    Path("names.txt").write_text("cat\n" * 16)
    result = call("check", flow(*sinks), "--overwrite")
    assert result.exit_code == 2
    assert found in result.stderr


def test_an_output_inside_a_folder_that_is_read(flow):
    zarr.create_array("z.zarr", data=np.ones((16, 16)))
    file = flow("{to: npy, of: y, path: z.zarr/a.npy}")
    Path(file).write_text(Path(file).read_text().replace("from: npy, path: x.npy", "from: zarr, path: z.zarr"))
    with pytest.raises(FlowError, match="one inside the source `x`"):
        hpcflow.load(file)


def test_names_that_differ_in_case_alone_are_one_where_the_file_system_says_so(flow, monkeypatch):
    file = flow("{to: npy, of: y, path: out/A.npy}", "{to: npy, of: y, path: out/a.npy}")
    assert hpcflow.load(file).name == "own"
    monkeypatch.setattr(checking, "_folds_case", lambda _: True)
    with pytest.raises(FlowError, match="one that is taken"):
        hpcflow.load(file)

"""Reductions of each item: a row for each, with its name; none invented for one that cannot be read."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image
from typer.testing import CliRunner

from hpcflow.cli import app

FLOW = """\
flow: f
sources: {p: {from: images, path: photos, size: 16, resize: 16}}
steps:
  mean: {op: mean, of: p, axis: [y, x, channel]}
  spread: {op: std, of: p, axis: [1, 2, 3]}
  colour: {op: mean, of: p, axis: [y, x]}
  levels: {op: histogram, of: p, bins: 4, range: [0, 256], axis: [y, x, channel]}
  share: {op: expr, expr: "mean / 255"}
  best: {op: max, of: colour, axis: channel}
sinks:
  table: {to: csv, of: [mean, spread, share, best], path: table.csv}
  parquet: {to: parquet, of: mean, path: mean.parquet}
  levels: {to: csv, of: levels, path: levels.csv}
"""


@pytest.fixture
def photos(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("photos").mkdir()
    arrays = [np.random.default_rng(i).integers(0, 256, (16, 16, 3), np.uint8) for i in range(5)]
    for i, array in enumerate(arrays):
        Image.fromarray(array).save(f"photos/{i}.png")
    Path("photos/2.png").write_bytes(Path("photos/2.png").read_bytes()[:99])
    return arrays


def run(flow, *more):
    Path("f.yaml").write_text(flow)
    return CliRunner().invoke(app, ["run", "f.yaml", "--cluster", "synchronous", *more])


@pytest.mark.parametrize("block", ["", "block: [2]\n"])
def test_each_photo_has_a_row_and_the_broken_one_is_null(photos, block):
    result = run(block + FLOW, "--max-bad", "1")
    assert result.exit_code == 3, result.output
    header, *rows = [line.split(",") for line in Path("table.csv").read_text().splitlines()]
    assert header == ["path", "mean", "spread", "share", "best"]
    assert [row[0].strip('"') for row in rows] == [f"photos/{i}.png" for i in range(5)]
    for i, row in enumerate(rows):
        x = photos[i].astype("f8")
        right = ["", "", "", ""] if i == 2 else [x.mean(), x.std(), x.mean() / 255, x.mean((0, 1)).max()]
        assert row[1:] == right if i == 2 else np.allclose([float(one) for one in row[1:]], right)
    table = pq.read_table("mean.parquet").to_pylist()
    assert [row["path"] for row in table] == [f"photos/{i}.png" for i in range(5)]
    assert [row["mean"] is None for row in table] == [False, False, True, False, False]
    levels = [line.split(",") for line in Path("levels.csv").read_text().splitlines()[1:]]
    assert [row[-1] == "" for row in levels] == [*[False] * 8, True, *[False] * 8]
    assert run(block + FLOW, "--max-bad", "1").exit_code == 3  # again, from its receipts


@pytest.mark.parametrize("step", ["{op: sum, of: mean}", '{op: isel, of: mean, indexers: {photo: "::-1"}}'])
def test_what_mixes_them_later_sets_none_apart(photos, step):
    flow = f"""\
flow: f
sources: {{p: {{from: images, path: photos, size: 16}}}}
steps: {{mean: {{op: mean, of: p, axis: [y, x, channel]}}, all: {step}}}
sinks: {{all: {{to: npy, of: all, path: all.npy}}, each: {{to: csv, of: mean, path: each.csv}}}}
"""
    result = run(flow, "--max-bad", "1")
    assert result.exit_code == 1
    assert "the flow mixes items" in result.output
    assert not Path("all.npy").exists()

"""Where a plan cuts a flow into stages."""

from textwrap import dedent

import hpcflow
from hpcflow.spec.validate import loads

HEAD = """
flow: draft
sources: {x: {from: random, shape: [2048, 2048], seed: 1, dims: [y, x]}}
"""


def stages(text):
    return {stage.name: stage.steps for stage in hpcflow.plan(loads(HEAD + dedent(text)), cluster="synchronous").stages}


def test_everything_that_shares_what_it_reads_comes_out_of_one_task(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = """
    steps:
      smooth: {op: gaussian, of: x, sigma: 1.5}
      gx: {op: sobel, of: smooth, axis: x}
      gy: {op: sobel, of: smooth, axis: y}
      energy: {op: expr, expr: "sqrt(gx**2 + gy**2)"}
      total: {op: sum, of: energy}
    sinks:
      energy: {to: zarr, of: energy, path: energy.zarr}
      smooth: {to: npy, of: smooth, path: smooth.npy}
      total: {to: json, of: total, path: total.json}
    """
    assert [set(steps) for steps in stages(text).values()] == [{"smooth", "gx", "gy", "energy", "total"}]


def test_what_stands_before_and_behind_a_reduction_is_made_once(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = """
    steps:
      smooth: {op: median, of: x, size: 5}
      total: {op: sum, of: smooth}
      share: {op: expr, expr: "smooth / total"}
    sinks:
      share: {to: npy, of: share, path: share.npy}
    """
    assert list(stages(text).values()) == [("smooth", "total"), ("share",)]


def test_what_a_sink_writes_as_npy_is_read_from_there(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = """
    steps:
      smooth: {op: median, of: x, size: 5}
      total: {op: sum, of: smooth}
      share: {op: expr, expr: "smooth / total"}
    sinks:
      share: {to: npy, of: share, path: share.npy}
      smooth: {to: npy, of: smooth, path: smooth.npy}
    """
    plan = hpcflow.plan(loads(HEAD + dedent(text)), cluster="synchronous")
    assert [stage.steps for stage in plan.stages] == [("smooth", "total"), ("share",)]
    assert plan.stages[1].sources["smooth"].path == str(tmp_path / "smooth.npy")


def test_two_axes_that_must_be_whole_are_taken_one_after_the_other(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = """
    steps:
      down: {op: softmax, of: x, axis: y}
      across: {op: softmax, of: down, axis: x}
    sinks:
      across: {to: npy, of: across, path: across.npy}
    """
    plan = hpcflow.plan(loads(HEAD + dedent(text)), cluster="synchronous")
    down, across = plan.stages
    assert down.block[0] == 2048
    assert down.block[1] < 2048
    assert across.block[1] == 2048
    assert across.block[0] < 2048

"""How a run went over time: everything is accounted for, in a bounded amount of memory."""

import json
from math import isclose
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import hpcflow
from hpcflow.report.history import BINS, SEGMENTS, History, Series, Timeline

FLOW = """\
flow: smooth
params: {plane: plane.npy}
sources:
  plane: {from: npy, path: "${plane}", dims: [y, x]}
steps:
  soft: {op: gaussian, of: plane, sigma: 1}
  more: {op: expr, expr: "soft + 1"}
  total: {op: sum, of: more}
block: [32, 64]
sinks:
  more: {to: zarr, of: more, path: out/more.zarr, chunks: [32, 32]}
  total: {to: json, of: total, path: out/total.json}
"""

spans = st.tuples(st.floats(0, 1e5), st.floats(0, 1e4))


@given(st.lists(st.tuples(st.integers(0, 9), st.sampled_from("ab"), spans), min_size=1, max_size=60), st.integers(1, 9))
def test_a_timeline_joins_bars_and_loses_no_second(tasks, limit):
    timeline = Timeline()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("hpcflow.report.history.SEGMENTS", 20 + limit)
        for lane, stage, (start, length) in tasks:
            timeline.add(f"host:{lane}:1", stage, start, start + length, 2)
        assert len(timeline.bars) <= 20 + limit
    drawn = timeline.to_json()
    assert sum(bar[5] for bar in drawn["bars"]) == len(tasks)
    assert sum(bar[6] for bar in drawn["bars"]) == 2 * len(tasks)
    assert isclose(sum(bar[4] for bar in drawn["bars"]), sum(length for *_, (_, length) in tasks), abs_tol=1e-2)
    assert max(bar[3] for bar in drawn["bars"]) == pytest.approx(max(a + b for *_, (a, b) in tasks), abs=1e-3)


@given(st.lists(st.tuples(spans, st.floats(0, 1e9)), min_size=1, max_size=40))
def test_a_series_keeps_sums_and_peaks_in_its_bins(samples):
    rates, peaks = Series(1), Series(1, most=True)
    for (start, length), value in samples:
        rates.add(start, start + length, (value,))
        peaks.add(start, start, (value,))
    for series in (rates, peaks):
        assert len(series.kept[1]) <= BINS
    assert isclose(sum(one for (one,) in rates.kept[1]), sum(value for _, value in samples), rel_tol=1e-6, abs_tol=1e-3)
    assert max(one for (one,) in peaks.kept[1]) == max(value for _, value in samples)


def test_a_history_does_not_grow_with_the_number_of_blocks():
    history = History(begun=0.0)
    for number in range(100_000):
        trace = SimpleNamespace(
            worker=f"host:{number % 8}:1",
            began=number / 100,
            seconds=0.07,
            blocks=1,
            bytes_read=10,
            bytes_written=5,
            spent={"read": 0.02, "step": 0.05},
            held=0,
        )
        history.task("only", trace)
        history.event(f"block {number} tried again")
    kept = history.to_json()
    assert len(kept["timeline"]["bars"]) <= SEGMENTS
    assert kept["timeline"]["lanes"] == list("12345678")
    assert len(json.dumps(kept)) < 400_000
    assert history.untold == 100_000 - len(history.events)
    assert kept["spent"]["only"]["step"] == pytest.approx(5000)
    assert sum(one for one, _ in history.rates.kept[1]) == pytest.approx(1e6)


@pytest.mark.parametrize("cluster", ["threads", "local"])
def test_a_run_leaves_what_its_workers_were_at(tmp_path, monkeypatch, cluster):
    monkeypatch.chdir(tmp_path)
    np.save("plane.npy", np.ones((256, 64), "float32"))
    Path("smooth.yaml").write_text(FLOW)
    report = hpcflow.run("smooth.yaml", cluster=cluster, workers=1 if cluster == "threads" else 2, threads=1)
    kept = json.loads(Path("runs/smooth/history.json").read_text())
    assert kept["run"] == report.run
    assert sum(bar[6] for bar in kept["timeline"]["bars"]) == report.tasks["executed"] == 8
    assert sum(read for read, _ in kept["rates"]["bins"]) == pytest.approx(
        report.bytes_read, abs=len(kept["rates"]["bins"])
    )
    assert set(kept["spent"]["more"]) == {"plane", "soft", "more", "total", "write more"}
    assert max(total for total, _ in kept["memory"]["bins"]) >= report.memory["measured_peak"]
    busy = sum(bar[4] for bar in kept["timeline"]["bars"])
    assert sum(kept["spent"]["more"].values()) <= busy * 1.05 + 0.01

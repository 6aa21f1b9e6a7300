"""The page of a run: there after every run, whole in one file, and fit to be read."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import browser
import numpy as np
import pytest
from PIL import Image

import hpcflow
from hpcflow import secrets
from hpcflow.errors import RunError
from hpcflow.execute.progress import Silent
from hpcflow.report import html
from hpcflow.report.history import History

FLOW = """\
flow: smooth
about: Where it is <bright> & where it is not.
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
  rows: {to: parquet, of: more, path: out/rows.parquet}
  total: {to: json, of: total, path: out/total.json}
"""
SIZES = {"wide": 1280, "phone": 390}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(html, "BUDGET", 60)  # a machine that is busy draws no fewer pictures
    y, x = np.mgrid[:256, :64]
    np.save("plane.npy", np.hypot(y - 128, x - 32).astype("float32"))
    Path("smooth.yaml").write_text(FLOW)
    return tmp_path


def run(**options):
    return hpcflow.run("smooth.yaml", cluster="threads", threads=2, **options)


def page(name="smooth"):
    return Path(f"runs/{name}/report.html").read_text()


def test_a_complete_run_shows_what_it_did(folder):
    report = run()
    text = page()
    assert f'content="{report.run}"' in text
    executed = f"{report.tasks['executed']} executed"
    for part in ("complete", "gaussian sigma 1", "y 256 × x 64 float32", executed, 'id="tasks"', "write more"):
        assert part in text, part
    assert "where it is &lt;bright&gt; &amp; where it is not" in text.lower()
    assert text.count('src="data:image/') == 1
    assert "<th>value</th>" in text or "<th>more</th>" in text
    assert len(text) < 2_500_000


def test_a_failed_run_says_why_in_its_page(folder):
    run()
    array = np.load("plane.npy")
    Path("smooth.yaml").write_text(FLOW.replace("soft + 1", "soft + 2"))
    planned = hpcflow.plan("smooth.yaml", cluster="threads", threads=2)
    with Path("plane.npy").open("r+b") as file:
        file.truncate(4096)
    with pytest.raises(RunError):
        hpcflow.run(planned.flow, cluster="threads", threads=2)
    text = page()
    assert "failed (exit code 1)" in text
    assert "plane.npy" in re.search(r'<pre class="error">(.*?)</pre>', text, re.DOTALL)[1]
    assert array.size


def test_an_interrupted_run_leaves_its_page_within_its_time(folder):
    # Long enough to be interrupted at: a minute and more on this machine.
    Path("long.yaml").write_text(
        "flow: long\nsources: {noise: {from: random, shape: [40000, 4000], seed: 1}}\n"
        'steps: {odd: {op: expr, expr: "sin(noise) ** noise"}, wide: {op: median, of: odd, size: 5},'
        " t: {op: sum, of: wide}}\n"
        "block: [40, 4000]\nsinks: {t: {to: json, of: t, path: t.json}}\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-m", "hpcflow", "run", "long.yaml", "--cluster", "threads"]
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    try:
        until = time.monotonic() + 60
        while not list(Path("runs").glob("long/receipts/*/*/*.jsonl")):
            assert time.monotonic() < until
            assert process.poll() is None, process.stderr.read()
            time.sleep(0.05)
        begun = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == 143
        assert time.monotonic() - begun < 5
    finally:
        process.kill()
        process.communicate()
    assert json.loads(Path("runs/long/report.json").read_text())["status"] == "interrupted"
    assert "goes on where it stopped" in Path("runs/long/report.html").read_text()
    assert "interrupted (exit code 143)" in page("long")


def test_a_fault_of_the_page_does_not_change_how_the_run_ends(folder, monkeypatch):
    def broken(run_dir):
        raise ValueError("no ink")

    monkeypatch.setattr("hpcflow.execute.record.draw", broken)
    notes = []
    told = Silent()
    told.note = notes.append
    report = run(progress=told)
    assert report.exit_code == 0
    assert notes[-1] == "the page of the run could not be drawn: ValueError: no ink"
    assert not html.is_drawn(Path("runs/smooth"), report.to_json())


def test_a_page_is_drawn_again_from_what_the_run_has_left(folder):
    report = run().to_json()
    folder = Path("runs/smooth")
    assert html.is_drawn(folder, report)
    before = page()
    (folder / "report.html").unlink()
    assert not html.is_drawn(folder, report)
    html.draw(folder)
    assert page() == before
    # What older versions have left has no history, and no name for the run.
    (folder / "history.json").unlink()
    del report["run"]
    (folder / "report.json").write_text(json.dumps(report))
    html.draw(folder)
    assert "complete" in page()
    assert "<script>" not in page()


def test_credentials_never_reach_a_page(folder, monkeypatch):
    monkeypatch.setenv("CANARY", 'canary"<&>é')
    secrets.reveal("${env:CANARY}")
    history = History()
    history.event('could not open https://me:word@host/canary"<&>é')
    report = run().to_json() | {"error": 'it was canary"<&>é', "quarantine": [{"item": "s3://k:s@b/x", "reason": "é"}]}
    said = {**html.NOTHING, **history.to_json(), "provenance": {"params": {"token": 'canary"<&>é'}}}
    text = html.page(report, said)
    assert "canary" not in text
    assert "me:word" not in text
    assert "k:s@" not in text
    assert "${env:CANARY}" in text


def busy_history():
    history = History(begun=0.0)
    for number in range(100_000):
        trace = SimpleNamespace(
            worker=f"host:{number % 8}:1",
            began=number / 100,
            seconds=0.05 + 0.03 * (number % 3),
            blocks=1,
            bytes_read=1000 * (number % 7),
            bytes_written=500,
            spent={"plane": 0.02, "soft": 0.05},
            held=0,
        )
        history.task("more", trace)
    return history


def test_a_page_of_a_hundred_thousand_tasks_is_small(folder):
    report = run().to_json()
    kept = json.loads(Path("runs/smooth/history.json").read_text())
    text = html.page(report, kept | busy_history().to_json())
    assert len(text.encode()) < 2_500_000
    assert "too many tasks to draw each" in text


@pytest.mark.skipif(browser.COMMAND is None, reason="needs chromium")
def test_a_browser_shows_pages_without_a_complaint_or_a_request(folder):
    report = run().to_json()
    kept = json.loads(Path("runs/smooth/history.json").read_text())
    Path("busy.html").write_text(html.page(report, kept | busy_history().to_json()))
    failed = report | {"status": "failed", "exit_code": 1, "error": "smooth.yaml:5: error: " + "x" * 300}
    failed["quarantine"] = [{"item": "photos/" + "a" * 80 + ".jpg", "reason": "cut short"}]
    Path("failed.html").write_text(html.page(failed, kept))
    Path("bare.html").write_text(html.page(report, html.NOTHING))
    ready = "!document.getElementById('data') || document.documentElement.dataset.drawn == 'SCHEME'"
    measure = "[document.documentElement.scrollWidth, document.querySelectorAll('figure[id]:not(:empty)').length]"
    shots = {f"{name} {scheme}": (width, scheme) for name, width in SIZES.items() for scheme in ("light", "dark")}
    pages = {"runs/smooth/report.html": 3, "busy.html": 2, "failed.html": 3, "bare.html": 0}
    for path, charts in pages.items():
        looks, complaints, requests = browser.look(path, shots, ready=ready, measure=measure)
        assert complaints == []
        assert {one for one in requests if not one.startswith("data:")} == {Path(path).absolute().as_uri()}
        for name, (shot, (width, drawn)) in looks.items():
            Path("shot.png").write_bytes(shot)
            with Image.open("shot.png") as image:
                assert image.width == SIZES[name.split()[0]] >= width, (path, name)
                paper = image.convert("L").getpixel((3, 3))
            assert (paper < 60) == name.endswith("dark"), (path, name, paper)
            assert drawn == charts, (path, name, drawn)

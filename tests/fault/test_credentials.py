"""Canaries: credentials that stand in a flow, on its command line and in the environment, and nowhere else."""

import os
import subprocess
import sys
import threading
import time
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import psutil
import pytest
import zarr

SIGNATURE, TOKEN, PASSWORD, KEY, WORD = (
    f"{name}-4f9a0c71" for name in ("canarysig", "canarytoken", "canarypass", "canarykey", "canaryword")
)
CANARIES = (SIGNATURE, TOKEN, PASSWORD, KEY, WORD)
FLOW = """
flow: canary
block: [16, 16]
params: {{token: null, api_key: {KEY}, size: 1}}
sources:
  a: {{from: npy, path: "http://127.0.0.1:{port}/a.npy?X-Amz-Signature={SIGNATURE}&X-Amz-Date=20261128T000000Z"}}
  b:
    from: zarr
    path: "http://someone:{PASSWORD}@127.0.0.1:{port}/b.zarr"
    storage_options: {{client_kwargs: {{headers: {{X-Token: "${{token}}", X-Word: "${{env:CANARY_WORD}}"}}}}}}
  c:
    from: zarr
    path: http://127.0.0.1:{port}/b.zarr
    storage_options: {{client_kwargs: {{headers: {{Authorization: "Bearer ${{token}}", X-Api-Key: "${{api_key}}"}}}}}}
steps:
  smooth: {{op: gaussian, of: b, sigma: "${{size}}"}}
  all: {{op: expr, expr: "a + smooth + c"}}
  total: {{op: sum, of: all}}
  rows: {{op: sum, of: all, axis: 1}}
sinks:
  smooth: {{to: zarr, of: all, path: out/smooth.zarr}}
  total: {{to: json, of: total, path: out/total.json}}
  rows: {{to: parquet, of: rows, path: out/rows.parquet}}
"""


class Guarded(SimpleHTTPRequestHandler):
    """Serves files to whoever has the credentials, so many chunks, and quotes what it was asked in its errors."""

    def do_GET(self):
        """Answer."""
        served = self.server.served = self.server.served + ("/c/" in self.path)
        said = f"{self.path} {self.headers.get('Authorization')} {self.headers.get('X-Api-Key')}"
        known = TOKEN in (self.headers.get("Authorization", "")[7:], self.headers.get("X-Token"))
        known = known or f"X-Amz-Signature={SIGNATURE}" in self.path
        if served > self.server.enough or not known:
            self.send_error(500 if known else 403, f"no more for {said}")
        else:
            super().do_GET()

    def log_message(self, *args):
        """Say nothing."""


@pytest.fixture
def server(tmp_path):
    """A web server with two arrays."""
    data = np.random.default_rng(0).random((64, 64))
    zarr.create_array(str(tmp_path / "web/b.zarr"), data=data, chunks=(16, 16))
    np.save(tmp_path / "web/a.npy", data)
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Guarded, directory=str(tmp_path / "web"))) as found:
        found.enough, found.served = 10**6, 0
        thread = threading.Thread(target=found.serve_forever, daemon=True)
        thread.start()
        yield found
        found.shutdown()
        thread.join()


@pytest.fixture
def command(tmp_path, server):
    """Runs a command in a folder where nothing but its doing is; gives the exit code."""
    folder = tmp_path / "case"
    folder.mkdir()
    # The flow itself lies elsewhere: it may hold what its author has written.
    flow = tmp_path / "flow.yaml"
    flow.write_text(FLOW.format(port=server.server_port, **{n: globals()[n] for n in ("SIGNATURE", "PASSWORD", "KEY")}))
    environment = {**os.environ, "CANARY_WORD": WORD, "XDG_CACHE_HOME": str(folder / "cache")}
    seen = []

    def call(*words, token=True):
        given = ["-p", f"token={TOKEN}"] if token else []
        with (folder / "log.txt").open("a") as log:
            one = subprocess.Popen(
                [sys.executable, "-m", "hpcflow", *words, *given], cwd=folder, env=environment, stdout=log, stderr=log
            )
            while one.poll() is None:
                for child in psutil.Process(one.pid).children(recursive=True) if psutil.pid_exists(one.pid) else []:
                    try:
                        seen.append(" ".join(child.cmdline()))
                    except psutil.Error:
                        continue
                time.sleep(0.05)
        return one.returncode

    call.folder, call.flow, call.seen = folder, flow, seen
    return call


def expect_none(command):
    """No canary is in any file, in what was printed, or among the words of a process that was begun."""
    for path in command.folder.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            for canary in CANARIES:
                where = content.find(canary.encode())
                assert where < 0, f"{path}: {content[max(0, where - 500) : where + 100]!r}"
    assert not [words for words in command.seen if any(canary in words for canary in CANARIES)]


@pytest.mark.parametrize("cluster", ["local", "threads"])
def test_credentials_of_a_good_run_a_failing_one_and_a_resumed_one_are_found_nowhere(command, server, cluster):
    run = ["run", command.flow, "--cluster", cluster, "--no-dashboard", "--retries", "1"]
    log = command.folder / "log.txt"
    for words in (["check"], ["plan"], ["plan", "--json"], ["plan", "--html", "plan.html", "--svg", "plan.svg"]):
        assert command(words[0], command.flow, *words[1:]) == 0, log.read_text()
    server.enough = server.served + 20
    assert command(*run) == 1, log.read_text()
    assert "no more" in log.read_text() or "500" in log.read_text()
    server.enough = 10**6
    assert command(*run, "--json") == 0, log.read_text()
    assert "Traceback" not in log.read_text()
    for words in (["report", "runs/canary"], ["report", "runs/canary", "--json"], ["verify", "out/smooth.zarr"]):
        assert command(*words, token=False) == 0, log.read_text()
    assert command.seen or cluster == "threads"
    expect_none(command)


def test_a_repair_says_which_credentials_it_needs_and_takes_them(command, server):
    assert command("run", command.flow, "--cluster", "threads") == 0
    log = command.folder / "log.txt"
    place = command.folder / "out/smooth.zarr"
    before = zarr.open_array(place, mode="r")[:]
    (chunk,) = [one for one in place.rglob("c/0/0") if one.is_file()]
    chunk.write_bytes(b"damaged")
    assert command("verify", "out/smooth.zarr", "--repair", token=False) == 1
    assert "`token`" in log.read_text()
    assert "-p token=" in log.read_text()
    assert command("verify", "out/smooth.zarr", "--repair") == 0, log.read_text()
    assert np.array_equal(zarr.open_array(place, mode="r")[:], before)
    expect_none(command)


def test_a_wrong_token_and_a_wrong_flow_do_not_show_it(command):
    assert command("plan", command.flow, "-p", f"size={TOKEN}") == 2
    command.flow.write_text(command.flow.read_text().replace("op: gaussian", "op: gausian").replace("null", TOKEN))
    assert command("check", command.flow, token=False) == 2
    command.flow.write_text(command.flow.read_text().replace("params: {", f"secret: {WORD}\nparams: {{[").strip())
    assert command("check", command.flow, token=False) == 2
    expect_none(command)
    assert Path(command.folder, "log.txt").read_text().count("error") >= 3

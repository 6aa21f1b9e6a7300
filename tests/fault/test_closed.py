"""What a flow, an input or an address on the network can never bring about."""

import json
import os
import subprocess
import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import psutil
import pytest
import zarr
from harness import ADDON, FULL, ROOT, times

pytestmark = pytest.mark.timeout(3600 if FULL else 300)
ENVIRONMENT = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ADDON}", "PYTHONDONTWRITEBYTECODE": "1"}
SECRETS = {"HPCFLOW_CANARY_TOKEN": "canary-token-Zx81", "HPCFLOW_CANARY_PASSWORD": "canary-password-Qp77"}


def test_mutated_flows_cause_nothing(tmp_path, rng, figures):
    number = times(1000, 10_000)
    flows = sorted(map(str, (ROOT / "flows").glob("*.yaml")))
    script = [sys.executable, str(Path(__file__).parent / "hostile.py"), str(rng.randrange(2**32)), str(number), *flows]
    done = subprocess.run(
        script, cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True, timeout=1500, check=False
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["tracebacks"] == []
    assert found["caused"] == []
    assert found["slowest_s"] < 1
    assert list(tmp_path.iterdir()) == []
    figures(flows=number, valid=found["valid"], tracebacks=0, caused=0, slowest_s=round(found["slowest_s"], 3))


def test_everything_listens_on_loopback_only_while_a_flow_runs(case):
    one = case(seconds=0.5)
    process = one.start("--workers", 2)
    one.wait_for(1, process)
    listening = [
        connection.laddr.ip
        for pid in one.processes()
        for connection in psutil.Process(pid).net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    ]
    assert listening
    assert set(listening) == {"127.0.0.1"}
    assert process.wait(60) == 0


class Guarded(SimpleHTTPRequestHandler):
    """Files for whoever knows the token; after `enough` requests for chunks, nothing but errors."""

    enough = 10**6

    def do_GET(self):
        served = self.server.served = getattr(self.server, "served", 0) + ("/c/" in self.path)
        if served > self.server.enough:
            self.send_error(500, f"no more for {self.headers.get('X-Token')}")
        elif self.headers.get("X-Token") != SECRETS["HPCFLOW_CANARY_TOKEN"]:
            self.send_error(403, f"wrong token {self.headers.get('X-Token')}")
        else:
            super().do_GET()

    def log_message(self, *args):
        """Say nothing."""


FLOW = """
flow: canary
block: [16, 16]
sources:
  x:
    from: zarr
    path: "http://someone:{password}@127.0.0.1:{port}/x.zarr"
    storage_options: {{client_kwargs: {{headers: {{X-Token: "${{env:HPCFLOW_CANARY_TOKEN}}"}}}}}}
steps:
  smooth: {{op: gaussian, of: x, sigma: 1}}
  total: {{op: sum, of: smooth}}
sinks:
  smooth: {{to: zarr, of: smooth, path: out/smooth.zarr}}
  total: {{to: json, of: total, path: out/total.json}}
"""


@pytest.fixture
def server(tmp_path):
    """A web server with one array."""
    zarr.create_array(str(tmp_path / "web/x.zarr"), data=np.random.default_rng(0).random((64, 64)), chunks=(16, 16))
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Guarded, directory=str(tmp_path / "web"))) as found:
        found.enough = 10**6
        thread = threading.Thread(target=found.serve_forever, daemon=True)
        thread.start()
        yield found
        found.shutdown()
        thread.join()


@pytest.mark.parametrize("enough", [10**6, 6, 0])
@pytest.mark.parametrize("cluster", ["local", "threads"])
def test_credentials_are_shown_nowhere(enough, cluster, server, tmp_path):
    server.enough = enough
    password = SECRETS["HPCFLOW_CANARY_PASSWORD"]
    folder = tmp_path / "case"
    folder.mkdir()
    # The flow itself lies elsewhere: it may hold what its author has written.
    (tmp_path / "flow.yaml").write_text(FLOW.format(password=password, port=server.server_port))
    command = [sys.executable, "-m", "hpcflow", "run", "../flow.yaml", "--cluster", cluster, "--no-dashboard"]
    command += ["--retries", "1"]
    with (folder / "log.txt").open("w") as log:
        code = subprocess.run(
            command,
            cwd=folder,
            env={**ENVIRONMENT, **SECRETS},
            stdout=log,
            stderr=log,
            timeout=120,
            check=False,
        ).returncode
    text = (folder / "log.txt").read_text()
    assert code == (0 if enough > 100 else 1), text
    assert "Traceback" not in text
    for path in folder.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            for secret in SECRETS.values():
                assert secret.encode() not in content, f"{path}: {content[:3000]!r}"

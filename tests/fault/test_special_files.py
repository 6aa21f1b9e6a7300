"""What is no regular file, wherever a flow or the command line may name a file: refused, never waited for."""

import os
import socket

import numpy as np
import pytest
from typer.testing import CliRunner

from hpcflow.cli import app
from hpcflow.errors import FlowError, Mismatch
from hpcflow.models._weights import pinned
from hpcflow.spec.validate import loads

SOURCES = {
    "npy": "{from: npy, path: PATH}",
    "raw": "{from: raw, path: PATH, dtype: uint8, shape: [3]}",
    "zarr": "{from: zarr, path: PATH}",
    "zarr, zip": "{from: zarr, path: PATH.zip}",
    "xarray": "{from: xarray, path: PATH, variable: x}",
    "xarray, nc": "{from: xarray, path: PATH.nc, variable: x}",
    "a list of photos": "{from: images, path: PATH.txt}",
    "a table of photos": "{from: images, path: PATH.parquet}",
    "a list of files": "{from: remote, path: PATH.csv}",
    "a URL of npy": '{from: npy, path: "file://PATH"}',
    "a URL of zarr": '{from: zarr, path: "file://PATH"}',
}
MODELS = {"a model": "model: PATH.pt2", "TorchScript": "model: PATH.pt"}
FILES = (
    "odd odd.zip odd.nc odd.txt odd.csv odd.parquet odd.pt2 odd.pt odd.yaml odd.json odd.png odd.npy x.zarr/zarr.json"
)


@pytest.fixture(params=["pipe", "socket", "device", "loop"])
def special(request, tmp_path):
    """What makes something special of a kind; the kind."""
    sockets = []

    def make(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        if request.param == "pipe":
            os.mkfifo(path)
        elif request.param == "socket":
            sockets.append(socket.socket(socket.AF_UNIX))
            here = os.open(path.parent, os.O_RDONLY)
            sockets[-1].bind(f"/proc/self/fd/{here}/{path.name}")  # the path itself may be too long
            os.close(here)
        else:
            path.symlink_to("/dev/zero" if request.param == "device" else path.name)

    yield make
    for one in sockets:
        one.close()


@pytest.mark.timeout(120)
def test_no_command_opens_what_is_no_regular_file(special, tmp_path, monkeypatch):
    for name in FILES.split():
        special(tmp_path / name)
    odd = str(tmp_path / "odd")
    np.save(tmp_path / "a.npy", np.zeros((4, 64, 64, 3), np.uint8))
    nodes = [f"sources:\n  x: {source.replace('PATH', odd)}\nsteps: {{}}\n" for source in SOURCES.values()]
    nodes += [f"sources:\n  x: {{from: zarr, path: {tmp_path}/x.zarr}}\n"]
    photos = "sources:\n  p: {from: npy, path: a.npy}\n"
    nodes += [f"{photos}steps:\n  x: {{op: infer, of: p, {model.replace('PATH', odd)}}}\n" for model in MODELS.values()]
    sinks = [f"sinks:\n  y: {{to: npy, of: x, path: y{i}.npy}}\n" for i in range(len(nodes))]
    labels = [
        f"{photos}sinks:\n  y: {{to: {kind}, of: p, path: y, labels: {odd}}}\n" for kind in ("csv", "png", "parquet")
    ]
    flows = [f"flow: f{i}\n{node}{sink}" for i, (node, sink) in enumerate(zip(nodes, sinks, strict=True))]
    flows += [f"flow: g{i}\n{text}" for i, text in enumerate(labels)]
    monkeypatch.chdir(tmp_path)
    for text in flows:
        with pytest.raises(FlowError):
            loads(text.replace("steps: {}\n", ""))
    fine = tmp_path / "fine.yaml"
    fine.write_text(f"flow: fine\n{photos}sinks:\n  y: {{to: npy, of: p, path: z.npy}}\n")
    special(tmp_path / "report.json")
    commands = [["check", f"{odd}.yaml"], ["run", fine, "--cluster", f"{odd}.yaml"], ["report", tmp_path]]
    commands += [["view", f"{odd}.npy"], ["view", f"{odd}.json"], ["view", f"{odd}.png"]]
    commands += [["fetch", f"{odd}.txt", "--to", "out"]]
    for command in commands:
        done = CliRunner().invoke(app, [str(one) for one in command])
        assert done.exit_code in (1, 2), f"{command}\n{done.output}"
        assert not done.exception or isinstance(done.exception, SystemExit), f"{command}\n{done.exception!r}"
    assert loads(fine.read_text()).warnings == ()
    with pytest.raises(Mismatch, match="expected a file"):  # weights are first read by a worker
        pinned(odd, "0" * 64)

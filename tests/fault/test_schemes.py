"""What no flow, option, list or input may open: schemes beyond the list, pickles, what is no regular file."""

import subprocess
import sys
from pathlib import Path

import pytest
from harness import ROOT

from hpcflow import schemes
from hpcflow.errors import FlowError, Mismatch
from hpcflow.spec.validate import loads

FLOW = """flow: f
sources:
  x: {source}
sinks:
  y: {sink}
"""
SINK = "{to: npy, of: x, path: out.npy}"
URLS = [
    "dask://HOST/x",
    "DASK://HOST/x",
    " dask://HOST/x",
    "dask ://HOST/x",
    "simplecache::dask://HOST/x",
    "blockcache::simplecache::dask://HOST/x",
    "simplecache::dask",
    "dask::file:///x",
    "memory://x::dask://HOST/x",
    "http://[::1]/x::dask://HOST/x",
    "reference://HOST/x",
    "github://main/x",
    "zip::http://HOST/x.zip",
    "zip://x::http://HOST/x.zip",
    "tar://x::http://HOST/x.tar",
    "simplecache::data:,x",
    "simplecache::http://HOST/x",
    "filecache::http://HOST/x",
    "FileCache://http://HOST/x",
    "blockcache::s3://bucket/x",
    "c://x",
    *(f"{one}://HOST/x" for one in ("sftp", "ssh", "smb", "ftp", "jupyter", "libarchive", "local", "generic", "hf")),
]
OPTIONS = [
    "{target_protocol: dask}",
    "{protocol: dask}",
    "{target_protocol: http, url: 'filecache::dask://HOST'}",
    "{Target_Protocol: DASK}",
    "{fo: 'dask://HOST/x'}",
    "{simplecache: {target_protocol: dask, target_options: {client: HOST}}}",
    "{target_options: {remote_protocol: dask}}",
    "{target_protocol: [file, dask]}",
    "{a: [{b: 'simplecache::dask://HOST'}]}",
]


@pytest.fixture
def evil(tmp_path):
    """A server whose answers do harm where they are unpickled: its address, and the trace that they leave."""
    canary = tmp_path / "canary"
    script = [sys.executable, str(Path(__file__).parent / "unpickled.py"), str(canary)]
    with subprocess.Popen(script, stdout=subprocess.PIPE, text=True, cwd=ROOT) as server:
        yield server.stdout.readline().strip(), canary
        server.terminate()


def cases(host):
    """Flows that would ask the server, and the text at which the fault is to stand."""
    for url in (one.replace("HOST", host) for one in URLS):
        quoted = f'"{url}"'
        for kind in ("zarr", "npy", "images", "remote"):
            yield FLOW.format(source=f"{{from: {kind}, path: {quoted}}}", sink=SINK), quoted
        weights = f"{{from: npy, path: x.npy}}\nsteps:\n  s: {{op: infer, of: x, weights: {quoted}}}"
        yield FLOW.format(source=weights, sink=SINK), quoted
        source = "{from: npy, path: x.npy}"
        for kind in ("zarr", "npy", "csv", "png", "json", "parquet", "ome_zarr"):
            yield FLOW.format(source=source, sink=f"{{to: {kind}, of: x, path: {quoted}}}"), quoted
        yield FLOW.format(source=source, sink=f"{{to: csv, of: x, path: x.csv, labels: {quoted}}}"), quoted
    for given in (one.replace("HOST", host) for one in OPTIONS):
        for kind in ("zarr", "npy", "images", "remote"):
            options = f"{{from: {kind}, path: 's3://bucket/x', storage_options: {given}}}"
            yield FLOW.format(source=options, sink=SINK), "dask"


@pytest.mark.parametrize("missing_ok", [True, False])
def test_schemes_beyond_the_list_are_refused_where_they_stand(evil, missing_ok, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    host, canary = evil
    for text, place in cases(host):
        with pytest.raises(FlowError) as caught:
            loads(text, missing_ok=missing_ok)
        faults = [fault for fault in caught.value.faults if "expected a URL of `file`, `http`" in fault.message]
        assert faults, f"{text}\n{caught.value}"
        for fault in faults:
            start = fault.location.column - 1
            assert place.lower() in fault.location.text[start:].lower(), str(fault)
    assert not canary.exists()


@pytest.mark.parametrize("command", ["check", "plan", "run", "view", "fetch"])
def test_what_a_server_answers_is_never_unpickled(evil, command, tmp_path):
    host, canary = evil
    url = f"dask://{host}/x"
    flow = tmp_path / "flow.yaml"
    options = "storage_options: {target_protocol: file}"
    flow.write_text(FLOW.format(source=f'{{from: zarr, path: "{url}", {options}}}', sink=SINK))
    (tmp_path / "list.txt").write_text(f"{url}\nsimplecache::{url}\n")
    given = {"view": [url], "fetch": ["list.txt", "--to", "out"]}.get(command, [str(flow)])
    done = subprocess.run(
        [sys.executable, "-m", "hpcflow", command, *given],
        cwd=tmp_path, env={"PYTHONPATH": str(ROOT), "HOME": str(tmp_path), "PATH": ""},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert not canary.exists()
    assert done.returncode in (1, 2, 3), done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_a_package_adds_a_scheme_and_a_flow_does_not(monkeypatch):
    class Point:
        name = "sftp"

    monkeypatch.setattr(schemes, "entry_points", lambda group: [Point] if group == "hpcflow.schemes" else [])
    schemes._listed.cache_clear()
    try:
        schemes.expect_listed("sftp://host/x")
        with pytest.raises(Mismatch, match="found `smb`"):
            schemes.expect_listed("smb://host/x")
    finally:
        monkeypatch.undo()
        schemes._listed.cache_clear()


@pytest.mark.parametrize("url", ["{}::http://127.0.0.1:1/x", "{}://http://127.0.0.1:1/x"])
@pytest.mark.parametrize("cache", schemes.CACHES)
def test_a_cache_before_a_url_is_refused_with_what_to_write(cache, url):
    with pytest.raises(FlowError) as caught:
        loads(FLOW.format(source=f"{{from: zarr, path: '{url.format(cache)}'}}", sink=SINK))
    (fault,) = caught.value.faults
    assert fault.message.endswith(f"; found `{cache}`")
    assert fault.hint.startswith("write the URL alone")


@pytest.mark.parametrize(
    "harmless",
    [
        "http://[::1]:8000/x.npy",
        "https://example.org/a::b.jpg",
        "https://example.org/?u=dask://x",
        "s3://bucket/x",
        "data/x:y.npy",
        "::2",
        "1::2",
        {"connection_string": "DefaultEndpointsProtocol=https;BlobEndpoint=http://127.0.0.1:10000/x"},
        {"client_kwargs": {"endpoint_url": "http://127.0.0.1:9000"}},
    ],
)
def test_what_reaches_no_further_is_let_through(harmless):
    schemes.expect_listed(harmless)

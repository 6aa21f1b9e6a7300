"""Headers reach whom they are meant for and nothing else; proxies are asked where the environment says so."""

import asyncio
import threading
from contextlib import contextmanager

import numpy as np
import pyarrow.parquet as pq
import pytest
import zarr as store
from aiohttp import web
from faulty import Faulty, body_of, serving
from typer.testing import CliRunner

import hpcflow
from hpcflow.cli import app
from hpcflow.errors import Mismatch
from hpcflow.ingest import fetch
from hpcflow.sources.zarr import zarr


@pytest.fixture
def server():
    with serving(Faulty()) as one:
        yield one


@pytest.fixture
def get(tmp_path):
    def run(urls, to="out", **options):
        done = fetch(urls, tmp_path / to, **{"cache": str(tmp_path / "cache"), "timeout": 3, "retries": 0, **options})
        return pq.read_table(done.manifest).to_pylist()

    return run


@pytest.fixture
def word(monkeypatch):
    monkeypatch.setenv("FETCH_WORD", "s3cr3t-w0rd")
    return {"X-Api-Key": "${env:FETCH_WORD}", "Authorization": "Bearer ${env:FETCH_WORD}", "Accept": "image/*"}


def written(folder):
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


def test_headers_stay_with_the_origin_that_was_named(get, server, word, tmp_path):
    with serving(Faulty()) as other:
        urls = [server.url("ok/a.bin"), server.url(f"to/b.bin?url={server.url('ok/b.bin')}")]
        urls += [
            server.url(f"to/c.bin?url={other.url('ok/c.bin')}"),
            server.url(f"to/d.bin?url={other.url('to/d.bin')}"),
        ]
        urls[-1] += f"?url={server.url('ok/d.bin')}"
        rows = get(urls, headers=word, allow_private=True)
        assert [row["status"] for row in rows] == ["ok"] * 4, rows
        for path in ("ok/a.bin", "ok/b.bin", "to/c.bin"):
            assert server.headers[path][0]["Authorization"] == "Bearer s3cr3t-w0rd"
            assert server.headers[path][0]["X-Api-Key"] == "s3cr3t-w0rd"
            assert server.headers[path][0]["Accept"] == "image/*"
        for headers in (other.headers["ok/c.bin"][0], server.headers["ok/d.bin"][0]):
            assert "s3cr3t" not in str(headers)
    assert b"s3cr3t" not in written(tmp_path)
    assert get(urls[:1], "again")[0]["status"] == "ok"  # what comes without them may be another thing


def test_a_list_from_elsewhere_gets_them_for_its_own_host_alone(get, server, word):
    with serving(Faulty()) as other:
        server.bodies["ok/list.txt"] = f"{server.url('ok/mine.bin')}\n{other.url('ok/theirs.bin')}\n".encode()
        get(server.url("ok/list.txt"), headers=word, allow_private=True)
        assert server.headers["ok/mine.bin"][0]["X-Api-Key"] == "s3cr3t-w0rd"
        assert "s3cr3t" not in str(other.headers["ok/theirs.bin"])


def test_headers_of_a_flow_and_of_the_command(server, word, tmp_path):
    (tmp_path / "list.txt").write_text(server.url("ok/flow.bin"))
    flow = f"""
    flow: headed
    sources:
      files:
        from: remote
        path: "{tmp_path}/list.txt"
        content: counts
        fetch: {{cache: "{tmp_path}/cache", headers: {{X-Api-Key: "${{env:FETCH_WORD}}"}}}}
    sinks:
      files: {{to: npy, of: files, path: "{tmp_path}/files.npy"}}
    """
    (tmp_path / "flow.yaml").write_text(flow)
    hpcflow.run(tmp_path / "flow.yaml", cluster="threads", run_dir=tmp_path / "run", dashboard=False)
    assert server.headers["ok/flow.bin"][0]["X-Api-Key"] == "s3cr3t-w0rd"
    command = ["fetch", server.url("ok/cli.bin"), "--to", str(tmp_path / "out"), "--cache", str(tmp_path / "cache")]
    assert CliRunner().invoke(app, [*command, "--header", "X-Api-Key: ${env:FETCH_WORD}"]).exit_code == 0
    assert server.headers["ok/cli.bin"][0]["X-Api-Key"] == "s3cr3t-w0rd"
    assert b"s3cr3t" not in written(tmp_path)
    for header, message in {
        "Authorization: Bearer abc": "to come from the environment",
        "Range: bytes=0-1": "expected a header that may be set, found 'Range'",
        "A B: c": "expected a header that may be set",
        "nothing": "--header: expected 'NAME: VALUE'",
        "Cookie: ${env:FETCH_NOT_SET}": "expected the environment variable `FETCH_NOT_SET` to be set",
    }.items():
        result = CliRunner().invoke(app, [*command, "--header", header])
        assert (result.exit_code, message in result.stderr) == (2, True), result.stderr


def test_a_value_that_no_header_can_hold_is_refused(get, server, word, monkeypatch):
    monkeypatch.setenv("FETCH_WORD", "one\r\nX-Evil: two")
    with pytest.raises(Mismatch, match="expected the header `Authorization` to be one line of text"):
        get([server.url("ok/a.bin")], headers=word)


class Stored(Faulty):
    """A folder of files."""

    async def store(self, request, path, body):
        file = self.folder / path.partition("/")[2]
        return web.FileResponse(file) if file.is_file() else web.Response(status=404)

    async def away(self, request, path, body):
        raise web.HTTPFound(f"http://{self.host}:{self.port}/store/{path.partition('/')[2]}")


@pytest.mark.parametrize("way", ["client", "request"])
def test_headers_for_chunks_stay_with_their_origin(tmp_path, way):
    array = np.arange(600).reshape(20, 30)
    store.create_array(str(tmp_path / "a.zarr"), data=array, chunks=(10, 10))
    headers = {"X-Api-Key": "s3cr3t", "Authorization": "s3cr3t"}
    options = {"headers": headers} if way == "request" else {"client_kwargs": {"headers": headers}}
    server = Stored()
    server.folder, server.host = tmp_path, "127.0.0.1"
    with serving(server):
        assert zarr(path=server.url("away/a.zarr"), storage_options=options).meta.shape == (20, 30)
        assert all(one["X-Api-Key"] == "s3cr3t" for one in server.headers["store/a.zarr/zarr.json"])
        server.headers.clear()
        server.host = "\uff11\uff12\uff17.0.0.1"
        with pytest.raises(Mismatch):
            zarr(path=server.url("away/a.zarr", "localhost"), storage_options=options)
        assert not server.headers["store/a.zarr/zarr.json"]


@contextmanager
def proxying():
    """A proxy on loopback that answers everything itself, and remembers what it was asked."""
    asked, loop, ready = [], asyncio.new_event_loop(), threading.Event()

    async def serve(reader, writer):
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        asked.append(head)
        answer = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nproxy"
        writer.write(b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n" if head.startswith("CONNECT") else answer)
        writer.close()

    server = loop.run_until_complete(asyncio.start_server(serve, "127.0.0.1", 0))
    loop.call_soon(ready.set)
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield server.sockets[0].getsockname()[1], asked
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        server.close()
        loop.run_until_complete(server.wait_closed())
        loop.close()


def test_proxies_of_the_environment(get, server, tmp_path, monkeypatch):
    with proxying() as (port, asked):
        monkeypatch.setenv("HTTP_PROXY", f"http://me:proxyw0rd@127.0.0.1:{port}")
        monkeypatch.setenv("https_proxy", f"127.0.0.1:{port}")
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        server.bodies["verbatim/far"] = (
            b"HTTP/1.1 302 No\r\nContent-Length: 0\r\nLocation: http://far.invalid/a%20b\r\n\r\n"
        )
        server.bodies["verbatim/near"] = (
            b"HTTP/1.1 302 No\r\nContent-Length: 0\r\nLocation: http://2130706434/x\r\n\r\n"
        )
        urls = ["http://far.invalid/x y", "https://far.invalid/z", server.url("ok/near.bin")]
        rows = get([*urls, server.url("verbatim/far"), server.url("verbatim/near")])
        assert [row["status"] for row in rows] == ["ok", "failed", "ok", "ok", "failed"], rows
        assert (tmp_path / "out" / rows[0]["path"]).read_bytes() == b"proxy"
        assert (tmp_path / "out" / rows[2]["path"]).read_bytes() == body_of("ok/near.bin")
        assert rows[1]["reason"] == "its proxy answered 403"
        assert "leads to a private address" in rows[4]["reason"]
        lines = sorted(head.partition("\r\n")[0] for head in asked)
        wanted = ["CONNECT far.invalid:443", "GET http://far.invalid/a%20b", "GET http://far.invalid/x%20y"]
        assert lines == [f"{line} HTTP/1.1" for line in wanted]
        assert all("Proxy-Authorization: Basic" in head for head in asked if head.startswith("GET"))
    assert b"proxyw0rd" not in written(tmp_path)
    rows = get(["http://far.invalid/gone"], "gone")
    assert rows[0]["reason"].startswith("no connection to its proxy")
    assert "proxyw0rd" not in str(rows)
    monkeypatch.setenv("HTTP_PROXY", "socks5://127.0.0.1:1")
    with pytest.raises(Mismatch, match="expected `HTTP_PROXY` to be"):
        get(["http://far.invalid/gone"])


def test_long_headers_are_taken_and_endless_ones_are_a_loss(get, server):
    for name, size in {"long": 60_000, "longer": 80_000, "endless": 20_000_000}.items():
        head = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Policy: " + b"x" * size + b"\r\n\r\nok"
        server.bodies[f"verbatim/{name}"] = head
    many = b"".join(b"X-%d: x\r\n" % i for i in range(200_000))
    server.bodies["verbatim/many"] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n" + many + b"\r\nok"
    rows = get([server.url(f"verbatim/{name}") for name in ("long", "longer", "endless", "many")])
    assert [row["status"] for row in rows[:3]] == ["ok", "failed", "failed"]
    assert rows[1]["reason"] == rows[2]["reason"] == "sends a header of more than 64.0 KiB"
    assert rows[3]["status"] == "failed" or rows[3]["bytes"] == 2

"""What a hostile server can bring about: the loss of what it was asked for, with a reason, and nothing else."""

import asyncio
import gzip
import threading
import time
import tracemalloc
import zlib
from contextlib import contextmanager

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from hpcflow.cli import app
from hpcflow.errors import RunError
from hpcflow.ingest import fetch
from hpcflow.models import _weights

OK = b"HTTP/1.1 200 OK\r\n"
GOOD = OK + b"Content-Length: 4\r\nSet-Cookie: a=b; Domain=127.0.0.1; Path=/\r\n\r\ngood"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
MOST = 2**20


def for_ever(head, piece):
    """A head, and then a piece again and again until nobody listens."""
    yield head
    while True:
        yield piece


BOMB = zlib.compressobj(9, zlib.DEFLATED, 31)
BOMB = b"".join([*(BOMB.compress(bytes(2**20)) for _ in range(200)), BOMB.flush()])
LOST = {
    "endless-body": lambda: for_ever(OK + b"\r\n", bytes(2**16)),
    "endless-chunks": lambda: for_ever(CHUNKED, b"10000\r\n" + bytes(2**16) + b"\r\n"),
    "endless-empty-chunk-sizes": lambda: for_ever(CHUNKED, b"0" * 4096),
    "endless-extension": lambda: for_ever(CHUNKED + b"4;", b"x" * 4096),
    "endless-trailers": lambda: for_ever(CHUNKED + b"4\r\ngood\r\n0\r\n", b"X-A: b\r\n" * 100),
    "endless-headers": lambda: for_ever(OK, b"X-A: b\r\n" * 100),
    "endless-header": lambda: for_ever(OK + b"X-A: ", b"b" * 4096),
    "endless-name": lambda: for_ever(OK, b"X" * 4096),
    "endless-status": lambda: for_ever(b"HTTP/1.1 200 ", b"O" * 4096),
    "endless-continue": lambda: for_ever(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "endless-location": lambda: for_ever(b"HTTP/1.1 302 Found\r\nLocation: /", b"a" * 4096),
    "huge-chunk": lambda: [CHUNKED + b"ffffffffffffffff\r\n" + bytes(2**16)],
    "negative-chunk": lambda: [CHUNKED + b"-4\r\ngood\r\n0\r\n\r\n"],
    "huge-length": lambda: [OK + b"Content-Length: 999999999999999999\r\n\r\ngood"],
    "larger-length": lambda: [OK + b"Content-Length: 99999999999999999999999999\r\n\r\ngood"],
    "negative-length": lambda: [OK + b"Content-Length: -4\r\n\r\ngood"],
    "two-lengths": lambda: [OK + b"Content-Length: 4\r\nContent-Length: 5\r\n\r\ngood"],
    "both-lengths": lambda: [OK + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\ngood"],
    "signed-length": lambda: [OK + b"Content-Length: +4\r\n\r\ngood"],
    "bomb": lambda: [OK + b"Content-Encoding: gzip\r\n\r\n" + BOMB],
    "bomb-in-bomb": lambda: [OK + b"Content-Encoding: deflate\r\n\r\n" + zlib.compress(bytes(2**25))],
    "empty-gzip-members": lambda: for_ever(OK + b"Content-Encoding: gzip\r\n\r\n", gzip.compress(b"") * 100),
    "nothing": list,
    "old": lambda: [b"good"],
    "another-protocol": lambda: [b"SSH-2.0-OpenSSH_9.9\r\n"],
    "tls": lambda: [b"\x16\x03\x01\x02\x00\x01\x00"],
    "odd-version": lambda: [b"HTTP/9.9 200 OK\r\nContent-Length: 4\r\n\r\ngood"],
    "odd-status": lambda: [b"HTTP/1.1 999 \xff\x1b[31m\r\nContent-Length: 0\r\n\r\n"],
    "switch": lambda: [b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"],
    "no-content": lambda: [b"HTTP/1.1 204 No Content\r\n\r\n"],
    "unasked-part": lambda: [b"HTTP/1.1 206 P\r\nContent-Range: bytes 5-8/20\r\nContent-Length: 4\r\n\r\ngood"],
    "unasked-unchanged": lambda: [b"HTTP/1.1 304 Not Modified\r\n\r\n"],
    "nul-location": lambda: [b"HTTP/1.1 302 F\r\nContent-Length: 0\r\nLocation: http://a\0b/\r\n\r\n"],
    "file-location": lambda: [b"HTTP/1.1 302 F\r\nContent-Length: 0\r\nLocation: file:///etc/passwd\r\n\r\n"],
    "odd-page.jpg": lambda: [
        OK + b"Content-Type: text/html; \xe9\xff" + b"x" * 5000 + b"\r\nContent-Length: 4\r\n\r\ngood"
    ],
}
TAKEN = {
    "good": lambda: [GOOD],
    "again": lambda: [GOOD],
    "elsewhere": lambda: [
        OK + b"Content-Disposition: attachment; filename=../../../evil.sh\r\nContent-Location: /../evil.sh\r\n"
        b"Content-Length: 4\r\n\r\ngood"
    ],
    "odd-tag": lambda: [OK + b'ETag: "\xe9\xff"\r\nLast-Modified: \xe9\r\nContent-Length: 4\r\n\r\ngood'],
    "long-tag": lambda: [OK + b'ETag: "' + b"x" * 30_000 + b'"\r\nContent-Length: 4\r\n\r\ngood'],
    "odd-coding": lambda: [OK + b"Content-Encoding: \xe9\xff\r\nContent-Length: 4\r\n\r\ngood"],
}
WAITS = ["1e99", "-5", "0", "99999999999999999999", "Fri, 31 Dec 9999 23:59:59 GMT", "Thu, 01 Jan 1970 00:00:00 GMT"]
WAITS += ["Fri, 99 Foo 9999 99:99:99 +9999", "nan", "inf", "0x10", "\u0661", "x" * 9000, "1, 2", ""]


class Raw:
    """Sends what it is told, byte by byte, whatever HTTP says."""

    def __init__(self):
        self.answers, self.heads, self.port = {}, [], 0

    def url(self, path):
        return f"http://127.0.0.1:{self.port}/{path}"

    async def serve(self, reader, writer):
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            self.heads.append(head)
            for piece in self.answers[head.split(" ")[1].lstrip("/")]():
                writer.write(piece)
                await asyncio.wait_for(writer.drain(), 20)
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            pass
        writer.close()


@contextmanager
def serving():
    loop, raw = asyncio.new_event_loop(), Raw()
    server = loop.run_until_complete(asyncio.start_server(raw.serve, "127.0.0.1", 0))
    raw.port = server.sockets[0].getsockname()[1]
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield raw
    finally:
        loop.call_soon_threadsafe(server.close)
        loop.call_soon_threadsafe(lambda: [task.cancel() for task in asyncio.all_tasks(loop)])
        loop.call_soon_threadsafe(lambda: loop.call_later(0.1, loop.stop))
        thread.join()
        loop.close()


@pytest.fixture
def server():
    with serving() as one:
        yield one


def test_no_answer_costs_more_than_the_item_that_was_asked_for(server, tmp_path):
    server.answers = {**LOST, **TAKEN}
    tracemalloc.start()
    begun = time.monotonic()
    given = {"cache": str(tmp_path / "cache"), "timeout": 3, "retries": 0, "max_bytes": MOST, "per_host": 4}
    done = fetch([server.url(path) for path in server.answers], tmp_path / "out", max_bad=0.9, **given)
    seconds, (_, peak) = time.monotonic() - begun, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    rows = pq.read_table(done.manifest).to_pylist()
    found = {path: (row["status"], row["reason"]) for path, row in zip(server.answers, rows, strict=True)}
    assert {path for path, (status, _) in found.items() if status == "ok"} == set(TAKEN)
    assert all(
        reason and reason.isprintable() and len(reason) < 600 for path, (_, reason) in found.items() if path in LOST
    )
    assert done.exit_code == 3
    assert seconds < 60
    assert peak < 100 * 2**20
    assert {
        path.read_bytes() for path in (tmp_path / "out").iterdir() if path.name not in (".fetch", "manifest.parquet")
    } == {b"good"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cache", "out"]
    assert not any("cookie:" in head.lower() for head in server.heads)


def test_what_such_a_server_gave_can_be_asked_for_again(server, tmp_path, monkeypatch):
    monkeypatch.setattr("hpcflow.ingest.cache.FRESH", 0.0)
    server.answers = TAKEN
    for to in ("one", "two"):
        done = fetch(map(server.url, TAKEN), tmp_path / to, cache=str(tmp_path / "cache"), retries=0, timeout=3)
        assert done.failed == 0, done.failures


@pytest.mark.parametrize("wait", WAITS)
def test_a_server_may_ask_for_any_time_and_gets_some(server, tmp_path, wait):
    head = f"HTTP/1.1 503 No\r\nContent-Length: 0\r\nRetry-After: {wait}\r\n\r\n".encode()
    server.answers = {"busy": lambda: [head]}
    begun = time.monotonic()
    done = fetch([server.url("busy")], tmp_path / "out", cache=str(tmp_path / "cache"), retries=1, timeout=3)
    assert time.monotonic() - begun < 5
    ((_, reason),) = done.failures
    assert reason == "answered 503 Service Unavailable" or reason.startswith("the server asks for ")


def test_a_list_from_elsewhere_does_nothing_to_a_terminal(server, tmp_path):
    lines = ["\x1b]0;owned\x07", server.url("good?\x1b[2J\u202e"), "http://127.0.0.1:1/\x9b31m"]
    body = "\n".join(lines).encode()
    server.answers = {"list.txt": lambda: [OK + b"Content-Length: %d\r\n\r\n" % len(body) + body]}
    server.answers["good?%1B[2J%E2%80%AE"] = TAKEN["good"]
    command = ["fetch", server.url("list.txt"), "--to", tmp_path / "out", "--cache", tmp_path / "cache", "--retries", 0]
    result = CliRunner().invoke(app, [str(one) for one in [*command, "--allow-private", "--max-bad", "2"]])
    assert result.exit_code == 3, result.stderr
    assert all(one.isprintable() for one in result.output.splitlines())


def test_weights_are_led_to_no_private_address(server, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    with serving() as hidden:
        hidden.answers = {"weights": TAKEN["good"]}
        place = f"http://\uff11\uff12\uff17.0.0.1:{hidden.port}/weights".encode()
        server.answers = {"w": lambda: [b"HTTP/1.1 302 F\r\nContent-Length: 0\r\nLocation: " + place + b"\r\n\r\n"]}
        with pytest.raises(RunError, match="leads to a private address"):
            _weights.pinned(server.url("w"), "a" * 64)
        assert hidden.heads == []

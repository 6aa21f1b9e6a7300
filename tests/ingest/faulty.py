"""A server on loopback whose paths misbehave, each in its own way: `/KIND/NAME.bin`."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import random
import ssl
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.utils import formatdate
from functools import lru_cache

from aiohttp import web

SIZE = 20_000


# Kept: a server that stands for one far away is not to take the cores of whoever is timed.
@lru_cache(1024)
def body_of(path: str, size: int = SIZE) -> bytes:
    """What is right for a path, whatever its server sends."""
    return random.Random(path).randbytes(size)


@lru_cache(1024)
def etag_of(body: bytes) -> str:
    """Strong: another body has another."""
    return f'"{hashlib.md5(body).hexdigest()}"'


class Faulty:
    """Answers, and remembers who asked what when."""

    def __init__(self, delay: float = 0.0, size: int = SIZE) -> None:
        self.delay = delay
        self.size = size
        self.asked: Counter[str] = Counter()
        self.times: dict[str, list[float]] = defaultdict(list)
        self.headers: dict[str, list[dict[str, str]]] = defaultdict(list)
        self.targets: list[str] = []
        """What was asked for, byte by byte."""
        self.sent: Counter[str] = Counter()
        self.closed: dict[str, float] = {}
        self.at_once = self.most_at_once = 0
        self.bodies: dict[str, bytes] = {}
        self.cuts: dict[str, list[int]] = {}
        """Offsets at which connections break, one after another."""
        self.port = 0

    def url(self, path: str, host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.port}/{path}"

    def body(self, path: str) -> bytes:
        return self.bodies.get(path) or body_of(path, self.size)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        path = request.path.lstrip("/")
        self.asked[path] += 1
        self.targets.append(request.raw_path)
        self.times[path].append(time.time())
        self.headers[path].append(dict(request.headers))
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            if self.delay:
                await asyncio.sleep(self.delay)
            kind = path.partition("/")[0].replace("-", "_")
            fault: Callable[..., object] = getattr(self, kind, self.ok)
            return await fault(request, path, self.body(path))
        except ConnectionError:  # the client has had enough
            return web.Response()
        finally:
            self.at_once -= 1

    async def ok(self, request: web.Request, path: str, body: bytes) -> web.StreamResponse:
        """Ranges, a strong ETag, and a break wherever one is asked for."""
        etag = etag_of(body)
        start, last = 0, len(body) - 1
        found = request.headers.get("Range")
        ranged = found and request.headers.get("If-Range", etag) == etag
        if ranged:
            first, _, until = found.removeprefix("bytes=").partition("-")
            start, last = int(first), min(int(until or last), last)
        headers = {"ETag": etag, "Content-Length": str(last + 1 - start)}
        if request.headers.get("If-None-Match") == etag:
            return web.Response(status=304)
        if ranged:
            headers["Content-Range"] = f"bytes {start}-{last}/{len(body)}"
        cuts = [cut for cut in self.cuts.get(path, []) if start <= cut <= last]
        end = cuts[0] if cuts else last + 1
        if cuts:
            self.cuts[path].remove(cuts[0])
        response = web.StreamResponse(status=206 if ranged else 200, headers=headers)
        await response.prepare(request)
        await response.write(body[start:end])
        self.sent[path] += end - start
        if end <= last:
            await asyncio.sleep(0.02)
            request.transport.abort()
        return response

    async def reset(self, request: web.Request, path: str, body: bytes) -> web.StreamResponse:
        if self.asked[path] == 1:
            self.cuts.setdefault(path, [len(body) // 2])
        return await self.ok(request, path, body)

    async def _raw(self, request: web.Request, content: bytes) -> web.StreamResponse:
        transport = request.transport
        transport.write(content)
        await asyncio.sleep(0.05)
        transport.close()
        return web.Response()

    async def verbatim(self, request: web.Request, path: str, body: bytes) -> web.StreamResponse:
        """The whole answer, head and body, stands in `bodies`."""
        return await self._raw(request, body)

    async def short(self, request: web.Request, path: str, body: bytes) -> web.StreamResponse:
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body) - 100}\r\n\r\n"
        if "later" in path:
            request.transport.write(head.encode())
            await asyncio.sleep(0.05)
            head = ""
        return await self._raw(request, head.encode() + body)

    async def long(self, request: web.Request, path: str, body: bytes) -> web.StreamResponse:
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body) + 100}\r\n\r\n"
        return await self._raw(request, head.encode() + body)

    async def chunks(self, request: web.Request, path: str, body: bytes) -> web.StreamResponse:
        head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        return await self._raw(request, head + b"10\r\n" + body[:16] + b"\r\nnothex\r\n" + body[16:])

    async def unfinished(self, request: web.Request, path: str, body: bytes) -> web.StreamResponse:
        head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        return await self._raw(request, head + b"10\r\n" + body[:16] + b"\r\n")

    def _busy(self, status: int, path: str, text: str, seconds: float) -> web.Response:
        self.closed[path] = time.time() + seconds
        return web.Response(status=status, headers={"Retry-After": text})

    async def busy_429s(self, request: web.Request, path: str, body: bytes) -> web.StreamResponse:
        return self._busy(429, path, "1", 1) if self.asked[path] == 1 else await self.ok(request, path, body)

    async def busy_503s(self, request: web.Request, path: str, body: bytes) -> web.StreamResponse:
        return self._busy(503, path, "1", 1) if self.asked[path] == 1 else await self.ok(request, path, body)

    async def _dated(self, status: int, request: web.Request, path: str, body: bytes) -> web.StreamResponse:
        if self.asked[path] > 1:
            return await self.ok(request, path, body)
        until = int(time.time()) + 2
        return self._busy(status, path, formatdate(until, usegmt=True), until - time.time())

    async def busy_429d(self, request: web.Request, path: str, body: bytes) -> web.StreamResponse:
        return await self._dated(429, request, path, body)

    async def busy_503d(self, request: web.Request, path: str, body: bytes) -> web.StreamResponse:
        return await self._dated(503, request, path, body)

    async def busy_long(self, request: web.Request, path: str, body: bytes) -> web.StreamResponse:
        return web.Response(status=503, headers={"Retry-After": "9" * 400 if "ever" in path else "86400"})

    async def twice(self, request: web.Request, path: str, body: bytes) -> web.StreamResponse:
        return web.Response(status=500) if self.asked[path] < 3 else await self.ok(request, path, body)

    async def stall(self, request: web.Request, path: str, body: bytes) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": str(len(body))})
        await response.prepare(request)
        await response.write(body[:1000])
        await asyncio.sleep(30)
        return response

    async def drip(self, request: web.Request, path: str, body: bytes) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": str(len(body))})
        await response.prepare(request)
        for i in range(30):
            await response.write(body[i : i + 1])
            await asyncio.sleep(0.3 if "fast" in path else 1)
        return response

    async def loop(self, request: web.Request, path: str, body: bytes) -> web.StreamResponse:
        raise web.HTTPFound(f"/{path}")

    async def norange(self, request: web.Request, path: str, body: bytes) -> web.StreamResponse:
        first = self.asked[path] == 1
        response = web.StreamResponse(headers={"Content-Length": str(len(body)), "ETag": '"a"'})
        await response.prepare(request)
        await response.write(body[: len(body) // 2] if first else body)
        if first:
            await asyncio.sleep(0.02)
            request.transport.abort()
        return response

    async def whole(self, request: web.Request, path: str, body: bytes) -> web.StreamResponse:
        """All of it, whatever part is asked for; in pieces, so that it can be seen who stops listening."""
        known = {} if "unknown" in path else {"Content-Length": str(len(body))}
        response = web.StreamResponse(headers=known)
        await response.prepare(request)
        for i in range(0, len(body), 2**16):
            await response.write(body[i : i + 2**16])
            self.sent[path] += len(body[i : i + 2**16])
        return response

    async def changed(self, request: web.Request, path: str, body: bytes) -> web.StreamResponse:
        """The first half of one version, then the second."""
        first = self.asked[path] == 1
        now = body[::-1] if first else body
        if "lying" in path and "Range" in request.headers:
            # Half of the second version, though only one of the first was asked for.
            start = int(request.headers["Range"].removeprefix("bytes=").rstrip("-"))
            span = {"Content-Range": f"bytes {start}-{len(body) - 1}/{len(body)}", "ETag": '"new"'}
            return web.Response(status=206, body=body[start:], headers=span)
        response = web.StreamResponse(headers={"Content-Length": str(len(now)), "ETag": '"old"' if first else '"new"'})
        await response.prepare(request)
        await response.write(now[: len(now) // 2] if first else now)
        if first:
            await asyncio.sleep(0.02)
            request.transport.abort()
        return response

    async def page(self, request: web.Request, path: str, body: bytes) -> web.StreamResponse:
        kind = "text/html" if "honest" in path else "application/octet-stream"
        return web.Response(body=b"\n<!DOCTYPE html><html>Please log in</html>", content_type=kind)

    async def gzip_lies(self, request: web.Request, path: str, body: bytes) -> web.StreamResponse:
        return web.Response(body=body, headers={"Content-Encoding": "gzip"})

    async def gzip_torn(self, request: web.Request, path: str, body: bytes) -> web.StreamResponse:
        return web.Response(body=gzip.compress(body)[:-50], headers={"Content-Encoding": "gzip"})

    async def gzipped(self, request: web.Request, path: str, body: bytes) -> web.StreamResponse:
        return web.Response(body=gzip.compress(body), headers={"Content-Encoding": "gzip", "ETag": '"z"'})

    async def bomb(self, request: web.Request, path: str, body: bytes) -> web.StreamResponse:
        return web.Response(body=gzip.compress(bytes(20_000_000)), headers={"Content-Encoding": "gzip"})

    async def missing(self, request: web.Request, path: str, body: bytes) -> web.StreamResponse:
        return web.Response(status=404)

    async def to(self, request: web.Request, path: str, body: bytes) -> web.StreamResponse:
        return web.Response(status=302, headers={"Location": request.query["url"]})


@contextmanager
def serving(server: Faulty, tls: ssl.SSLContext | None = None) -> Iterator[Faulty]:
    """Run a server on a thread of its own, on a free port of loopback."""
    loop = asyncio.new_event_loop()
    ready = threading.Event()
    stop = asyncio.Event()

    async def serve() -> None:
        application = web.Application()
        application.router.add_get("/{path:.*}", server.answer)
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0, backlog=1024, ssl_context=tls)
        await site.start()
        server.port = runner.addresses[0][1]
        ready.set()
        await stop.wait()
        await runner.cleanup()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()), daemon=True)
    thread.start()
    assert ready.wait(10)
    try:
        yield server
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(10)
        loop.close()

"""A client for file systems that ask for many small pieces over HTTP: guarded and patient as `web` is."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextvars import ContextVar
from types import SimpleNamespace
from typing import Any

import aiohttp

from hpcflow.ingest.failures import AGAIN, PATIENCE, Failure, pause, retry_after
from hpcflow.ingest.guard import PrivateAddress, private_address, redirected, refuse_private, same_host, socket_for
from hpcflow.ingest.proxies import Proxies
from hpcflow.ingest.settings import Settings
from hpcflow.ingest.urls import WEB, origin, scheme
from hpcflow.ingest.web import LONGEST_LINE, MOST_REDIRECTS
from hpcflow.ingest.wire import wire
from hpcflow.sizes import show_size

Handler = Callable[[aiohttp.ClientRequest], Awaitable[aiohttp.ClientResponse]]
PLAIN = {"host", "accept", "accept-encoding", "user-agent", "range", "if-range", "if-none-match", "if-modified-since"}
"""The headers that go to other origins than the one that they were given for."""
METADATA = ("zarr.json", ".zarray", ".zattrs", ".zgroup", ".zmetadata")
MOST_METADATA = 2**26
"""Bytes of such a document; a chunk may have `max_bytes`."""
_judged = ContextVar("judged", default=True)
"""Whether the request that a task makes may lead to public addresses only."""


def guarded(url: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """The options with which fsspec asks web servers through such a client."""
    return {**options, "get_client": client_for(url)} if scheme(url) in WEB else dict(options)


def client_for(home: str) -> Callable[..., Awaitable[aiohttp.ClientSession]]:
    """What fsspec calls to get a session: the host of `home`, a URL that the flow names, may have a private address."""

    async def client(**options: Any) -> aiohttp.ClientSession:
        settings = Settings()
        trace = aiohttp.TraceConfig()
        trace.on_request_redirect.append(_follow)
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit_per_host=settings.per_host, socket_factory=socket_for(_judged.get)),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(settings.timeout, sock_connect=settings.connect, sock_read=settings.stall),
            trace_configs=[trace],
            response_class=_Bounded,
            middlewares=[_staying(wire(home)), _patient],
            proxy=Proxies().of(wire(home)),
            max_line_size=LONGEST_LINE,
            max_field_size=LONGEST_LINE,
            **options,
        )

    return client


class _Bounded(aiohttp.ClientResponse):
    """An answer that takes no more memory than a chunk may, or a document of metadata."""

    async def read(self) -> bytes:
        """The body; raises `Failure` where it is larger than what is taken."""
        most = MOST_METADATA if self.url.name in METADATA else Settings().max_bytes
        parts: list[bytes] = []
        size = 0
        while self._body is None and (part := await self.content.readany()):
            parts.append(part)
            size += len(part)
            if size > most:
                self.close()
                raise Failure(f"larger than {show_size(most)}, the most that is taken", again=False)
        self._body = b"".join(parts) if self._body is None else self._body
        return await super().read()


async def _follow(_session: Any, context: SimpleNamespace, params: aiohttp.TraceRequestRedirectParams) -> None:
    context.hops = getattr(context, "hops", 0) + 1
    if context.hops > MOST_REDIRECTS:
        raise Failure(f"redirects more than {MOST_REDIRECTS} times", again=False)
    location = params.response.headers.get("Location", "")
    redirected(str(params.response.url), location)
    if not location.isascii():
        # aiohttp leaves out what it cannot read of it.
        raise Failure("redirects to something that is no URL", again=False)


def _staying(home: str) -> Callable[[aiohttp.ClientRequest, Handler], Awaitable[aiohttp.ClientResponse]]:
    """Let a request that has left the host that was named reach public addresses only, and tell it no secrets."""

    async def staying(request: aiohttp.ClientRequest, handler: Handler) -> aiohttp.ClientResponse:
        url = str(request.url)
        _judged.set(not same_host(home, url))
        if origin(url) != origin(home):
            for name in [one for one in request.headers if one.lower() not in PLAIN]:
                request.headers.popall(name, None)
        if request.proxy is not None and _judged.get():
            await refuse_private(url)
            _judged.set(False)  # the proxy may be anywhere
        try:
            return await handler(request)
        except aiohttp.ClientConnectorError as error:
            if isinstance(error.os_error, PrivateAddress):
                raise private_address(url) from None
            raise

    return staying


async def _patient(request: aiohttp.ClientRequest, handler: Handler) -> aiohttp.ClientResponse:
    """Ask again what may be answered otherwise in a moment."""
    for failures in range(1, Settings().retries + 1):
        try:
            answer = await handler(request)
        except (aiohttp.ClientConnectionError, ConnectionError) as error:
            if isinstance(getattr(error, "os_error", None), PrivateAddress):
                raise
            await asyncio.sleep(pause(failures))
            continue
        wait = retry_after(answer.headers)
        if answer.status not in AGAIN or (wait or 0) > PATIENCE:
            return answer
        answer.release()
        await asyncio.sleep(pause(failures) if wait is None else wait)
    return await handler(request)

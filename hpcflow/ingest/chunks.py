"""A client for file systems that ask for many small pieces over HTTP: guarded and patient as `web` is."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import aiohttp

from hpcflow.ingest.failures import AGAIN, PATIENCE, Failure, pause, retry_after
from hpcflow.ingest.guard import PublicResolver, redirected, refuse_literal
from hpcflow.ingest.settings import Settings
from hpcflow.ingest.web import MOST_REDIRECTS

Handler = Callable[[aiohttp.ClientRequest], Awaitable[aiohttp.ClientResponse]]


def client_for(host: str) -> Callable[..., Awaitable[aiohttp.ClientSession]]:
    """What fsspec calls to get a session: `host`, which the flow names, may have a private address."""

    async def client(**options: Any) -> aiohttp.ClientSession:
        settings = Settings()
        trace = aiohttp.TraceConfig()
        trace.on_request_redirect.append(_follow)
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit_per_host=settings.per_host, resolver=PublicResolver(host)),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(settings.timeout, sock_connect=settings.connect, sock_read=settings.stall),
            trace_configs=[trace],
            middlewares=[_patient],
            **options,
        )

    return client


async def _follow(_session: Any, context: SimpleNamespace, params: aiohttp.TraceRequestRedirectParams) -> None:
    context.hops = getattr(context, "hops", 0) + 1
    if context.hops > MOST_REDIRECTS:
        raise Failure(f"redirects more than {MOST_REDIRECTS} times", again=False)
    refuse_literal(redirected(str(params.url), params.response.headers.get("Location", "")))


async def _patient(request: aiohttp.ClientRequest, handler: Handler) -> aiohttp.ClientResponse:
    """Ask again what may be answered otherwise in a moment."""
    for failures in range(1, Settings().retries + 1):
        try:
            answer = await handler(request)
        except (aiohttp.ClientConnectionError, ConnectionError):
            await asyncio.sleep(pause(failures))
            continue
        wait = retry_after(answer.headers)
        if answer.status not in AGAIN or (wait or 0) > PATIENCE:
            return answer
        answer.release()
        await asyncio.sleep(pause(failures) if wait is None else wait)
    return await handler(request)

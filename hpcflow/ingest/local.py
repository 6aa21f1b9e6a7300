"""URLs for code that is not async: an event loop on a thread of its own, one in each process.

What is asked for twice while it is under way is fetched once; what came is then in the cache. What
failed is not asked for again by the same run.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import threading
from collections.abc import Iterable
from concurrent.futures import Future
from contextlib import suppress
from typing import Any

from hpcflow.ingest.engine import Engine, Got
from hpcflow.ingest.items import Item
from hpcflow.ingest.settings import Settings

_mutex = threading.Lock()
_fetchers: dict[tuple[int, Settings], Fetcher] = {}


class Fetcher:
    """Fetches into the cache, on a thread of its own."""

    def __init__(self, settings: Settings) -> None:
        self._loop = asyncio.new_event_loop()
        self._mutex = threading.Lock()
        self._asked: dict[tuple[str, Item], Future[Got]] = {}
        threading.Thread(target=self._loop.run_forever, name="hpcflow-ingest", daemon=True).start()
        self.engine: Engine = self.wait(_opened(settings))

    def wait(self, coroutine: Any) -> Any:
        """Run a coroutine to its end."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    def ask(self, run: str, items: Iterable[Item]) -> list[Future[Got]]:
        """Have some items fetched, unless they are under way or have failed already in this run."""
        futures = []
        for item in items:
            name = (run, item)
            with self._mutex:
                future = self._asked.get(name)
                if future is None:
                    future = asyncio.run_coroutine_threadsafe(self.engine.get(item), self._loop)
                    self._asked[name] = future
            futures.append(future)
        return futures

    def forget(self, run: str, item: Item) -> None:
        """Whoever needed it has it: from now on it is in the cache, or no longer."""
        with self._mutex:
            self._asked.pop((run, item), None)

    def stop(self) -> None:
        """Close every connection; for the end of the process."""
        with suppress(Exception):
            asyncio.run_coroutine_threadsafe(self.engine.close(), self._loop).result(timeout=2)
        self._loop.call_soon_threadsafe(self._loop.stop)


async def _opened(settings: Settings) -> Engine:
    return await Engine(settings).__aenter__()


def fetcher(settings: Settings) -> Fetcher:
    """The one fetcher of this process for some settings."""
    name = (os.getpid(), settings)
    with _mutex:
        if name not in _fetchers:
            _fetchers[name] = Fetcher(settings)
        return _fetchers[name]


@atexit.register
def _stop() -> None:
    for (process, _), one in _fetchers.items():
        if process == os.getpid():
            one.stop()

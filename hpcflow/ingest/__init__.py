"""URLs to bytes on disk: the only async code.

::

    lists ──> engine ──> hosts            who may be asked now, over all processes
                 │   └─> web · elsewhere  one try: HTTP, or any file system of fsspec's
                 │        └─> wire · guard · proxies    what is sent, and to which addresses
                 ├─────> part             what has come so far, resumed where a try broke off
                 └─────> cache · kinds    bodies by their SHA-256, shared by runs; what they are
    batch = lists + engine + manifest     a folder of files; `hpcflow fetch`
    local = engine on a thread            what sources read URLs through
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hpcflow.ingest.batch import Fetched, fetch, fetch_async

__all__ = ["Fetched", "fetch", "fetch_async"]


def __getattr__(name: str) -> Any:
    # aiohttp takes a fifth of a second: only what fetches imports it.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module("hpcflow.ingest.batch"), name)

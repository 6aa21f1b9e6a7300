"""URLs to bytes on disk: the only async code.

::

    lists ──> engine ──> hosts            who may be asked now, over all processes
                 │   └─> web · elsewhere  one try: HTTP, or any file system of fsspec's
                 ├─────> part             what has come so far, resumed where a try broke off
                 └─────> cache            bodies by their SHA-256, shared by runs
    fetch = lists + engine + manifest     a folder of files; `hpcflow fetch`
    local = engine on a thread            what sources read URLs through
"""

from hpcflow.ingest.fetch import Fetched, fetch, fetch_async
from hpcflow.ingest.settings import Settings

__all__ = ["Fetched", "Settings", "fetch", "fetch_async"]

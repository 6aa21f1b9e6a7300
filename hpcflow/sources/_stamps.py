"""By what a change of a file is seen without reading it."""

from __future__ import annotations

import os


def stamp(path: str) -> tuple[int, int, int]:
    """Size, time of change, and the time of change that no program can set back, both in nanoseconds since 1970."""
    status = os.stat(path)  # noqa: PTH116  (for each chunk: text is faster)
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns

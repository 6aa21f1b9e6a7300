"""Where the seconds of a task go: a thread that runs blocks has a watch, and laps it as it gets on."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter

_local = threading.local()


class Stopwatch:
    """Seconds by what they went into.

    Names are those of nodes: of a source for reading it, of a step for running it, joined by ``+``
    where one loop runs several; and ``write NODE``.
    """

    def __init__(self) -> None:
        self.spent: dict[str, float] = {}
        self.last = perf_counter()

    def lap(self, name: str) -> None:
        """Count the time since the last lap for `name`."""
        now = perf_counter()
        self.spent[name] = self.spent.get(name, 0.0) + now - self.last
        self.last = now


@contextmanager
def watching() -> Iterator[Stopwatch]:
    """A watch for all that this thread does meanwhile."""
    before = getattr(_local, "watch", None)
    watch = _local.watch = Stopwatch()
    try:
        yield watch
    finally:
        _local.watch = before


def lap(name: str) -> None:
    """Count the time since this thread's last lap for `name`; nothing where it has no watch."""
    watch: Stopwatch | None = getattr(_local, "watch", None)
    if watch is not None:
        watch.lap(name)

"""Threads of this process: nothing to start, nothing to pickle."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from hpcflow.clusters import _limits
from hpcflow.clusters.base import ClusterInfo, Process, Ticket, drop, put
from hpcflow.clusters.profiles import Profile
from hpcflow.namespace import computing_on


@dataclass
class ThreadPool:
    """A pool over a `ThreadPoolExecutor`."""

    info: ClusterInfo
    executor: ThreadPoolExecutor
    keys: set[str] = field(default_factory=set)

    def install(self, key: str, value: Any) -> None:
        """Keep the value in this process, which is the only one."""
        self.keys.add(key)
        put(key, value)

    def submit(self, name: str, function: Callable[..., Any], *args: Any) -> Ticket:  # noqa: ARG002
        """Queue the call; it runs as soon as a thread is free."""
        return self.executor.submit(_limits.capped, function, *args)

    def holders(self, tickets: Iterable[Ticket]) -> Mapping[Ticket, Process]:  # noqa: ARG002
        """No other process holds any."""
        return {}

    def end(self, ticket: Ticket) -> bool:  # noqa: ARG002
        """A thread cannot be ended."""
        return False


@contextmanager
def threads(profile: Profile) -> Iterator[ThreadPool]:
    """Start them."""
    executor = ThreadPoolExecutor(profile.threads, thread_name_prefix="hpcflow")
    pool = ThreadPool(ClusterInfo("threads", 1, profile.threads, profile.device, profile.device_reason), executor)
    with _limits.settled(profile.threads), computing_on(profile.device):
        try:
            yield pool
        finally:
            executor.shutdown(cancel_futures=True)
            for key in pool.keys:
                drop(key)

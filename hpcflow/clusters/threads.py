"""Threads of this process: nothing to start, nothing to pickle."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from hpcflow.clusters import _limits
from hpcflow.clusters.base import ClusterInfo, Here, Ticket
from hpcflow.clusters.profiles import Profile
from hpcflow.namespace import computing_on


@dataclass(kw_only=True)
class ThreadPool(Here):
    """A pool over a `ThreadPoolExecutor`."""

    executor: ThreadPoolExecutor

    def submit(self, name: str, function: Callable[..., Any], *args: Any) -> Ticket:  # noqa: ARG002
        """Queue the call; it runs as soon as a thread is free."""
        return self.executor.submit(_limits.capped, function, *args)


@contextmanager
def threads(profile: Profile) -> Iterator[ThreadPool]:
    """Start them."""
    executor = ThreadPoolExecutor(profile.threads, thread_name_prefix="hpcflow")
    info = ClusterInfo("threads", 1, profile.threads, profile.device, profile.device_reason)
    pool = ThreadPool(info=info, executor=executor)
    with _limits.settled(profile.threads), computing_on(profile.device):
        try:
            yield pool
        finally:
            executor.shutdown(cancel_futures=True)
            pool.close()

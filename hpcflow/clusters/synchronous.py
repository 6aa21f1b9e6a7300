"""One call after another in the calling thread: the reference, and the place to debug."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from hpcflow.clusters import _limits
from hpcflow.clusters.base import ClusterInfo, Process, Ticket, drop, put
from hpcflow.clusters.profiles import Profile
from hpcflow.namespace import computing_on


@dataclass
class Caller:
    """A pool that has computed a call when `submit` returns."""

    info: ClusterInfo
    keys: set[str] = field(default_factory=set)

    def install(self, key: str, value: Any) -> None:
        """Keep the value in this process, which is the only one."""
        self.keys.add(key)
        put(key, value)

    def submit(self, name: str, function: Callable[..., Any], *args: Any) -> Ticket:  # noqa: ARG002
        """Call it now."""
        future: Future[Any] = Future()
        future.set_running_or_notify_cancel()
        try:
            future.set_result(_limits.capped(function, *args))
        except Exception as error:  # noqa: BLE001  (a future holds whatever the call raised)
            future.set_exception(error)
        return future

    def holders(self, tickets: Iterable[Ticket]) -> Mapping[Ticket, Process]:  # noqa: ARG002
        """No other process holds any."""
        return {}

    def end(self, ticket: Ticket) -> bool:  # noqa: ARG002
        """A thread cannot be ended."""
        return False


@contextmanager
def synchronous(profile: Profile) -> Iterator[Caller]:
    """Use the calling thread."""
    pool = Caller(ClusterInfo("synchronous", 1, 1, profile.device, profile.device_reason))
    with _limits.settled(1), computing_on(profile.device):
        try:
            yield pool
        finally:
            for key in pool.keys:
                drop(key)

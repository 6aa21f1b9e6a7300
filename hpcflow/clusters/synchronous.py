"""One call after another in the calling thread: the reference, and the place to debug."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any

from hpcflow.clusters import _limits
from hpcflow.clusters.base import ClusterInfo, Here, Ticket
from hpcflow.clusters.profiles import Profile
from hpcflow.namespace import computing_on


class Caller(Here):
    """A pool that has computed a call when `submit` returns."""

    def submit(self, name: str, function: Callable[..., Any], *args: Any) -> Ticket:  # noqa: ARG002
        """Call it now."""
        future: Future[Any] = Future()
        future.set_running_or_notify_cancel()
        try:
            future.set_result(_limits.capped(function, *args))
        except Exception as error:  # noqa: BLE001  (a future holds whatever the call raised)
            future.set_exception(error)
        return future


@contextmanager
def synchronous(profile: Profile) -> Iterator[Caller]:
    """Use the calling thread."""
    pool = Caller(info=ClusterInfo("synchronous", 1, 1, profile.device, profile.device_reason))
    with _limits.settled(1), computing_on(profile.device):
        try:
            yield pool
        finally:
            pool.close()

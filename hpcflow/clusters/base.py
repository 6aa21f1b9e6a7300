"""What every cluster offers to a run: somewhere to submit calls, and values put beside the workers.

A cluster is a file of this folder with one function of the file's own name, a context manager
that takes a `Profile` and yields a `Pool`. Leaving it by an exception ends the workers at once;
leaving it normally lets what runs come to its end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

Ticket = Future[Any]
"""A call that is under way: `result()`, `cancel()`, `add_done_callback()`, and `wait` works on it."""
_installed: dict[str, Any] = {}


@dataclass(frozen=True)
class ClusterInfo:
    """What the blocks run on, as the report shows it."""

    kind: str
    workers: int
    """Processes that compute."""
    threads: int
    """Tasks that each of them runs at once."""
    device: str = "cpu"
    device_reason: str = ""
    """Why that one, where the profile left it open."""
    dashboard: str | None = None
    """The address of Dask's dashboard; `None` where there is none."""
    tunnel: str | None = None
    """The command that brings it to a machine from which it cannot be opened as it is."""


class Process(NamedTuple):
    """A process of a worker, as the system of its machine knows it."""

    host: str
    number: int


class Pool(Protocol):
    """Workers that are up and take calls."""

    @property
    def info(self) -> ClusterInfo:
        """What it consists of."""

    def install(self, key: str, value: Any) -> None:
        """Put a small value that pickles into every worker process, also those that come later.

        A task gets it back by `installed(key)`; it stays until the pool closes.
        """

    def submit(self, name: str, function: Callable[..., Any], *args: Any) -> Ticket:
        """Start `function(*args)` on a worker.

        The ticket raises what the function raised, or `WorkerLost` if the process died that had
        been given it, whether it had begun or not. Nothing is run twice unasked.

        Parameters
        ----------
        name : str
            What the dashboard calls it; a number behind a last hyphen is left out of the group.
        function : callable
            A function of a module, so that it pickles by name.
        *args
            What it gets; must pickle.
        """

    def holders(self, tickets: Iterable[Ticket]) -> Mapping[Ticket, Process]:
        """The worker that each call was given to, begun or not; none for a call that waits for one, or has ended."""

    def end(self, ticket: Ticket) -> bool:
        """Have the worker that holds a call ended, on whatever machine, and another started; `False` where none can."""


@dataclass(kw_only=True)
class Here:
    """What pools have in common whose calls run in this process: nothing to pickle, and nobody to end."""

    info: ClusterInfo
    keys: set[str] = field(default_factory=set)

    def install(self, key: str, value: Any) -> None:
        """Keep the value in this process, which is the only one."""
        self.keys.add(key)
        put(key, value)

    def holders(self, tickets: Iterable[Ticket]) -> Mapping[Ticket, Process]:  # noqa: ARG002
        """No other process holds any."""
        return {}

    def end(self, ticket: Ticket) -> bool:  # noqa: ARG002
        """A thread cannot be ended."""
        return False

    def close(self) -> None:
        """Forget what was installed."""
        for key in self.keys:
            drop(key)


def installed(key: str) -> Any:
    """The value that the pool put here under this key; for use inside a task.

    Raises
    ------
    KeyError
        Where there is none.
    """
    return _installed[key]


def put(key: str, value: Any) -> None:
    """Keep a value in this process."""
    _installed[key] = value


def drop(key: str) -> None:
    """Forget a value in this process."""
    _installed.pop(key, None)


def cores() -> int:
    """How many cores this process may use: by affinity and by its control group."""
    from dask.system import cpu_count  # noqa: PLC0415  (keeps `--help` quick)

    return int(cpu_count())

"""A pool over a Dask client: what every cluster under Dask's scheduler has in common."""

from __future__ import annotations

import atexit
import logging
import multiprocessing
import os
import signal
import socket
import sys
import threading
import warnings
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import count
from multiprocessing import resource_tracker
from pathlib import Path
from typing import Any

import dask
from distributed import Client, KilledWorker, WorkerPlugin

from hpcflow.clusters import _dashboard, _limits
from hpcflow.clusters._dashboard import LOOPBACK, loopback, tunnel
from hpcflow.clusters._security import certificates, folder
from hpcflow.clusters.base import ClusterInfo, Process, Ticket, drop, put
from hpcflow.clusters.profiles import Profile
from hpcflow.errors import RunError, WorkerLost
from hpcflow.namespace import choose

CONFIG = {
    # Its MALLOC_TRIM_THRESHOLD_ is undone by `_limits.keep_memory`, its thread counts come with
    # `distributed.nanny.environ`; either would end up in this process's environment, too.
    "distributed.nanny.pre-spawn-environ": {},
    "distributed.worker.multiprocessing-method": "spawn",
    # The run's window bounds what is under way. Holding tasks back in the scheduler as well
    # costs each of them about a millisecond.
    "distributed.scheduler.worker-saturation": "inf",
    # The run decides what becomes of the blocks that a dead worker had: it knows which it was at.
    "distributed.scheduler.allowed-failures": 0,
    # A call that keeps the interpreter's lock keeps the worker's heartbeat with it. That is no
    # reason to end the worker: one that dies is seen at once, and one that hangs by the run.
    "distributed.scheduler.worker-ttl": None,
    # Every server asks itself whether its loop is on time, fifty times a second; what Dask would
    # say of it is silenced.
    "distributed.admin.tick.interval": "1s",
    # Of what Dask answers over HTTP, what shows nothing and does nothing; `_dashboard` adds its pages.
    "distributed.scheduler.http.routes": ["distributed.http.health", "distributed.http.statics"],
    "distributed.scheduler.preload": [_dashboard.__name__],
    "distributed.worker.http.routes": [],
    # Locks tell whose folders may be cleared away; this run's is its own, and may lie on a network.
    "distributed.worker.use-file-locking": False,
}


class Settle(WorkerPlugin):  # type: ignore[misc]
    """Prepares each worker process as soon as it is up."""

    name = "hpcflow-settle"

    def __init__(self, threads: int, device: str, *, ours: bool) -> None:
        self.threads = threads
        self.device = device
        self.ours = ours
        """Whether its processes are this pool's alone; what others have left to do at their end is not cut short."""

    def setup(self, worker: Any) -> None:
        """Cap its pools, say what it computes on, and leave it to the driver to report what goes wrong."""
        for name in ("distributed", "asyncio"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
        _limits.settle(self.threads)
        choose(self.device)
        if self.ours:
            worker.http_server.stop()
        if self.ours and multiprocessing.parent_process() is not None:
            atexit.register(_exit_at_once)


def _exit_at_once() -> None:
    """Spare a process that has nothing left to do the second that Python takes to let go of every module."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


class Install(WorkerPlugin):  # type: ignore[misc]
    """Puts one value into each worker process, before its first task."""

    def __init__(self, key: str, value: Any) -> None:
        self.name = f"hpcflow-install-{key}"
        self.key = key
        self.value = value

    def setup(self, worker: Any) -> None:  # noqa: ARG002
        """Keep it where `installed` finds it."""
        put(self.key, self.value)

    def teardown(self, worker: Any) -> None:  # noqa: ARG002
        """Forget it."""
        drop(self.key)


@dataclass
class DaskPool:
    """A pool over a client."""

    info: ClusterInfo
    client: Client
    executor: Any
    """The client as a `concurrent.futures` executor that also takes `key`."""
    numbers: Iterator[int] = field(default_factory=count)
    plugins: list[str] = field(default_factory=list)

    def install(self, key: str, value: Any) -> None:
        """Register a plugin that brings the value to every worker, now and later."""
        plugin = Install(key, value)
        self.plugins.append(plugin.name)
        self.client.register_plugin(plugin)

    def submit(self, name: str, function: Callable[..., Any], *args: Any) -> Ticket:
        """Send the call to the scheduler."""
        # A key that was used before would give the old task's result.
        key = f"{name}-{next(self.numbers)}"
        task = self.executor.submit(_limits.capped, function, *args, key=key)
        future = _Call(key)
        # Were each to hold the other, Dask would keep the result, and make it again when its
        # worker dies, until Python's collector comes round.
        future.add_done_callback(partial(_cancel, weakref.ref(task)))
        task.add_done_callback(partial(_pass_on, future))
        return future

    def holders(self, tickets: Iterable[Ticket]) -> Mapping[Ticket, Process]:
        """Ask the scheduler."""
        calls = {ticket.key: ticket for ticket in tickets if isinstance(ticket, _Call)}
        found = self.client.run_on_scheduler(_holders, list(calls)) if calls else {}
        return {calls[key]: Process(*process) for key, process in found.items()}

    def end(self, ticket: Ticket) -> bool:
        """Ask the worker's nanny; not that of a cluster which others may be using, too."""
        if self.info.kind == "existing" or not isinstance(ticket, _Call):
            return False
        worker = self.client.run_on_scheduler(_nannied, ticket.key)
        if worker is None:
            return False
        self.client.restart_workers([worker], raise_for_error=False)
        return True


class _Call(Future[Any]):
    """Stands for a task, and knows its key."""

    def __init__(self, key: str) -> None:
        super().__init__()
        self.key = key


def _holders(keys: Iterable[str], dask_scheduler: Any = None) -> dict[str, tuple[str, int]]:
    """Run by the scheduler: host and number of the process that has each task."""
    held = ((key, _worker(key, dask_scheduler)) for key in keys)
    # A worker that is on the scheduler's machine is known by loopback's address.
    here = socket.gethostname()
    return {key: (here if loopback(one.host) else one.host, one.pid) for key, one in held if one is not None}


def _nannied(key: str, dask_scheduler: Any = None) -> str | None:
    """Run by the scheduler: the worker that has a task, if something would start it anew."""
    worker = _worker(key, dask_scheduler)
    return worker.address if worker is not None and worker.nanny else None


def _worker(key: str, scheduler: Any) -> Any:
    """What the scheduler knows of the worker that has a task; `None` where none has it."""
    task = scheduler.tasks.get(key)
    return None if task is None else task.processing_on


def _cancel(task: Callable[[], Future[Any] | None], future: Future[Any]) -> None:
    if future.cancelled() and (running := task()) is not None:
        running.cancel()


def _pass_on(future: Future[Any], task: Future[Any]) -> None:
    """Hand a task's end to the future that stands for it, in this project's terms."""
    if task.cancelled():
        future.cancel()
    if not future.set_running_or_notify_cancel():
        return
    error = task.exception()
    if isinstance(error, KilledWorker):
        lost = WorkerLost("its worker process died; most often the system had no memory left")
        lost.__cause__ = error
        error = lost
    if error is not None:
        future.set_exception(error)
    else:
        future.set_result(task.result())


@contextmanager
def over(
    profile: Profile,
    start: Callable[..., Any],
    options: Mapping[str, Any],
    *,
    folder: Path,
    end: Callable[[Any], None] | None = None,
) -> Iterator[DaskPool]:
    """A pool over a cluster of Dask's, which is there as long as the pool is.

    Parameters
    ----------
    profile : Profile
    start : callable
        The Dask class.
    options : mapping
        What it gets.
    folder : path
        Where its servers put their files: one that nobody else can write to.
    end : callable, optional
        Ends what still runs, where the pool is left by an exception.
    """
    config = {
        **CONFIG,
        "distributed.nanny.environ": _limits.environment(profile.threads),
        "temporary-directory": str(folder),
        _dashboard.WANTED: profile.dashboard is not False,
    }
    with dask.config.set(config):
        cluster = started(profile, start, options)
        try:
            with Client(cluster, set_as_default=False) as client:
                link = cluster.dashboard_link if profile.dashboard is not False else None
                yield pool_of(profile, client, link)
        except BaseException:
            if end is not None:
                end(cluster)
            raise
        finally:
            cluster.close()


def started(profile: Profile, start: Callable[..., Any], options: Mapping[str, Any]) -> Any:
    """What the Dask class gives, or an error that says in a line why it did not start."""
    try:
        with interrupts_held(), warnings.catch_warnings():
            # Someone may take the dashboard's port between the look and the bind. Dask then takes
            # another, and tornado leaves the socket that it could not bind for Python to close.
            warnings.filterwarnings("ignore", "(?s).*Port .* is already in use", UserWarning)
            warnings.filterwarnings("ignore", "unclosed <socket", ResourceWarning)
            return start(**options)
    except (RuntimeError, TypeError, ValueError, OSError) as error:
        raise RunError(f"the cluster `{profile.kind}` did not start: {_root(error)}") from error


def _root(error: BaseException) -> BaseException:
    while (cause := error.__cause__ or error.__context__) is not None:
        error = cause
    return error


def pool_of(profile: Profile, client: Client, link: str | None) -> DaskPool:
    """The pool, once its workers, those that are there and those to come, are told how to compute."""
    client.register_plugin(Settle(profile.threads, profile.device, ours=profile.kind != "existing"))
    info = ClusterInfo(
        profile.kind,
        profile.workers,
        profile.threads,
        profile.device,
        profile.device_reason,
        dashboard=link,
        tunnel=None if link is None else tunnel(link),
    )
    return DaskPool(info, client, client.get_executor(pure=False))


def known(pool: DaskPool, workers: int) -> DaskPool:
    """The same pool, with as many workers as were found."""
    return replace(pool, info=replace(pool.info, workers=workers))


@contextmanager
def on_loopback(profile: Profile, start: Callable[..., Any], options: Mapping[str, Any]) -> Iterator[DaskPool]:
    """A pool over processes of this machine: LocalCluster, and what is made of it.

    Parameters
    ----------
    profile : Profile
    start : callable
        The Dask class.
    options : mapping
        What it gets beside what all of them get, and what the profile says.
    """
    given = {
        "security": certificates(profile),
        "n_workers": profile.workers,
        "threads_per_worker": profile.threads,
        "host": LOOPBACK,
        # The plan bounds memory. Dask would count the pages of a memory-mapped file as the
        # worker's own, spill, pause and at last kill it for reading a large input.
        "memory_limit": 0,
        "silence_logs": logging.CRITICAL,
        "scheduler_kwargs": _dashboard.watched(_dashboard.dashboard(profile)),
        **options,
        **profile.options,
    }
    with folder(given.pop("local_directory", None)) as path, over(profile, start, given, folder=path, end=kill) as pool:
        yield pool


@contextmanager
def interrupts_held() -> Iterator[None]:
    """Keep Ctrl-C from the threads and processes started meanwhile; it is the driver's alone.

    A thread inherits the mask of the one that starts it, and a process that of its thread: the
    cluster's event loop starts every worker, also those that replace a dead one.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    # Starting its tracker is the one thing in which multiprocessing lifts the mask again.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def kill(cluster: Any) -> None:
    """End this machine's workers now: what they compute is not wanted, and whole blocks have receipts."""
    for nanny in cluster.workers.values():
        nanny.auto_restart = False
        with suppress(ProcessLookupError, AttributeError):
            if nanny.pid:
                os.kill(nanny.pid, signal.SIGKILL)

"""Workers on machines that SSH reaches, and a scheduler on the first of them."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from distributed import Security, SSHCluster

from hpcflow.clusters._dashboard import LOOPBACK, PORT, watched
from hpcflow.clusters._dask import DaskPool, over
from hpcflow.clusters._security import shared
from hpcflow.clusters.profiles import Profile
from hpcflow.errors import Mismatch, MissingPackage

CUDA_WORKER = "dask_cuda.CUDAWorker"
"""Starts a worker for each GPU of its machine."""


@contextmanager
def ssh(profile: Profile) -> Iterator[DaskPool]:
    """Start a scheduler on the first host and workers on the others."""
    try:
        import asyncssh  # noqa: F401, PLC0415  (optional)
    except ImportError as error:
        raise MissingPackage("the cluster `ssh` needs asyncssh: pip install 'hpcflow[ssh]'") from error
    with shared(profile) as (files, folder):
        options = closed(ssh_options(profile), files)
        with over(profile, SSHCluster, options, folder=folder) as pool:
            yield pool


def closed(options: Mapping[str, Any], files: Mapping[str, Any]) -> dict[str, Any]:
    """The same options, with certificates for the driver, the scheduler and the workers; as they are without files."""
    if not files:
        return dict(options)
    scheduler = {"protocol": "tls", "security": files, **options["scheduler_options"]}
    workers = {"security": files, **options["worker_options"]}
    return {**options, "security": Security(**files), "scheduler_options": scheduler, "worker_options": workers}


def ssh_options(profile: Profile) -> dict[str, Any]:
    """What Dask's `SSHCluster` gets.

    Raises
    ------
    Mismatch
        Where there are no hosts, or the workers cannot be shared out among them.
    """
    given = profile.options
    machines = len(given.get("hosts") or ()) - 1
    if machines < 1:
        hint = "`options: {hosts: [node1, node1, node2]}`"
        message = "expected `hosts`: where the scheduler runs, then where workers do, found too few"
        raise Mismatch(message, parameter="cluster", hint=hint)
    # The plan bounds memory; see `on_loopback`.
    workers: dict[str, Any] = {"nthreads": profile.threads, "memory_limit": 0}
    if profile.device == "cuda":
        start = {"worker_class": CUDA_WORKER}
    elif profile.workers % machines:
        message = f"expected as many workers on each of {machines} hosts, found {profile.workers} in all"
        raise Mismatch(message, parameter="workers")
    else:
        start, workers["n_workers"] = {}, profile.workers // machines
    return {
        **start,
        "silence_logs": logging.CRITICAL,
        **given,
        "worker_options": workers | dict(given.get("worker_options") or {}),
        "scheduler_options": watched(_dashboard(profile)) | dict(given.get("scheduler_options") or {}),
    }


def _dashboard(profile: Profile) -> str | None:
    """Where the scheduler's dashboard listens: on the loopback of its machine, so that SSH guards it as well."""
    if profile.dashboard is False:
        return None
    host, _, port = (profile.dashboard if isinstance(profile.dashboard, str) else str(PORT)).rpartition(":")
    # Dask takes an address without a host as all interfaces.
    return f"{host or LOOPBACK}:{port}"

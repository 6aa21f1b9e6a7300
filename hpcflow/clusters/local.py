"""Processes of this machine under Dask's scheduler, with its dashboard; on loopback, for nobody else."""

from __future__ import annotations

from contextlib import AbstractContextManager

from distributed import LocalCluster

from hpcflow.clusters._dask import DaskPool, on_loopback
from hpcflow.clusters.profiles import Profile


def local(profile: Profile) -> AbstractContextManager[DaskPool]:
    """Start a scheduler and worker processes on 127.0.0.1."""
    return on_loopback(profile, LocalCluster, {})

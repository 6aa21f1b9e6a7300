"""Processes of this machine under Dask's scheduler, with its dashboard; loopback only."""

from __future__ import annotations

from contextlib import AbstractContextManager

from distributed import LocalCluster

from hpcflow.clusters._dask import DaskPool, kill, on_loopback, over
from hpcflow.clusters.profiles import Profile


def local(profile: Profile) -> AbstractContextManager[DaskPool]:
    """Start a scheduler and worker processes on 127.0.0.1."""
    return over(profile, LocalCluster, {**on_loopback(profile), **profile.options}, end=kill)

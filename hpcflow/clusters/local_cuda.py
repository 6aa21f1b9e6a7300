"""One worker for each GPU of this machine, pinned to it and to the cores beside it."""

from __future__ import annotations

from contextlib import AbstractContextManager
from importlib.util import find_spec
from typing import Any

from hpcflow.clusters._dask import DaskPool, on_loopback
from hpcflow.clusters.profiles import Profile
from hpcflow.errors import MissingPackage

POOL = 0.8
"""The share of a device that RMM takes at once, for CuPy and torch together."""


def local_cuda(profile: Profile) -> AbstractContextManager[DaskPool]:
    """Start a scheduler and a worker process for each GPU, on 127.0.0.1."""
    try:
        from dask_cuda import LocalCUDACluster  # noqa: PLC0415  (optional)
    except ImportError as error:
        raise MissingPackage(f"the cluster `local_cuda` needs {error.name}: pip install 'hpcflow[cuda]'") from error
    return on_loopback(profile, LocalCUDACluster, _pool(profile))


def _pool(profile: Profile) -> dict[str, Any]:
    """One pool of device memory for all libraries, where RMM is installed."""
    if profile.device != "cuda" or find_spec("rmm") is None:
        return {}
    if {"rmm_pool_size", "rmm_async", "rmm_managed_memory"} & profile.options.keys():
        return {}
    libraries = [name for name in ("cupy", "torch") if find_spec(name)]
    return {"rmm_pool_size": POOL, "rmm_allocator_external_lib_list": libraries}

"""Declarative flows over arrays larger than memory, on Dask.

>>> import hpcflow
>>> report = hpcflow.run("flows/edges.yaml")  # doctest: +SKIP
>>> smooth = hpcflow.build("flows/edges.yaml")["smooth"]  # doctest: +SKIP
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hpcflow.api import build, load, plan, run, verify
    from hpcflow.errors import FlowError, HpcflowError, RunError
    from hpcflow.ingest import fetch, fetch_async

__all__ = ["FlowError", "HpcflowError", "RunError", "build", "fetch", "fetch_async", "load", "plan", "run", "verify"]


def __getattr__(name: str) -> Any:
    # Dask and NumPy are imported when they are first needed: the command line answers at once.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    where = "errors" if name.endswith("Error") else "ingest" if name.startswith("fetch") else "api"
    return getattr(import_module(f"hpcflow.{where}"), name)

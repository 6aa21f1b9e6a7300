"""One file for each row of the benchmark, or for two of a kind."""

from __future__ import annotations

import pkgutil
from importlib import import_module

from benchmarks.declare import Row

ROWS: dict[str, Row] = {
    row.name: row
    for module in pkgutil.iter_modules(__path__)
    if not module.name.startswith("_")
    for row in import_module(f"{__name__}.{module.name}").ROWS
}
"""By name; in the files' order."""

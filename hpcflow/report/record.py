"""The report of a run: what other programs read from ``RUN_DIR/report.json``."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PACKAGES = ("hpcflow", "dask", "distributed", "numpy", "scipy", "zarr", "torch")


@dataclass(frozen=True)
class Report:
    """What a run did."""

    flow: str
    status: str
    """``complete``, ``failed`` or ``interrupted``."""
    exit_code: int
    seconds: dict[str, float]
    tasks: dict[str, int]
    memory: dict[str, int]
    outputs: list[dict[str, Any]]
    quarantine: list[dict[str, Any]]
    cluster: dict[str, Any]
    bytes_read: int = 0
    bytes_written: int = 0
    error: str | None = None
    versions: dict[str, str] = field(default_factory=dict)
    printed: tuple[str, ...] = field(default=(), repr=False)
    """What the sinks have to say on standard output."""

    def to_json(self) -> dict[str, Any]:
        """As it is written to ``report.json``."""
        return {name: value for name, value in self.__dict__.items() if name != "printed"}

    def write(self, run_dir: Path) -> None:
        """Write ``report.json``: whole or not at all."""
        path = run_dir / "report.json"
        temporary = path.with_suffix(".json.part")
        with temporary.open("w", encoding="utf-8") as file:
            json.dump(self.to_json(), file, indent=2)
            file.write("\n")
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)


def versions() -> dict[str, str]:
    """The versions of what the answer depends on; packages that are not installed are left out."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found

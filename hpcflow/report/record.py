"""The report of a run: what other programs read from ``RUN_DIR/report.json``."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape, quoteattr

from hpcflow.files import OWN, write
from hpcflow.secrets import redacted
from hpcflow.sizes import show_size

REPORT, HISTORY, PAGE = "report.json", "history.json", "report.html"
"""What a run leaves in its folder for other programs, and what its page is drawn from as well."""
AGAIN = "report-again.json"
"""The report of a later run that found everything done: `REPORT` stays that of the run which did it."""
LISTED = 10
"""Bad items that a notebook shows."""
PACKAGES = ("hpcflow", "dask", "distributed", "numpy", "scipy", "zarr", "torch")


@dataclass(frozen=True)
class Report:
    """What a run did."""

    flow: str
    run: str
    """Tells this run from others in the same folder."""
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
    warnings: list[str] = field(default_factory=list)
    """What is probably not meant, with its place in the flow."""
    error: str | None = None
    versions: dict[str, str] = field(default_factory=dict)
    printed: tuple[str, ...] = field(default=(), repr=False)
    """What the sinks have to say on standard output."""
    page: str = field(default="", repr=False)
    """The file that shows the run, relative to where it ran."""

    def to_json(self) -> dict[str, Any]:
        """As it is written to ``report.json``."""
        return {name: value for name, value in self.__dict__.items() if name not in ("printed", "page")}

    def _repr_html_(self) -> str:
        tasks, memory = self.tasks, self.memory
        rows = [
            ("time", f"{self.seconds['total']:.1f} s"),
            ("blocks", ", ".join(f"{tasks[one]:,} {one}" for one in ("executed", "reused", "retried") if tasks[one])),
            (
                "memory",
                f"{show_size(memory['measured_peak'])} at peak, {show_size(memory['projected_peak'])} projected",
            ),
            *(("output", str(output["path"])) for output in self.outputs),
            *(("set apart", f"{one['item']}: {one['reason']}") for one in self.quarantine[:LISTED]),
            ("set apart", f"{len(self.quarantine):,} in all" if len(self.quarantine) > LISTED else ""),
            ("error", self.error or ""),
        ]
        cells = "".join(
            f"<tr><td style='text-align:left'>{name}</td><td style='text-align:left'>{escape(text)}</td></tr>"
            for name, text in rows
            if text
        )
        link = f"<a href={quoteattr(self.page)}>the whole report</a>" if self.page else ""
        return f"<b>{escape(self.flow)}: {escape(self.status)}</b><table>{cells}</table>{link}"

    def write(self, run_dir: Path) -> bool:
        """Write ``report.json``, whole or not at all; whether it is that, and not of a run that had nothing to do."""
        again = self.status == "complete" and not self.tasks["executed"] and self._was_done(run_dir)
        if not again:
            (run_dir / AGAIN).unlink(missing_ok=True)
        text = json.dumps(redacted(self.to_json()), indent=2) + "\n"
        write(run_dir / (AGAIN if again else REPORT), text, mode=OWN)
        return not again

    def _was_done(self, run_dir: Path) -> bool:
        """Whether the report that is there is of a run that made these outputs."""
        try:
            before = json.loads((run_dir / REPORT).read_bytes())
            done = before["status"] == "complete" and before["tasks"]["executed"] > 0
            return bool(done and before["outputs"] == redacted(json.loads(json.dumps(self.outputs))))
        except (OSError, ValueError, KeyError, TypeError):
            return False


@cache
def versions() -> dict[str, str]:
    """The versions of what the answer depends on; packages that are not installed are left out."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found

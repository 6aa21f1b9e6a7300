"""What a run leaves to be read: its report, and how it went over time."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from hpcflow.clusters.base import Pool
from hpcflow.execute.progress import Progress
from hpcflow.execute.run import Outcome
from hpcflow.execute.watch import MemoryWatch
from hpcflow.files import OWN, write
from hpcflow.planning.graph import graph
from hpcflow.planning.plan import Plan
from hpcflow.report.html import draw
from hpcflow.report.record import HISTORY, PAGE, Report, versions
from hpcflow.secrets import redact, redacted


class Record:
    """What the report needs to know, gathered as the run goes on."""

    def __init__(self, planned: Plan, begun: float, watch: MemoryWatch, outcome: Outcome) -> None:
        self.plan = planned
        self.begun = begun
        self.outcome = outcome
        self.startup = 0.0
        self.watch = watch
        self.written = False
        """Whether there is a page to be drawn of it."""
        self.cluster: dict[str, Any] = {}

    def opened(self, pool: Pool) -> None:
        """The pool is there: note how long that took and what it is."""
        self.startup = time.perf_counter() - self.begun
        info = pool.info
        self.cluster = {
            "kind": info.kind,
            "workers": info.workers,
            "threads": info.threads,
            "device": info.device,
            "device_reason": info.device_reason,
            "dashboard": info.dashboard,
            "tunnel": info.tunnel,
        }

    @property
    def held(self) -> int:
        """The most that all processes held, in bytes."""
        return self._measured()["measured_peak"]

    def _measured(self) -> dict[str, int]:
        """What the run held: seen from here, or, of workers on other machines, as they told."""
        if not self.plan.elsewhere:
            return {"measured_peak": self.watch.peak, "measured_driver": self.watch.driver}
        one, all_of_them = self.outcome.history.held(self.plan.workers)
        here = self.watch.peak
        return {"measured_peak": here + all_of_them, "measured_driver": here, "measured_worker": one}

    def write(self, status: str, exit_code: int, error: str | None) -> Report:
        """Make the report and write it into the run's folder."""
        total = time.perf_counter() - self.begun
        planned, outcome = self.plan, self.outcome
        report = Report(
            flow=planned.flow.name,
            run=f"{outcome.history.begun:.6f}",
            status=status,
            exit_code=exit_code,
            seconds={"total": total, "startup": self.startup, "compute": max(total - self.startup, 0.0)},
            tasks={
                "total": planned.tasks,
                "executed": outcome.executed,
                "reused": outcome.reused,
                "retried": outcome.retried,
            },
            memory={"projected_peak": planned.peak_memory, **self._measured(), "budget": planned.budget},
            outputs=[output.to_json() for output in planned.outputs],
            warnings=[str(one) for one in planned.flow.warnings],
            quarantine=[
                {"item": bad.item, "reason": bad.reason, "source": bad.source, "index": bad.index}
                for bad in sorted(outcome.bad.values(), key=lambda bad: (bad.source, bad.index))
            ],
            cluster=self.cluster,
            bytes_read=outcome.bytes_read,
            bytes_written=outcome.bytes_written,
            error=None if error is None else redact(error),
            versions=versions(),
            printed=tuple(outcome.printed),
            page=str(planned.run_dir / PAGE),
        )
        self.written = report.write(planned.run_dir)
        if not self.written:
            return report
        with suppress(Exception):  # what other programs read is there; nothing else may end a run
            (planned.run_dir / PAGE).unlink(missing_ok=True)
            text = json.dumps(redacted(self._history(report.run)), ensure_ascii=False)
            write(planned.run_dir / HISTORY, text, mode=OWN, lasting=False)
        return report

    def _history(self, run: str) -> dict[str, Any]:
        said = {"provenance": self.outcome.provenance, "directory": str(Path.cwd()), "graph": graph(self.plan)}
        return {"run": run, **self.outcome.history.to_json(), **said}

    def draw(self, told: Progress) -> None:
        """Draw the page of the run; where that fails, the run has ended as it has all the same."""
        if not self.written:
            return
        try:
            draw(self.plan.run_dir)
        except Exception as error:  # noqa: BLE001  (whatever it is, the run's outcome stands)
            told.note(f"the page of the run could not be drawn: {type(error).__name__}: {redact(str(error))}")

"""load → plan → run, composed; what `import hpcflow` gives."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil

from hpcflow.clusters.base import Pool
from hpcflow.clusters.profiles import Profile, open_pool, profile
from hpcflow.errors import HpcflowError
from hpcflow.execute.arrays import Arrays
from hpcflow.execute.lock import owned
from hpcflow.execute.progress import Progress, Silent
from hpcflow.execute.run import Outcome, run_plan
from hpcflow.execute.watch import MemoryWatch
from hpcflow.planning.plan import Plan, make_plan
from hpcflow.report.record import Report, versions
from hpcflow.sizes import parse_share, parse_size
from hpcflow.spec.flow import Flow
from hpcflow.spec.validate import load as load_flow

SHARE_OF_FREE_MEMORY = 0.7


def load(path: str | os.PathLike[str], params: Mapping[str, Any] | None = None) -> Flow:
    """Read a flow file and hold it against what exists.

    Parameters
    ----------
    path : path
        The YAML file.
    params : mapping, optional
        Values in place of the flow's own `params`.

    Raises
    ------
    FlowError
        With every fault in the file.
    """
    return load_flow(path, params)


def plan(
    flow: Flow | str | os.PathLike[str],
    *,
    params: Mapping[str, Any] | None = None,
    cluster: str | os.PathLike[str] = "local",
    workers: int | None = None,
    threads: int | None = None,
    memory: int | str | None = None,
    run_dir: str | os.PathLike[str] | None = None,
) -> Plan:
    """What `run` would do: stages, blocks, bytes, memory. Reads metadata, starts nothing.

    Parameters
    ----------
    flow : Flow or path
    params : mapping, optional
        As for `load`, where `flow` is a path.
    cluster : str or path
        ``"local"``, ``"threads"``, ``"synchronous"``, or a profile.
    workers, threads : int, optional
        Worker processes, and threads of each.
    memory : int or str, optional
        Bytes for the whole run on one machine, also as ``"2GiB"``; 70 % of what is free where
        left out.
    run_dir : path, optional
        Where reports and intermediate arrays go; ``runs/<flow>`` where left out.

    Raises
    ------
    FlowError
        Where the flow is wrong, or no block fits.
    """
    return _plan(_loaded(flow, params), profile(cluster, workers=workers, threads=threads), memory, run_dir)


def _loaded(flow: Flow | str | os.PathLike[str], params: Mapping[str, Any] | None) -> Flow:
    return flow if isinstance(flow, Flow) else load(flow, params)


def _plan(flow: Flow, where: Profile, memory: int | str | None, run_dir: str | os.PathLike[str] | None) -> Plan:
    available = psutil.virtual_memory().available
    asked = memory if memory is None else parse_size(memory)
    return make_plan(
        flow,
        run_dir=Path(run_dir) if run_dir is not None else Path("runs") / flow.name,
        workers=where.workers,
        threads=where.threads,
        budget=asked or where.memory or int(available * SHARE_OF_FREE_MEMORY),
    )


def run(
    flow: Flow | str | os.PathLike[str],
    *,
    params: Mapping[str, Any] | None = None,
    cluster: str | os.PathLike[str] = "local",
    workers: int | None = None,
    threads: int | None = None,
    memory: int | str | None = None,
    run_dir: str | os.PathLike[str] | None = None,
    fresh: bool = False,
    max_bad: float | str = 0,
    dashboard: str | bool | None = None,
    progress: Progress | None = None,
) -> Report:
    """Plan a flow, run it, and write its report.

    Parameters
    ----------
    flow, params, cluster, workers, threads, memory, run_dir
        As for `plan`.
    fresh : bool
        Compute every block, also those that an earlier run has finished.
    max_bad : int, float or str
        Items that may be bad before the run fails: an `int` is a number of them, a `float` from
        0 to 1 a share of all; or as text, ``"10%"``.
    dashboard : str or bool, optional
        Address of the Dask dashboard; `False` for none.
    progress : Progress, optional
        Is told what happens.

    Returns
    -------
    Report
        With `exit_code` 0, or 3 where items were set apart.

    Raises
    ------
    FlowError
        Where the flow is wrong, or no block fits; nothing was started.
    RunError
        Where the run failed; the report says so too.
    """
    begun = time.perf_counter()
    allowed = parse_share(max_bad) if isinstance(max_bad, str) else max_bad
    where = profile(cluster, workers=workers, threads=threads, dashboard=dashboard)
    planned = _plan(_loaded(flow, params), where, memory, run_dir)
    planned.run_dir.mkdir(parents=True, exist_ok=True)
    told = progress or Silent()
    record = _Record(planned, begun)
    with MemoryWatch() as watch:
        record.watch = watch
        try:
            outputs = [str(planned.run_dir), *(output.path for output in planned.outputs)]
            with owned(planned.flow.name, outputs), open_pool(where) as pool:
                record.opened(pool)
                if pool.info.dashboard:
                    told.note(f"dashboard: {pool.info.dashboard}")
                run_plan(planned, pool, record.outcome, max_bad=allowed, progress=told, fresh=fresh)
        except HpcflowError as error:
            told.end(record.write("failed", 1, str(error)))
            raise
        except (KeyboardInterrupt, SystemExit) as stop:
            code = stop.code if isinstance(stop, SystemExit) and isinstance(stop.code, int) else 130
            told.end(record.write("interrupted", code, "interrupted"))
            raise
    report = record.write("complete", 3 if record.outcome.bad else 0, None)
    told.end(report)
    return report


class _Record:
    """What the report needs to know, gathered as the run goes on."""

    def __init__(self, planned: Plan, begun: float) -> None:
        self.plan = planned
        self.begun = begun
        self.outcome = Outcome()
        self.startup = 0.0
        self.watch: MemoryWatch | None = None
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
            "dashboard": info.dashboard,
        }

    def write(self, status: str, exit_code: int, error: str | None) -> Report:
        """Make the report and write it into the run's folder."""
        total = time.perf_counter() - self.begun
        planned, outcome = self.plan, self.outcome
        report = Report(
            flow=planned.flow.name,
            status=status,
            exit_code=exit_code,
            seconds={"total": total, "startup": self.startup, "compute": max(total - self.startup, 0.0)},
            tasks={"total": planned.tasks, "executed": outcome.executed, "reused": outcome.reused, "retried": 0},
            memory={
                "projected_peak": planned.peak_memory,
                "measured_peak": self.watch.peak if self.watch else 0,
                "budget": planned.budget,
            },
            outputs=[output.to_json() for output in planned.outputs],
            quarantine=[
                {"item": bad.item, "reason": bad.reason, "source": bad.source, "index": bad.index}
                for bad in sorted(outcome.bad.values(), key=lambda bad: (bad.source, bad.index))
            ],
            cluster=self.cluster,
            bytes_read=outcome.bytes_read,
            bytes_written=outcome.bytes_written,
            error=error,
            versions=versions(),
            printed=tuple(outcome.printed),
        )
        report.write(planned.run_dir)
        return report


def build(flow: Flow | str | os.PathLike[str], params: Mapping[str, Any] | None = None) -> Arrays:
    """Every node of a flow as an ordinary lazy `dask.array.Array`, by name.

    Parameters
    ----------
    flow : Flow or path
    params : mapping, optional
        As for `load`, where `flow` is a path.

    Returns
    -------
    mapping of str to dask.array.Array
        ``hpcflow.build(flow)["smooth"]``; nothing is read before it is computed.
    """
    return Arrays(_loaded(flow, params))

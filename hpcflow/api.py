"""load → plan → run, composed; what `import hpcflow` gives."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, chdir, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil

from hpcflow.clusters.profiles import SINGLE, Profile, open_pool, profile
from hpcflow.errors import HpcflowError, Mismatch, RunError
from hpcflow.execute.dispatch import Care
from hpcflow.execute.guard import Guard
from hpcflow.execute.kept import earlier_budget, make_folder, recall, remember
from hpcflow.execute.lock import owned
from hpcflow.execute.progress import Noting, Progress, Silent
from hpcflow.execute.record import Record
from hpcflow.execute.run import Outcome, run_plan
from hpcflow.execute.verify import Verdict, examine, mend
from hpcflow.execute.watch import MemoryWatch
from hpcflow.leaving import last_words
from hpcflow.planning.device import Gpu
from hpcflow.planning.plan import Plan, make_plan
from hpcflow.planning.trial import doubted
from hpcflow.report.history import History
from hpcflow.report.notebook import Cell, in_notebook
from hpcflow.report.record import Report
from hpcflow.sizes import parse_share, parse_size
from hpcflow.spec.flow import Flow
from hpcflow.spec.outputs import expect_free
from hpcflow.spec.validate import load as load_flow
from hpcflow.trust import trusting

SHARE_OF_FREE_MEMORY = 0.7


def load(
    path: str | os.PathLike[str],
    params: Mapping[str, Any] | None = None,
    *,
    trust_models: str | Iterable[str] = (),
) -> Flow:
    """Read a flow file and hold it against what exists.

    Parameters
    ----------
    path : path
        The YAML file.
    params : mapping, optional
        Values in place of the flow's own `params`.
    trust_models : str or iterable of str
        The SHA-256 of every TorchScript file that may run: it can do what this process may.

    Raises
    ------
    FlowError
        With every fault in the file.
    """
    with trusting(trust_models):
        return doubted(load_flow(path, params))


def plan(
    flow: Flow | str | os.PathLike[str],
    *,
    params: Mapping[str, Any] | None = None,
    cluster: str | os.PathLike[str] = "local",
    workers: int | None = None,
    threads: int | None = None,
    memory: int | str | None = None,
    run_dir: str | os.PathLike[str] | None = None,
    trust_models: str | Iterable[str] = (),
    overwrite: bool = False,
) -> Plan:
    """What `run` would do: stages, blocks, bytes, memory. Reads metadata, starts nothing.

    Parameters
    ----------
    flow : Flow or path
    params, trust_models
        As for `load`, where `flow` is a path.
    cluster : str or path
        ``"local"``, ``"threads"``, ``"synchronous"``, or a profile.
    workers, threads : int, optional
        Worker processes, and threads of each.
    memory : int or str, optional
        Bytes for the whole run on this machine, also as ``"2GiB"``; 70 % of what is free where
        left out. Of each worker, where they are on other machines.
    run_dir : path, optional
        Where reports and intermediate arrays go; ``runs/<flow>`` where left out.
    overwrite : bool
        Whether outputs may replace data that this flow has not written.

    Raises
    ------
    FlowError
        Where the flow is wrong, no block fits, or an output would replace what is not the flow's.
    """
    asked = memory if memory is None else parse_size(memory)
    where = profile(cluster, workers=workers, threads=threads, memory=asked)
    return _plan(_loaded(flow, params, trust_models), where, run_dir, overwrite=overwrite)


def _loaded(
    flow: Flow | str | os.PathLike[str], params: Mapping[str, Any] | None, trust_models: str | Iterable[str]
) -> Flow:
    return flow if isinstance(flow, Flow) else load(flow, params, trust_models=trust_models)


def _plan(flow: Flow, where: Profile, given: str | os.PathLike[str] | None, *, overwrite: bool) -> Plan:
    run_dir = Path(given) if given is not None else Path("runs") / flow.name
    if run_dir.exists() and not run_dir.is_dir():
        raise Mismatch(f"expected a folder for the run, found a file at `{run_dir}`", parameter="run-dir")
    expect_free(flow, run_dir, overwrite=overwrite)
    return make_plan(
        flow,
        run_dir=run_dir,
        workers=where.workers,
        threads=where.threads,
        processes=where.kind not in SINGLE,
        elsewhere=where.elsewhere,
        budget=where.memory or _budget(flow, where, run_dir),
        gpu=_gpu(where),
    )


def _gpu(where: Profile) -> Gpu | None:
    """What each worker has of a device; workers that are not pinned to one each share the first."""
    if where.device == "cpu":
        return None
    sharing = where.workers if where.kind == "local" else 1
    return Gpu(where.device_memory and where.device_memory // sharing, where.threads)


def _budget(flow: Flow, where: Profile, run_dir: Path) -> int:
    """What an earlier run of the same flow took, if that is still free; else a share of what is.

    Blocks are cut to fit the budget: with another one they could not be taken up.
    """
    if where.elsewhere:
        hint = "`memory: 16GiB` in the profile, or `--memory 16GiB`"
        raise Mismatch("expected the bytes of each worker, found none", parameter="memory", hint=hint)
    free = psutil.virtual_memory().available
    before = earlier_budget(flow, run_dir, where.workers, where.threads)
    return before if before is not None and before < 0.95 * free else int(free * SHARE_OF_FREE_MEMORY)


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
    overwrite: bool = False,
    max_bad: float | str = 0,
    dashboard: str | bool | None = None,
    retries: int = 3,
    deadline: float | None = None,
    progress: Progress | None = None,
    trust_models: str | Iterable[str] = (),
) -> Report:
    """Plan a flow, run it, and write its report.

    Parameters
    ----------
    flow, params, cluster, workers, threads, memory, run_dir, trust_models, overwrite
        As for `plan`.
    fresh : bool
        Compute every block, also those that an earlier run has finished.
    max_bad : int, float or str
        Items that may be bad before the run fails: an `int` is a number of them, a `float` from
        0 to 1 a share of all; or as text, ``"10%"``.
    dashboard : str or bool, optional
        Address of the Dask dashboard; `False` for none.
    retries : int
        How often a block is tried again after a fault of a disk, a file system or a server.
    deadline : float, optional
        Seconds that one block may take before its worker is taken to hang; by default thirty
        times what the slowest block took, and at least five minutes.
    progress : Progress, optional
        Is told what happens; in a notebook, a bar for each stage where it is left out.

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
    begun, history = time.perf_counter(), History()
    allowed = parse_share(max_bad) if isinstance(max_bad, str) else max_bad
    asked = memory if memory is None else parse_size(memory)
    where = profile(cluster, workers=workers, threads=threads, memory=asked, dashboard=dashboard)
    planned = _plan(_loaded(flow, params, trust_models), where, run_dir, overwrite=overwrite)
    asked_threads, where = where.threads, replace(where, threads=planned.threads)
    outputs = [str(planned.run_dir), *(output.path for output in planned.outputs)]
    shown = progress or (Cell() if in_notebook() else Silent())
    memory_watch = MemoryWatch(history.holds, limit=planned.budget)
    with owned(planned.flow.name, outputs), memory_watch as watch, ExitStack() as last:
        make_folder(planned.run_dir)
        told = Noting(shown, history.event, lambda: watch.now)
        record = Record(planned, begun, watch, Outcome(history=history))
        last.callback(record.draw, told)
        with _reporting(record, told):
            kept = {"cluster": str(cluster), "workers": where.workers, "threads": asked_threads}
            kept |= {"memory": where.memory, "max_bad": allowed}
            remember(planned, kept)
            with Guard(_most(planned, where)) as guard, open_pool(where) as pool, _reporting(record, told):
                record.opened(pool)
                if pool.info.dashboard:
                    shown.note(f"dashboard: {pool.info.dashboard}")
                if pool.info.tunnel:
                    shown.note(f"  from another machine: {pool.info.tunnel}")
                if pool.info.device_reason:
                    shown.note(f"device: {pool.info.device} ({pool.info.device_reason})")
                care = Care(retries, deadline)
                options: dict[str, Any] = {"fresh": fresh, "care": care, "guard": guard, "watch": watch}
                run_plan(planned, pool, record.outcome, max_bad=allowed, progress=told, **options)
            # Workers on other machines have told what they held.
            watch.check(record.held)
        report = record.write("complete", 3 if record.outcome.bad else 0, None)
        told.end(report)
    return report


def _most(planned: Plan, where: Profile) -> int | None:
    """Bytes at which a worker process of this machine is ended: a fourth more than its share of the budget."""
    if where.kind in SINGLE or where.elsewhere:
        return None
    return int(1.25 * max(planned.budget, planned.peak_memory) / where.workers)


@contextmanager
def _reporting(record: Record, told: Progress) -> Iterator[None]:
    """Write the report of a run that does not come to its end, before anything else is tidied up."""

    def stopped(code: int) -> None:
        told.end(record.write("interrupted", code, "interrupted; the same command goes on where it stopped"))

    last_words.append(stopped)
    try:
        yield
    except HpcflowError as error:
        with suppress(OSError):  # a folder that takes no report must not hide why the run ended
            if not record.written:
                told.end(record.write("failed", 1, str(error)))
        raise
    except (KeyboardInterrupt, SystemExit) as stop:
        with suppress(OSError):
            if not record.written:
                stopped(stop.code if isinstance(stop, SystemExit) and isinstance(stop.code, int) else 130)
        raise
    finally:
        last_words.remove(stopped)


def verify(
    output: str | os.PathLike[str],
    *,
    repair: bool = False,
    params: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
    trust_models: str | Iterable[str] = (),
) -> Verdict:
    """Hold an output against its manifest and its receipts, byte for byte.

    Parameters
    ----------
    output : path
        What a run has written: a Zarr array, a `.npy` file, a table.
    repair : bool
        Compute what is damaged again, from the flow as the run has kept it.
    params : mapping, optional
        Those of the flow's parameters that the run has not kept, being secret.
    progress : Progress, optional
        Is told what a repair does.
    trust_models : str or iterable of str
        As for `load`, where it repairs.

    Returns
    -------
    Verdict
        Every file, and every block of it, that is not what it was when the run was complete.

    Raises
    ------
    Mismatch
        Where no run has left anything under this name.
    RunError
        Where it cannot be repaired.
    """
    found = examine(output)
    if found.sound or not repair:
        return found
    if not found.own:
        raise RunError(
            f"expected a manifest of your own beside `{found.output}`, found one of somebody else\n"
            "  hint: whoever has run its flow can repair it; nobody else's flow is run unread"
        )
    place = str(found.manifest["path"])
    if os.path.realpath(place) != os.path.realpath(found.output):
        raise RunError(
            f"expected `{found.output}` where its run has written it, found that it was moved from `{place}`\n"
            "  hint: move it and its manifest back to repair it; verified it can be anywhere"
        )
    mend(found)
    kept = recall(found.manifest)
    with chdir(kept.directory), trusting(trust_models):
        run(
            kept.flow(params or {}),
            cluster=kept.cluster,
            workers=kept.workers,
            threads=kept.threads,
            memory=kept.memory or kept.budget,
            run_dir=found.run_dir,
            max_bad=kept.max_bad,
            overwrite=True,  # it is known whose it is
            progress=progress,
        )
    return found.after(examine(output))


def build(
    flow: Flow | str | os.PathLike[str],
    params: Mapping[str, Any] | None = None,
    *,
    xarray: bool = False,
    trust_models: str | Iterable[str] = (),
) -> Mapping[str, Any]:
    """Every node of a flow as an ordinary lazy `dask.array.Array`, by name.

    Parameters
    ----------
    flow : Flow or path
    params, trust_models
        As for `load`, where `flow` is a path.
    xarray : bool
        Give `xarray.DataArray`s around them, with the names of the axes, and the coordinates that
        sources bring (`from: xarray`) as far as the steps keep them.

    Returns
    -------
    mapping of str to dask.array.Array or xarray.DataArray
        ``hpcflow.build(flow)["smooth"]``; nothing is read before it is computed.
    """
    loaded = _loaded(flow, params, trust_models)
    if xarray:
        from hpcflow.execute.labels import Labelled  # noqa: PLC0415

        return Labelled(loaded)
    # `dask.array` brings pandas and xarray where they are installed: half a second and 60 MiB that no run needs.
    from hpcflow.execute.arrays import Arrays  # noqa: PLC0415

    return Arrays(loaded)

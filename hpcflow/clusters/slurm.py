"""Workers as jobs of a Slurm partition; the scheduler runs beside the driver.

A job's workers retire before its time limit, one after another, and other jobs take their place.
"""

from __future__ import annotations

import logging
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from distributed import Client, Security

from hpcflow.clusters import _limits
from hpcflow.clusters._dashboard import dashboard, watched
from hpcflow.clusters._dask import DaskPool, over
from hpcflow.clusters._security import shared
from hpcflow.clusters.profiles import Profile
from hpcflow.errors import Mismatch, MissingPackage, RunError

WALLTIME = "00:30:00"
LONGEST_DRAIN, DRAIN = 600, 0.2
"""Seconds, and share of the limit, before which workers retire: half of it at random, half for their last blocks."""
LOOK_AGAIN = 5.0
"""Seconds after which the queue is asked once more."""
ALIVE = "PENDING,CONFIGURING,RUNNING,COMPLETING,REQUEUED,SUSPENDED"
WORKER = {"DASK_DISTRIBUTED__WORKER__HTTP__ROUTES": "[]", "DASK_DISTRIBUTED__WORKER__USE_FILE_LOCKING": "False"}
"""What a worker reads of `CONFIG`, as variables of its environment."""
_TIME = re.compile(r"(?:(?P<days>\d+)-)?(?P<first>\d+)(?::(?P<second>\d+))?(?::(?P<third>\d+))?")


@contextmanager
def slurm(profile: Profile) -> Iterator[DaskPool]:
    """Submit the jobs, and wait until a worker of one is up; the others join as the queue lets them."""
    try:
        from dask_jobqueue import SLURMCluster  # noqa: PLC0415  (optional)
    except ImportError as error:
        raise MissingPackage(f"the cluster `slurm` needs {error.name}: pip install 'hpcflow[slurm]'") from error
    options = slurm_options(profile)
    jobs = profile.workers // options["processes"]

    def start(**options: Any) -> Any:
        cluster = SLURMCluster(**options)
        # As many jobs at any time: one that has come to its limit is followed by another.
        cluster.adapt(minimum_jobs=jobs, maximum_jobs=jobs, interval=f"{LOOK_AGAIN}s")
        return cluster

    with shared(profile) as (files, folder):
        options = {"local_directory": str(folder), **options, "security": Security(**files) if files else None}
        with over(profile, start, options, folder=folder) as pool:
            _wait(pool.client)
            yield pool


def slurm_options(profile: Profile) -> dict[str, Any]:
    """What dask-jobqueue's `SLURMCluster` gets.

    Raises
    ------
    Mismatch
        Where the workers cannot be shared out among jobs, or the time limit is none.
    """
    given = dict(profile.options)
    processes = given.get("processes") or 1
    if profile.workers % processes:
        message = f"expected a multiple of the {processes} `processes` of a job, found {profile.workers} workers"
        raise Mismatch(message, parameter="workers")
    walltime = str(given.get("walltime") or WALLTIME)
    # A job's workers are started by themselves: what is not in its script they do not know.
    environment = _limits.environment(profile.threads) | WORKER
    exports = [f"export {name}={value}" for name, value in environment.items()]
    return {
        "cores": profile.threads * processes,
        "memory": f"{(profile.memory or 0) * processes}B",
        "silence_logs": logging.CRITICAL,
        **({"worker_command": "dask_cuda.cli worker"} if profile.device == "cuda" else {}),
        **given,
        "processes": processes,
        "walltime": walltime,
        "scheduler_options": watched(dashboard(profile)) | dict(given.get("scheduler_options") or {}),
        # The plan bounds memory, and Slurm the job; see `on_loopback`.
        "worker_extra_args": [
            "--memory-limit",
            "0",
            "--no-dashboard",
            *lifetime(walltime),
            *(given.get("worker_extra_args") or ()),
        ],
        "job_script_prologue": [*exports, *(given.get("job_script_prologue") or ())],
    }


def lifetime(walltime: str) -> list[str]:
    """The options of a worker that is to retire before its job's time limit.

    Parameters
    ----------
    walltime : str
        As Slurm takes it: minutes, MM:SS, HH:MM:SS, D-HH, D-HH:MM, D-HH:MM:SS.
    """
    seconds = parse_walltime(walltime)
    drain = min(LONGEST_DRAIN, DRAIN * seconds)
    return ["--lifetime", f"{seconds - drain:.0f}s", "--lifetime-stagger", f"{drain / 2:.0f}s"]


def parse_walltime(text: str) -> int:
    """Seconds of a time limit as Slurm writes it."""
    found = _TIME.fullmatch(text.strip())
    if found is None:
        raise Mismatch(f"expected `walltime` as HH:MM:SS or D-HH:MM:SS, found {text!r}", parameter="cluster")
    parts = [int(part) for part in found.group("first", "second", "third") if part is not None]
    if found["days"] is not None:
        hours, minutes, seconds = (*parts, 0, 0)[:3]
        return ((int(found["days"]) * 24 + hours) * 60 + minutes) * 60 + seconds
    if len(parts) == 3:
        return (parts[0] * 60 + parts[1]) * 60 + parts[2]
    minutes, seconds = (*parts, 0)[:2]
    return minutes * 60 + seconds


def _wait(client: Client) -> None:
    """Wait for the first worker as long as a job waits or runs."""
    jobs = {str(job.job_id) for job in client.cluster.workers.values()}
    while True:
        try:
            client.wait_for_workers(1, timeout=LOOK_AGAIN)
        except TimeoutError:
            jobs |= {str(job.job_id) for job in client.cluster.workers.values()}
            if jobs and not _alive(jobs - {"None"}):
                hint = "the jobs' output says why: `log_directory` below `options` names the folder for it"
                raise RunError(f"no job came to start a worker: {', '.join(sorted(jobs))}\n  hint: {hint}") from None
        else:
            return


def _alive(jobs: set[str]) -> bool:
    command = ["squeue", "--noheader", "--states", ALIVE, "--format", "%i", "--jobs", ",".join(sorted(jobs))]
    asked = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    # A controller that does not answer says nothing about the jobs.
    return bool(asked.stdout.strip()) or (asked.returncode != 0 and "Invalid job id" not in asked.stderr)

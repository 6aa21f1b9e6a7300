"""What would go wrong on this machine, or with a profile, and how to mend it. Runs no flow."""

from __future__ import annotations

import asyncio
import json
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psutil
from packaging.requirements import Requirement
from packaging.version import Version

from hpcflow.clusters import _dask, _gpus
from hpcflow.clusters._dashboard import LOOPBACK, PORT, free
from hpcflow.clusters.base import cores
from hpcflow.clusters.existing import REACH, client_options
from hpcflow.clusters.profiles import Profile
from hpcflow.clusters.slurm import slurm_options
from hpcflow.clusters.ssh import ssh_options
from hpcflow.errors import Mismatch, RunError
from hpcflow.sizes import show_size

PACKAGES = ("hpcflow", "dask", "distributed", "numpy", "zarr")
"""Of which workers must have the driver's versions: tasks travel as pickles."""
TESTED = {"python": "3.13", "dask": "2026.8", "numpy": "2.5", "scipy": "1.18", "torch": "2.13", "zarr": "3.4"}
"""The newest releases that the whole suite was run with; the oldest are those of pyproject.toml."""
LEAST_MEMORY, LEAST_DISK, LEAST_FILES = 2**29, 2**30, 1024
COMMANDS = ("sbatch", "squeue", "scancel")
ASK = "import json, sys\nfrom hpcflow.clusters._examine import here\nprint(json.dumps(here(sys.argv[1])))\n"


@dataclass(frozen=True)
class Check:
    """One thing that was looked at."""

    name: str
    found: str
    problem: str = ""
    """What would go wrong; empty where nothing would."""
    hint: str = ""
    severity: str = "ok"
    """``ok``, ``warning`` or ``error``."""

    def to_json(self) -> dict[str, str]:
        """As `doctor --json` prints it."""
        return asdict(self)


def wrong(name: str, problem: str, hint: str = "", *, found: str = "") -> Check:
    """A check that found what would end a run."""
    return Check(name, found, problem, hint, "error")


def machine() -> Iterator[Check]:
    """What any run on this machine depends on."""
    yield Check("python", f"{platform.python_version()} on {platform.platform(terse=True)}")
    found = versions()
    if found.get("dask") != found.get("distributed"):
        yield wrong("versions", "dask and distributed differ", "pip install -U dask distributed", found=_words(found))
    else:
        yield Check("versions", _words(found))
    yield from _tested()
    yield Check("cores", f"{cores()} to use, {os.cpu_count()} in all")
    yield _memory()
    yield from (_disk(name, Path(path)) for name, path in (("disk", "."), ("scratch", tempfile.gettempdir())))
    yield _files()
    yield from (_loopback(), _port(), _gpu())


def versions() -> dict[str, str]:
    """The packages of this interpreter that those of workers must equal."""
    found = {"python": ".".join(map(str, sys.version_info[:2]))}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _tested() -> Iterator[Check]:
    """Packages older than hpcflow takes, and releases newer than any that it was tested with."""
    for text in requires("hpcflow") or ():
        needed = Requirement(text)
        found = _release(needed.name) if needed.marker is None or needed.name in TESTED else None
        if found and not needed.specifier.contains(found, prereleases=True):
            hint = f"pip install '{needed.name}{needed.specifier}'"
            yield wrong("versions", f"{needed.name} {found} is installed, {needed.specifier} is needed", hint)
    used = {name: _release(name) for name in TESTED}
    newer = [f"{name} {used[name]} (to {most})" for name, most in TESTED.items() if _beyond(used[name], most)]
    known = f"with releases up to {_words(TESTED)}"
    if newer:
        problem, hint = f"newer: {', '.join(newer)}", "most likely fine; what differs is worth an issue"
        yield Check("tested", known, problem, hint, "warning")
    else:
        yield Check("tested", known)


def _release(name: str) -> str | None:
    try:
        return platform.python_version() if name == "python" else version(name)
    except PackageNotFoundError:
        return None


def _beyond(found: str | None, most: str) -> bool:
    return found is not None and Version(found).release[:2] > Version(most).release


def _words(found: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {number}" for name, number in found.items())


def _memory() -> Check:
    memory = psutil.virtual_memory()
    found = f"{show_size(memory.available)} free of {show_size(memory.total)}"
    if memory.available < LEAST_MEMORY:
        return wrong("memory", "a run's own processes take about 250 MiB", "end what else runs here", found=found)
    return Check("memory", found)


def _disk(name: str, path: Path) -> Check:
    room = shutil.disk_usage(path).free
    found = f"{show_size(room)} free in {path.absolute()}"
    if not os.access(path, os.W_OK):
        return wrong(name, "nothing can be written there", f"make {path.absolute()} writable, or work elsewhere (-C)")
    if room < LEAST_DISK:
        return wrong(
            name, "runs keep outputs and intermediate arrays there", "make room, or work elsewhere (-C)", found=found
        )
    return Check(name, found)


def _files() -> Check:
    import resource  # noqa: PLC0415  (not on every system)

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < LEAST_FILES:
        return wrong("open files", "workers and fetches take many", f"ulimit -n {hard}", found=f"{soft} at most")
    return Check("open files", f"{soft} at most")


def _loopback() -> Check:
    if free(LOOPBACK, 0):
        return Check("loopback", LOOPBACK)
    return wrong("loopback", "no process can listen on 127.0.0.1", "bring the network interface `lo` up")


def _port() -> Check:
    if free(LOOPBACK, PORT):
        return Check("dashboard", f"port {PORT} is free")
    return Check("dashboard", f"port {PORT} is in use", "the dashboard takes another one", severity="warning")


def _gpu() -> Check:
    found, words = _gpus.look()
    if found:
        least = show_size(min(gpu.memory for gpu in found))
        return Check("gpus", f"{words}, {least} at least")
    if _gpus.count():
        return Check("gpus", words.partition(",")[0], "flows run on the CPU", "pip install 'hpcflow[cuda]'", "warning")
    return Check("gpus", words)


def examine(profile: Profile) -> Iterator[Check]:
    """What a run on this cluster depends on, beyond this machine."""
    yield Check("profile", f"{profile.kind}, {profile.workers} workers of {profile.threads} threads, {profile.device}")
    if profile.elsewhere and profile.memory is None:
        yield wrong("memory of a worker", "no plan can be made without it", "`memory: 16GiB` in the profile")
    look: Callable[[Profile], Iterator[Check]] | None = KINDS.get(profile.kind)
    if look is None:
        return
    try:
        yield from look(profile)
    except Mismatch as error:
        yield wrong(profile.kind, str(error), error.hint)


def _package(name: str, extra: str) -> Check:
    if find_spec(name) is None:
        return wrong(name, "is not installed", f"pip install 'hpcflow[{extra}]'")
    return Check(name, "is installed")


def _local_cuda(profile: Profile) -> Iterator[Check]:
    yield _package("dask_cuda", "cuda")
    there = _gpus.count()
    if there < profile.workers:
        yield wrong(
            "gpus", f"{profile.workers} workers want one each", "ask for fewer `workers`", found=f"{there} there"
        )
    if find_spec("rmm") is None:
        yield Check(
            "rmm", "is not installed", "CuPy and torch keep pools of their own", "pip install rmm-cu12", "warning"
        )


def _existing(profile: Profile) -> Iterator[Check]:
    from distributed import Client  # noqa: PLC0415

    options = {"set_as_default": False, "timeout": REACH, **client_options(profile)}
    yield Check("certificates", "can be read" if "security" in options else "none needed")
    try:
        client = _dask.started(profile, Client, options)
    except RunError as error:
        yield wrong("scheduler", str(error.__cause__ or error), "is it up, and is the port open from here?")
        return
    with client:
        there = client.run(here, str(Path.cwd()))
        yield Check("scheduler", f"{options['address']} answers, {len(there)} workers")
        if not there:
            yield wrong("workers", "there are none", "start `dask worker` with the scheduler's address")
        yield from _differing(there)


def here(folder: str) -> dict[str, Any]:
    """What a worker's interpreter is, and whether it sees a folder of the driver's."""
    return {"versions": versions(), "folder": Path(folder).is_dir()}


def _differing(there: Mapping[str, Mapping[str, Any]]) -> Iterator[Check]:
    own = versions()
    for place, found in there.items():
        other = {name: found["versions"].get(name, "none") for name in own if found["versions"].get(name) != own[name]}
        if other:
            yield wrong(place, f"has {_words(other)}", f"install {_words({n: own[n] for n in other})} there")
        if not found["folder"]:
            yield wrong(
                place, f"does not see {Path.cwd()}", "run from a folder on a file system that all machines share"
            )


def _ssh(profile: Profile) -> Iterator[Check]:
    yield _package("asyncssh", "ssh")
    options = ssh_options(profile)
    connect = options.get("connect_options") or {}
    python = options.get("remote_python") or sys.executable
    there = {}
    for number, host in enumerate(options["hosts"]):
        if host in there:
            continue
        chosen = connect[number] if isinstance(connect, list) else connect
        interpreter = python[number] if isinstance(python, list) else python
        try:
            there[host] = asyncio.run(_over_ssh(host, chosen, interpreter))
            yield Check(host, f"answers over SSH, {interpreter} imports hpcflow")
        except Exception as error:  # noqa: BLE001  (whatever SSH or the other side has to say)
            yield wrong(host, str(error) or type(error).__name__, f"try: ssh {host} {interpreter} -c 'import hpcflow'")
    yield from _differing(there)


async def _over_ssh(host: str, connect: Mapping[str, Any], python: str) -> Any:
    import asyncssh  # noqa: PLC0415  (optional)

    async with asyncssh.connect(host, **{"connect_timeout": REACH, **connect}) as connection:
        done = await connection.run(f"{shlex.quote(python)} -c {shlex.quote(ASK)} {shlex.quote(str(Path.cwd()))}")
    if done.exit_status != 0:
        raise RunError(str(done.stderr).strip().rpartition("\n")[2])
    return json.loads(str(done.stdout))


def _slurm(profile: Profile) -> Iterator[Check]:
    yield _package("dask_jobqueue", "slurm")
    for command in COMMANDS:
        if shutil.which(command) is None:
            yield wrong(command, "is not on the PATH", "run hpcflow where Slurm's commands are, such as a login node")
    options = slurm_options(profile)
    yield Check("jobs", f"{profile.workers // options['processes']} of {options['cores']} cores, {options['walltime']}")
    interface = options.get("interface")
    if interface and interface not in psutil.net_if_addrs():
        there = ", ".join(sorted(psutil.net_if_addrs()))
        yield wrong("interface", f"this machine has no {interface}", f"one of {there}")
    if shutil.which("sinfo"):
        yield _partition(options.get("queue"))


def _partition(queue: str | None) -> Check:
    command = ["sinfo", "--noheader", "--format=%P %a"]
    try:
        asked = subprocess.run(command, capture_output=True, text=True, check=False, timeout=REACH)  # noqa: S603
    except subprocess.TimeoutExpired:
        return wrong("partition", "Slurm's controller does not answer", "sinfo says more")
    if asked.returncode:
        return wrong("partition", asked.stderr.strip().rpartition("\n")[2], "sinfo says more")
    there = dict(line.split()[:2] for line in asked.stdout.splitlines())
    names = {name.rstrip("*"): state for name, state in there.items()}
    if queue is None:
        return (
            Check("partition", "the default one")
            if any(name.endswith("*") for name in there)
            else wrong(
                "partition", "there is no default one", f"`queue: NAME` below `options`, one of {', '.join(names)}"
            )
        )
    if queue not in names:
        return wrong("partition", f"there is no {queue}", f"one of {', '.join(names)}")
    if names[queue] != "up":
        return wrong("partition", f"{queue} is {names[queue]}", "ask the cluster's administrators")
    return Check("partition", f"{queue} is up")


KINDS: Mapping[str, Callable[[Profile], Iterator[Check]]] = {
    "local_cuda": _local_cuda,
    "existing": _existing,
    "ssh": _ssh,
    "slurm": _slurm,
}

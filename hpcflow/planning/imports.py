"""What a process holds once it has imported what it needs: measured on this machine, once for each set of packages.

Interpreters, packages and the ways they were built differ by far: one torch holds 200 MiB, another 540. So a process
is started that imports them and says what it holds, and that is kept in the user's cache folder as long as none of
them changes.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from hpcflow.clusters._limits import environment
from hpcflow.digests import digest_json
from hpcflow.files import cache_folder
from hpcflow.models._kept import kept

MIB = 2**20
PATIENCE = 60.0
"""Seconds until a process that imports is given up."""
ROUND = 2 * MIB
"""What is measured twice differs by less."""
CHILD = """
import importlib, sys
def held():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1])
def load(names):
    for name in filter(None, names.split(",")):
        try:
            importlib.import_module(name)
        except ImportError:
            pass
load(sys.argv[1])
before = held() if sys.argv[1] else 0
load(sys.argv[2])
import resource
print((held() - before) * resource.getpagesize())
"""
BESIDE = "hpcflow.execute.block"
"""What packages are imported beside: much of what they import is there already."""
KNOWN = {
    "scipy.ndimage": 44,
    "zarr": 18,
    "PIL.Image": 6,
    "pyarrow.parquet": 42,
    "numba": 66,
    "torch": 540,
    "onnxruntime": 60,
    "xarray": 100,
}
"""MiB that packages add, where no process can be started; measured with CPython 3.11, the largest build of each."""
UNKNOWN = 60


Modules = tuple[str, ...]


def measured(processes: Iterable[Modules], packages: Iterable[Modules]) -> dict[Modules, int | None]:
    """What importing takes, all of it measured at once.

    Parameters
    ----------
    processes : iterable of tuple of str
        What whole processes import.
    packages : iterable of tuple of str
        What is imported beside what computes blocks.

    Returns
    -------
    dict
        Bytes of each, rounded up; `None` for a process that could not be started. Packages are then guessed.
    """
    asked = {**dict.fromkeys(processes, ""), **dict.fromkeys(packages, BESIDE)}
    place = str(cache_folder("processes"))
    with ThreadPoolExecutor(max(1, len(asked))) as threads:
        found = [*threads.map(lambda one: _measured(asked[one], ",".join(one), place), asked)]
    return {one: _guessed(one) if n is None and asked[one] else n for one, n in zip(asked, found, strict=True)}


def _guessed(packages: Modules) -> int:
    """A fourth more than was measured once."""
    return int(1.25 * MIB * sum(KNOWN.get(one, UNKNOWN) for one in packages[:1]))


@cache
def _measured(beside: str, modules: str, place: str) -> int | None:  # noqa: ARG001  (another cache is asked anew)
    """Bytes that importing some modules takes beside others, rounded up."""
    names = f"{beside},{modules}".split(",")
    key = digest_json([sys.version, sys.prefix, beside, modules, CHILD, [_version(name) for name in names]])

    def make(path: Path) -> None:
        path.write_text(_run(beside, modules))

    try:
        nbytes = int(kept("processes", key, make).read_text())
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
    return -(-max(nbytes, 0) // ROUND) * ROUND


def _run(beside: str, modules: str) -> str:
    path = os.pathsep.join(one for one in sys.path if one)
    given = {**os.environ, **environment(1), "PYTHONPATH": path, "PYTHONSAFEPATH": "1"}
    command = [sys.executable, "-c", CHILD, beside, modules]
    ran = subprocess.run(command, env=given, capture_output=True, text=True, timeout=PATIENCE, check=True)  # noqa: S603
    return ran.stdout


@cache
def _version(module: str) -> list[int]:
    """What changes with the package that a module is of: the size and time of its first file."""
    try:
        found = find_spec(module.partition(".")[0]) if module else None
        status = Path(found.origin).stat() if found and found.origin else None
    except (ImportError, ValueError, OSError):
        return []
    return [status.st_size, status.st_mtime_ns] if status else []

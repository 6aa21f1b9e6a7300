"""Profiles: which cluster to start, from its name or from a small YAML file."""

from __future__ import annotations

import os
import pkgutil
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator

from hpcflow.clusters._gpus import count, decide
from hpcflow.clusters.base import Pool, cores
from hpcflow.errors import FlowError, Location, Mismatch
from hpcflow.files import regular_file
from hpcflow.parameters import ParameterFault, ParameterFaults, PositiveInt, validate
from hpcflow.sizes import parse_size
from hpcflow.text.document import Table, parse, plain, read
from hpcflow.text.faults import Faults

SHARED = ("base", "profiles")
KINDS: tuple[str, ...] = tuple(
    module.name
    for module in pkgutil.iter_modules(import_module("hpcflow.clusters").__path__)
    if module.name not in SHARED and not module.name.startswith("_")
)
"""Every kind of cluster: one file each in this folder."""
SINGLE: Mapping[str, tuple[str, ...]] = {"threads": ("workers",), "synchronous": ("workers", "threads")}
"""What a kind has one of, by its nature."""
ELSEWHERE = ("existing", "slurm", "ssh")
"""Kinds whose workers are on other machines."""
THREADS_PER_WORKER = 8
"""NumPy lets go of the interpreter's lock, so a process serves several threads; not any number."""


@dataclass(frozen=True)
class Profile:
    """A cluster that is not started yet."""

    kind: str
    workers: int
    """Processes."""
    threads: int
    """Tasks that each of them runs at once."""
    memory: int | None = None
    """Bytes that a whole run may use on this machine, or each worker on another; `None` where nothing says."""
    device: str = "cpu"
    """What blocks are computed on: ``"cpu"`` or ``"cuda"``."""
    device_reason: str = field(default="", compare=False)
    """Why that one, where it was left open."""
    device_memory: int | None = field(default=None, compare=False)
    """Bytes of the smallest device; `None` where nothing says."""
    dashboard: str | bool | None = None
    """Where Dask's dashboard listens; `False` for none, `None` for port 8787 or a free one."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Passed on to the Dask class, as they stand."""
    insecure: bool = False
    """Whether scheduler and workers may do without TLS: whoever reaches them can then run code as their user."""

    @property
    def elsewhere(self) -> bool:
        """Whether the workers are on other machines, which share its file system."""
        return self.kind in ELSEWHERE


def profile(
    chosen: str | os.PathLike[str] = "local",
    *,
    workers: int | None = None,
    threads: int | None = None,
    memory: int | None = None,
    dashboard: str | bool | None = None,
) -> Profile:
    """The cluster of a name or a file, with what the caller says taking precedence.

    Parameters
    ----------
    chosen : str or path
        A kind of cluster, the NAME of ``cluster/NAME.yaml``, or a path.
    workers, threads : int, optional
        Processes, and tasks that each runs at once. By default all cores of this machine are used,
        in processes of up to 8 threads, or one for each GPU; on other machines there is one of one.
    memory : int, optional
        Bytes that the whole run may use on this machine, or each worker on another.
    dashboard : str or bool, optional
        Where Dask's dashboard listens; `False` for none.

    Raises
    ------
    Mismatch
        Where there is none, or it cannot be had so.
    FlowError
        With every fault of its file.
    """
    given = {"workers": workers, "threads": threads, "memory": memory, "dashboard": dashboard}
    keys = _find(str(chosen)) | {key: value for key, value in given.items() if value is not None}
    for name in SINGLE.get(keys["kind"], ()):
        if keys.setdefault(name, 1) != 1:
            raise Mismatch(f"expected 1 for the cluster `{keys['kind']}`, found {keys[name]}", parameter=name)
    elsewhere, pinned = keys["kind"] in ELSEWHERE, keys["kind"] == "local_cuda"
    asked = keys.pop("device", "auto"), keys.pop("device_memory", None)
    device = decide(*asked, here=not elsewhere, made_for_gpus=pinned)
    workers, threads = keys.pop("workers", None), keys.pop("threads", None)
    if elsewhere:
        shape = workers or 1, threads or 1
    else:
        shape = fill(workers or (max(1, count()) if pinned else None), threads, cores())
    return Profile(workers=shape[0], threads=shape[1], **keys, **device)


def fill(workers: int | None, threads: int | None, available: int) -> tuple[int, int]:
    """How many workers, and how many threads in each, so that all cores are used."""
    if workers is None:
        workers = max(1, available // threads) if threads else -(-available // THREADS_PER_WORKER)
    return workers, threads or max(1, available // workers)


def open_pool(chosen: str | Profile) -> AbstractContextManager[Pool]:
    """The cluster of a profile, or of its name, as a context manager that starts it."""
    found = profile(chosen) if isinstance(chosen, str) else chosen
    start = getattr(import_module(f"hpcflow.clusters.{found.kind}"), found.kind)
    pool: AbstractContextManager[Pool] = start(found)
    return pool


def _find(name: str) -> dict[str, Any]:
    for path, opener in ((Path("cluster") / f"{name}.yaml", _unplanted), (Path(name), regular_file)):
        if path.is_file():
            return _read(path, opener)
    if name.replace("-", "_") in KINDS:
        return {"kind": name.replace("-", "_")}
    kinds = (kind.replace("_", "-") for kind in KINDS)
    there = sorted({*kinds, *(path.stem for path in Path("cluster").glob("*.yaml"))})
    listed = ", ".join(f"`{one}`" for one in there)
    message = f"expected one of {listed} or the path of a profile, found {name!r}"
    raise Mismatch(message, parameter="cluster", hint=Faults().suggest(name, there))


def _kind(name: str) -> str:
    if name.replace("-", "_") not in KINDS:
        raise ValueError("one of " + ", ".join(KINDS))
    return name.replace("-", "_")


def _size(value: str | int) -> int:
    try:
        return parse_size(value)
    except ValueError:
        raise ValueError("a size such as 2GiB or 500MB") from None


def profile_file(
    *,
    kind: Annotated[str, AfterValidator(_kind)],
    workers: PositiveInt | None = None,
    threads: PositiveInt | None = None,
    memory: Annotated[str | int, AfterValidator(_size)] | None = None,
    device: Literal["auto", "cpu", "cuda"] | None = None,
    device_memory: Annotated[str | int, AfterValidator(_size)] | None = None,
    dashboard: bool | str | None = None,
    insecure: bool | None = None,
    options: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """The keys of a profile's file; those that say nothing are left out."""
    return {key: value for key, value in locals().items() if value is not None}


def _unplanted(file: str) -> int:
    """Open a profile that was found by name: in a folder where others can write, one of theirs may lie in wait."""
    handle = regular_file(file)
    if os.fstat(handle).st_uid in (os.geteuid(), 0, Path.cwd().stat().st_uid):
        return handle
    os.close(handle)
    raise Mismatch(
        "expected a profile of your own, found one of somebody else, who would decide what is started",
        hint=f"if you trust it, name the file: `--cluster {file}`",
    )


def _read(path: Path, opener: Callable[[str], int]) -> dict[str, Any]:
    file, faults = str(path), Faults()
    root = parse(read(file, "a profile", faults, opener), file, faults)
    if not isinstance(root, Table) and not faults.wrong:
        faults.error(Location(file, 0, 1), "expected keys and values, `kind` among them, found none")
    faults.check()
    assert isinstance(root, Table)
    try:
        return profile_file(**validate(profile_file, {str(key): plain(value) for key, value in root.values.items()}))
    except ParameterFaults as error:
        for one in error.faults:
            _note(one, root, faults)
        raise FlowError(*faults.sorted()) from None


def _note(found: ParameterFault, root: Table, faults: Faults) -> None:
    if found.kind == "unknown":
        hint = faults.suggest(found.name, found.choices) or _takes(found.choices)
        place = next(where for key, where in root.keys.items() if str(key) == found.name)
        faults.error(place, f"expected a key of a profile, found `{found.name}`", hint)
    elif found.kind == "missing":
        where = Location(root.location.file, 0, 1)
        faults.error(where, f"expected `{found.name}`, found none", "one of " + ", ".join(KINDS))
    else:
        faults.error(root.values[found.name].location, found.message, found.hint)


def _takes(names: Iterable[str]) -> str:
    return "it takes " + ", ".join(f"`{one}`" for one in names)

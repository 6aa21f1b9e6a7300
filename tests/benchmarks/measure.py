"""Rounds of a row: each entry in its own process, one round of each in turn."""

from __future__ import annotations

import os
import random
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil

from tests.benchmarks.declare import Entry, Reach, Row
from tests.benchmarks.processes import Child, Failed

PATIENCE = {"full": 60.0, "quick": 15.0}
"""Seconds that the rounds of one entry may take; a slower one gets fewer of them, at least `FEWEST`."""
FEWEST = 2


@dataclass
class Times:
    """What was measured of one entry."""

    name: str
    kind: str
    seconds: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    """Seconds of work of all cores, for each round: what a busy machine does not change."""
    warm_up: float = 0.0
    memory: int = 0
    """The most bytes that it and its processes had to themselves, in any round."""
    difference: float = 0.0
    """From the reference."""
    scale: float = 1.0
    """How much more the whole job is than what was done."""
    fault: str = ""
    """Why there are no times."""

    @property
    def least(self) -> float:
        """Of the rounds."""
        return min(self.seconds)

    @property
    def median(self) -> float:
        """Of the rounds."""
        return statistics.median(self.seconds)


@dataclass
class Result:
    """A row, measured."""

    name: str
    title: str
    about: str
    size: str
    times: list[Times]
    reaches: list[dict[str, Any]]
    where: str
    """Where results were written."""
    seconds: float
    """All of it, with inputs and warm-ups."""

    @property
    def failed(self) -> bool:
        """Whether something went wrong, other than a package that is not installed."""
        return any(one.fault and not one.fault.startswith("skipped") for one in self.times)

    def to_json(self) -> dict[str, Any]:
        """As a document."""
        return asdict(self)

    @classmethod
    def from_json(cls, given: dict[str, Any]) -> Result:
        """From a document."""
        return cls(**{**given, "times": [Times(**one) for one in given["times"]]})


def measure(row: Row, size: str, rounds: int, folder: Path, told: Callable[[str], None]) -> Result:
    """Run a row: a warm-up that checks the answers, then the rounds."""
    begun = time.perf_counter()
    numbers = SimpleNamespace(**row.sizes[size])
    with ExitStack() as stack:
        inputs = {name: str(path) for name, path in row.inputs(numbers).items()}
        work = stack.enter_context(_work_folder(numbers, folder))
        times, children = [], {}
        for index, entry in enumerate(reference_first(row)):
            if size not in entry.sizes:
                continue
            one = Times(entry.name, entry.kind, scale=entry.scale(numbers) if entry.scale else 1.0)
            times.append(one)
            missing = [name for name in entry.needs if not present(name)]
            if missing:
                one.fault = f"skipped: {', '.join(missing)} is not installed"
                continue
            job = {
                "row": row.name, "entry": entry.name, "size": dict(row.sizes[size]), "inputs": inputs,
                "folder": str(work / str(index)), "reference": str(work / "reference.npy"),
                "cores": len(os.sched_getaffinity(0)),
            }  # fmt: skip
            try:
                child = Child(job, entry.env, stack)
                check = "keep" if entry.name == row.reference else "compare"
                warm_up = child.round(check)
                one.warm_up, one.memory, one.difference = warm_up.seconds, warm_up.memory, warm_up.difference
                _agree(one, row, entry)
                children[entry.name] = child
            except Failed as error:
                one.fault = str(error)
            told(f"  {one.name}: {one.fault or f'{one.warm_up:.2f} s'}")
        _rounds([one for one in times if not one.fault], children, rounds, PATIENCE[size])
    reaches = [_reached(reach, times) for reach in row.reaches]
    about = row.about.format(**row.sizes[size])
    elapsed = time.perf_counter() - begun
    return Result(row.name, row.title, about, size, times, reaches, str(work.parent), elapsed)


def reference_first(row: Row) -> list[Entry]:
    """The row's entries in the order of their warm-ups."""
    return sorted(row.entries, key=lambda entry: entry.name != row.reference)


def present(module: str) -> bool:
    """Whether there is such a module; nothing of it is imported but its parents."""
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # not even its parent
        return False


def _agree(one: Times, row: Row, entry: Entry) -> None:
    allowed = row.tolerance if entry.tolerance is None else entry.tolerance
    if not one.difference <= allowed:
        raise Failed(f"the answer differs from {row.reference}'s by {one.difference:.2g}, more than {allowed:g}")


def _rounds(times: list[Times], children: Mapping[str, Child], rounds: int, patience: float) -> None:
    for number in range(rounds):
        # Whoever follows a heavy neighbour may suffer from it: not the same one each time.
        for one in random.Random(number).sample(times, len(times)):
            wanted = min(rounds, max(FEWEST, int(patience * one.scale / one.warm_up)))
            if number >= wanted or one.fault:
                continue
            try:
                done = children[one.name].round()
                one.seconds.append(done.seconds)
                one.cpu.append(done.cpu * one.scale)
                one.memory = max(one.memory, done.memory)
            except Failed as error:
                one.fault = str(error)


def _reached(reach: Reach, times: list[Times]) -> dict[str, Any]:
    """What a figure came out as; `found` is `None` where it could not be measured."""
    good = {one.name: one for one in times if one.seconds and not one.fault}
    peers = [one for one in good.values() if one.kind == "peer"]
    best = min(peers, key=lambda one: one.median, default=None)
    other = best if reach.of == "best peer" else good.get(reach.of)
    ours = good.get(reach.ours)
    found = None
    if ours and other:
        found = other.median / ours.median if reach.what == "seconds" else other.memory / ours.memory
    return {**asdict(reach), "other": other.name if other else reach.of, "found": found}


@contextmanager
def _work_folder(numbers: SimpleNamespace, folder: Path) -> Iterator[Path]:
    """A folder for results: in memory where there is room, as a disk's moods would drown the rest."""
    shared = Path("/dev/shm")
    needed = 3 * getattr(numbers, "written", 0) + 2**26
    free = min(shutil.disk_usage(shared).free, psutil.virtual_memory().available // 2) if shared.is_dir() else 0
    with tempfile.TemporaryDirectory(prefix="hpcflow-bench-", dir=shared if free > needed else folder) as name:
        yield Path(name)

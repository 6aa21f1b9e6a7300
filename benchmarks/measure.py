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

from benchmarks.data import UNFINISHED
from benchmarks.declare import Entry, Reach, Row
from benchmarks.processes import Child, Failed, Round

LONG = 15.0
"""Seconds from which on a warm-up counts as a round: what is only done once no longer weighs."""
FEWEST = 2
"""Rounds that every entry gets that is shorter than that."""
COPIES = 3
"""Of its result that an entry may have at once, work files and the one to compare with included."""


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

    def took(self, done: Round) -> None:
        """Count a round."""
        self.seconds.append(done.seconds)
        self.cpu.append(done.cpu * self.scale)
        self.memory = max(self.memory, done.memory)

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
    when: str = ""
    """The day."""

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


def measure(row: Row, size: str, folder: Path, told: Callable[[str], None], *, rounds: int, seconds: float) -> Result:
    """Run a row: a warm-up that checks the answers, then the rounds.

    Parameters
    ----------
    row : Row
    size : str
        `full`, `quick` or `toy`.
    folder : Path
        Of inputs, and of results for which memory has no room.
    told : callable
        Takes a line for each entry.
    rounds : int
        Of each entry; fewer of the slow ones where they do not fit into the `seconds`.
    seconds : float
        That the row should take in all.
    """
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
                # Where the reference itself fails, the next one takes its place.
                first = not Path(job["reference"]).exists() and entry.tolerance is None and one.scale == 1
                check = "keep" if first else "compare"
                warm_up = child.round(check)
                one.warm_up, one.memory, one.difference = warm_up.seconds, warm_up.memory, warm_up.difference
                _agree(one, row, entry)
                if warm_up.seconds / one.scale >= LONG and not entry.keeps:
                    one.took(warm_up)
                children[entry.name] = child
            except Failed as error:
                one.fault = str(error)
            told(f"  {one.name}: {one.fault or f'{one.warm_up:.2f} s'}")
        left = begun + seconds - time.perf_counter()
        _rounds([one for one in times if not one.fault], children, rounds, left)
    reaches = [_reached(reach, times) for reach in row.reaches]
    about = row.about.format(**row.sizes[size])
    elapsed = time.perf_counter() - begun
    today = time.strftime("%Y-%m-%d")
    return Result(row.name, row.title, about, size, times, reaches, str(work.parent), elapsed, today)


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
    if one.scale > 1 and row.differ == "bytes":
        return  # hashes of a part tell nothing; at the other sizes all of it is compared
    allowed = row.tolerance if entry.tolerance is None else entry.tolerance
    if not one.difference <= allowed:
        raise Failed(f"the answer differs from {row.reference}'s by {one.difference:.2g}, more than {allowed:g}")


def _rounds(times: list[Times], children: Mapping[str, Child], rounds: int, left: float) -> None:
    wanted = shared_out({one.name: one.warm_up / one.scale for one in times}, rounds, left)
    for number in range(rounds):
        # Whoever follows a heavy neighbour may suffer from it: not the same one each time.
        for one in random.Random(number).sample(times, len(times)):
            if len(one.seconds) >= wanted[one.name] or one.fault:
                continue
            try:
                one.took(children[one.name].round())
            except Failed as error:
                one.fault = str(error)


def shared_out(each: Mapping[str, float], rounds: int, left: float) -> dict[str, int]:
    """How many rounds each entry gets, by what one takes: equal shares of the time, no more than `rounds`."""

    def given(share: float) -> dict[str, int]:
        fewest = {name: 1 if took >= LONG else min(FEWEST, rounds) for name, took in each.items()}
        return {name: min(rounds, max(fewest[name], int(share / max(took, 1e-6)))) for name, took in each.items()}

    def needs(share: float) -> float:
        return sum((n - (each[name] >= LONG)) * each[name] for name, n in given(share).items())

    low, high = 0.0, max(left, 0.0)
    for _ in range(30):
        middle = (low + high) / 2
        low, high = (middle, high) if needs(middle) <= left else (low, middle)
    return given(high if needs(high) <= left else low)


def _reached(reach: Reach, times: list[Times]) -> dict[str, Any]:
    """What a figure came out as; `found` is `None` where it could not be measured."""
    good = {one.name: one for one in times if one.seconds and not one.fault}
    peers = [one for one in good.values() if one.kind == "peer"]
    best = min(peers, key=lambda one: one.median, default=None)
    other = best if reach.of == "best peer" else good.get(reach.of)
    ours = good.get(reach.ours)
    found = None
    if reach.what == "at most":
        found = other.median if other else None
    elif ours and other:
        found = other.median / ours.median if reach.what == "seconds" else other.memory / ours.memory
    return {**asdict(reach), "other": other.name if other else reach.of, "found": found}


@contextmanager
def _work_folder(numbers: SimpleNamespace, folder: Path) -> Iterator[Path]:
    """A folder for results: in memory where there is room, as a disk's moods would drown the rest."""
    written = getattr(numbers, "written", 0)
    shared = Path("/dev/shm")
    free = min(shutil.disk_usage(shared).free, psutil.virtual_memory().available // 2) if shared.is_dir() else 0
    chosen = shared if free > COPIES * written + 2**26 else folder
    if chosen == folder and (there := shutil.disk_usage(folder).free) < COPIES * written:
        needed = f"{COPIES * written / 2**30:.0f} GiB in `{folder}`"
        raise SystemExit(f"error: expected room for {needed}, found {there / 2**30:.0f}")
    with tempfile.TemporaryDirectory(prefix=f"{UNFINISHED}{os.getpid()}-", dir=chosen) as name:
        yield Path(name)

"""What a row of the benchmark is: one job, those who do it, and what is to be reached."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

Once = Callable[[], Any]
"""Does the job once and returns the answer: numbers, or an array that can be sliced."""

SINGLE = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OPENCV_FOR_THREADS_NUM"), "1")
"""For those that run a task on every core themselves: each library keeps to its task's core."""


@dataclass(frozen=True)
class Case:
    """The job at one size, for one of those who do it."""

    size: SimpleNamespace
    """The row's numbers, such as `size.side`."""
    inputs: SimpleNamespace
    """The paths of the inputs."""
    folder: Path
    """A folder of its own."""
    cores: int
    stack: ExitStack = field(default_factory=ExitStack)
    """What is to be closed after the last round."""

    @property
    def out(self) -> Path:
        """Where results are written; empty when a round begins."""
        return self.folder / "out"

    def clear(self) -> None:
        """Empty `out`."""
        shutil.rmtree(self.out, ignore_errors=True)
        self.out.mkdir(parents=True)


@dataclass(frozen=True)
class Entry:
    """One of those who do the job."""

    name: str
    kind: str
    """`hpcflow`, `command` (the same, as a whole process), `peer` or `limit`."""
    start: Callable[[Case], Once]
    """Prepares what a user prepares once (a cluster, a model) and returns what is timed."""
    needs: tuple[str, ...] = ()
    """Modules without which it is left out, and said to be."""
    env: Mapping[str, str] = field(default_factory=dict)
    scale: Callable[[SimpleNamespace], float] | None = None
    """How many times more the whole job is than what it does; for those too slow for all of it."""
    tolerance: float | None = None
    """Where it may differ more than the row says."""
    sizes: tuple[str, ...] = ("full", "quick", "toy")
    keeps: bool = False
    """Whether its first round makes or loads what the others find, a network: that one never counts."""


@dataclass(frozen=True)
class Reach:
    """How far hpcflow is to get: `times` the speed (or the thrift) of another; or no more than so many seconds."""

    times: float
    of: str
    """An entry's name; `best peer` for the fastest of them."""
    what: str = "seconds"
    """`seconds`, `memory`, or `at most`: `of` itself takes no more than `times` seconds."""
    ours: str = "hpcflow"


@dataclass
class Row:
    """One job."""

    name: str
    title: str
    about: str
    """What is done to which data; may name the row's numbers in braces."""
    sizes: Mapping[str, Mapping[str, Any]]
    inputs: Callable[[SimpleNamespace], Mapping[str, Path]]
    reference: str
    """The entry whose answer the others are held against."""
    reaches: tuple[Reach, ...] = ()
    tolerance: float = 1e-6
    differ: str = "values"
    """How answers are compared: see `answers.difference`."""
    share: float = 1.0
    """Of the time for all rows, beside other rows' shares."""
    entries: list[Entry] = field(default_factory=list)

    def entry(self, name: str, kind: str = "peer", **options: Any) -> Callable[[Callable[[Case], Once]], Any]:
        """Add the decorated function as one of those who do the job."""

        def add(start: Callable[[Case], Once]) -> Callable[[Case], Once]:
            self.entries.append(Entry(name, kind, start, **options))
            return start

        return add

    def peer(self, name: str, *needs: str, **options: Any) -> Callable[[Callable[[Case], Once]], Any]:
        """Add something that one would use in place of hpcflow."""
        return self.entry(name, needs=needs, **options)

    def limit(self, name: str, *needs: str, **options: Any) -> Callable[[Callable[[Case], Once]], Any]:
        """Add what binds the job on this machine."""
        return self.entry(name, "limit", needs=needs, **options)

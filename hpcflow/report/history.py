"""How a run went, over time: kept in as much memory for ten million blocks as for ten."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import zip_longest
from math import floor
from typing import Any

SEGMENTS = 4000
"""Bars of the timeline; where there would be more, neighbours are joined."""
BINS = 480
"""Points in time for which memory and bytes are kept."""
EVENTS = 200
"""Messages that are kept; the others are counted."""
STRETCH = 0.05
"""Seconds that a bar or a bin stands for at first."""


@dataclass
class Timeline:
    """Who computed when: bars of workers' threads, each of one task or of several that lie close together."""

    bars: dict[tuple[int, str, int], list[float]] = field(default_factory=dict)
    """By lane, stage and stretch of time: start, stop, seconds busy, tasks, blocks."""
    lanes: dict[str, int] = field(default_factory=dict)
    """The number of each thread of a worker, in the order of their first tasks."""
    stretch: float = 0.0
    """Seconds within which bars of one lane are joined; 0 as long as each task has its own."""

    def add(self, worker: str, stage: str, start: float, stop: float, blocks: int) -> None:
        """Take in a task."""
        lane = self.lanes.setdefault(worker, len(self.lanes))
        place = floor(start / self.stretch) if self.stretch else len(self.bars)
        self._join(self.bars, (lane, stage, place), [start, stop, stop - start, 1, blocks])
        while len(self.bars) > SEGMENTS:
            self._coarsen()

    def _coarsen(self) -> None:
        self.stretch = 2 * self.stretch or STRETCH
        joined: dict[tuple[int, str, int], list[float]] = {}
        for (lane, stage, _), bar in self.bars.items():
            self._join(joined, (lane, stage, floor(bar[0] / self.stretch)), bar)
        self.bars = joined

    @staticmethod
    def _join(bars: dict[tuple[int, str, int], list[float]], key: tuple[int, str, int], bar: list[float]) -> None:
        there = bars.get(key)
        if there is None:
            bars[key] = bar
        else:
            rest = [a + b for a, b in zip(there[2:], bar[2:], strict=True)]
            bars[key] = [min(there[0], bar[0]), max(there[1], bar[1]), *rest]

    def to_json(self) -> dict[str, Any]:
        """Bars as rows: lane, stage, start, stop, seconds busy, tasks, blocks."""
        rows = [
            [lane, stage, *(round(one, 4) for one in bar[:3]), int(bar[3]), int(bar[4])]
            for (lane, stage, _), bar in sorted(self.bars.items())
        ]
        return {"lanes": _lane_names(self.lanes), "bars": rows, "joined": self.stretch}


def _lane_names(lanes: Mapping[str, int]) -> list[str]:
    """Workers as ``1``, ``2``, and their threads as ``1.1``, ``1.2``, where they have several."""
    processes: dict[str, list[str]] = {}
    for worker in lanes:
        processes.setdefault(worker.rpartition(":")[0], []).append(worker)
    names = {}
    for number, threads in enumerate(processes.values(), 1):
        for thread, worker in enumerate(threads, 1):
            names[worker] = f"{number}.{thread}" if len(threads) > 1 else str(number)
    return [names[worker] for worker in lanes]


@dataclass
class Series:
    """Values over time in a fixed number of bins, which become twice as wide whenever the time runs out."""

    columns: int
    most: bool = False
    """Whether a bin keeps the greatest value; otherwise it adds them up."""
    kept: tuple[float, list[list[float]]] = (STRETCH, [])
    """The width of a bin in seconds, and the bins. One value, so that another thread sees what fits together."""

    def __post_init__(self) -> None:
        self.kept = (STRETCH, [])

    def add(self, start: float, stop: float, values: tuple[float, ...]) -> None:
        """Take values in, spread evenly from `start` to `stop` seconds; as they are for the greatest."""
        start = max(start, 0.0)
        stop = max(stop, start)
        while floor(stop / self.kept[0]) >= BINS:
            self._coarsen()
        width, bins = self.kept
        first, last = floor(start / width), floor(stop / width)
        while len(bins) <= last:
            bins.append([0.0] * self.columns)
        for i in range(first, last + 1):
            inside = min(stop, (i + 1) * width) - max(start, i * width)
            share = inside / (stop - start) if stop > start and not self.most else 1.0
            bins[i] = self._merged(bins[i], [value * share for value in values])

    def _merged(self, there: list[float], values: list[float]) -> list[float]:
        return [max(a, b) if self.most else a + b for a, b in zip(there, values, strict=True)]

    def _coarsen(self) -> None:
        width, bins = self.kept
        nothing = [0.0] * self.columns
        self.kept = (2 * width, [self._merged(a, b) for a, b in zip_longest(bins[::2], bins[1::2], fillvalue=nothing)])

    def to_json(self) -> dict[str, Any]:
        """The width of a bin in seconds, and each bin's values."""
        width, bins = self.kept
        return {"width": width, "bins": [[round(value) for value in one] for one in bins]}


@dataclass
class History:
    """What happened when; times are in seconds since the run began."""

    begun: float = field(default_factory=time.time)
    timeline: Timeline = field(default_factory=Timeline)
    rates: Series = field(default_factory=lambda: Series(2))
    """Bytes read and written."""
    memory: Series = field(default_factory=lambda: Series(2, most=True))
    """Bytes that all processes held, and those of the driver."""
    spent: dict[str, dict[str, float]] = field(default_factory=dict)
    """Seconds of all threads, by stage and node."""
    most_held: dict[str, int] = field(default_factory=dict)
    """The most bytes that each worker process was ever seen to hold."""
    events: list[tuple[float, str]] = field(default_factory=list)
    untold: int = 0
    """Events beyond those that are kept."""

    def task(self, stage: str, trace: Any) -> None:
        """Take in how a task went: what workers tell on its last block."""
        start = trace.began - self.begun
        stop = start + trace.seconds
        self.timeline.add(trace.worker, stage, start, stop, trace.blocks)
        self.rates.add(start, stop, (trace.bytes_read, trace.bytes_written))
        process = trace.worker.rpartition(":")[0]
        self.most_held[process] = max(trace.held, self.most_held.get(process, 0))
        spent = self.spent.setdefault(stage, {})
        for name, seconds in trace.spent.items():
            spent[name] = spent.get(name, 0.0) + seconds

    def held(self, workers: int) -> tuple[int, int]:
        """The most bytes that one worker held, and that so many did; of those that told."""
        held = sorted(self.most_held.values(), reverse=True)[:workers]
        return max(held, default=0), sum(held)

    def holds(self, total: int, driver: int) -> None:
        """Take in how much memory is held just now."""
        now = time.time() - self.begun
        self.memory.add(now, now, (total, driver))

    def event(self, text: str) -> None:
        """Keep a message: a retry, a worker that died."""
        if len(self.events) < EVENTS:
            self.events.append((time.time() - self.begun, text))
        else:
            self.untold += 1

    def to_json(self) -> dict[str, Any]:
        """As it stands in ``history.json``."""
        return {
            "begun": self.begun,
            "timeline": self.timeline.to_json(),
            "rates": self.rates.to_json(),
            "memory": self.memory.to_json(),
            "spent": {
                stage: {name: round(seconds, 4) for name, seconds in spent.items()}
                for stage, spent in self.spent.items()
            },
            "events": [[round(when, 3), text] for when, text in self.events],
            "untold": self.untold,
        }

"""How fast a run and its stages get on, and how long they will take."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from hpcflow.sizes import show_size

WINDOW = 30.0
"""Seconds over which speeds are averaged."""


class Expected(NamedTuple):
    """A stage that a run has before it."""

    name: str
    blocks: int
    cost: float
    """What the planner takes all of its blocks to cost, in units of its own."""


@dataclass
class Pace:
    """How fast a stage gets on, averaged over its last seconds."""

    total: int
    samples: deque[tuple[float, int, int, int]] = field(default_factory=deque)
    """Time, blocks, bytes read, bytes written."""

    def update(self, now: float, done: int, read: int, written: int) -> None:
        """Take note of where the stage is now, and of the bytes since the last call."""
        before = self.samples[-1] if self.samples else (now, 0, 0, 0)
        self.samples.append((now, done, before[2] + read, before[3] + written))
        while len(self.samples) > 2 and self.samples[1][0] < now - WINDOW:
            self.samples.popleft()

    def rate(self, which: int) -> float:
        """Per second: blocks (1), bytes read (2) or written (3)."""
        if len(self.samples) < 2:
            return 0.0
        first, last = self.samples[0], self.samples[-1]
        return (last[which] - first[which]) / max(last[0] - first[0], 1e-9)

    @property
    def done(self) -> int:
        """Blocks that are finished."""
        return self.samples[-1][1] if self.samples else 0

    def left(self) -> float | None:
        """Seconds to go; `None` before there is a speed."""
        rate = self.rate(1)
        return (self.total - self.done) / rate if rate > 0 else None

    def describe(self, failures: int, memory: int) -> str:
        """Blocks, speeds, time left, failures so far, memory: what there is to say."""
        left = self.left()
        parts = [f"{self.done}/{self.total} blocks"]
        parts += [f"{show_size(self.rate(2))}/s read"] if self.rate(2) else []
        parts += [f"{show_size(self.rate(3))}/s written"] if self.rate(3) else []
        parts += [f"{clock(left)} left"] if left is not None and self.done < self.total else []
        parts += [f"{failures} failed"] if failures else []
        parts += [f"{show_size(memory)} in use"] if memory else []
        return ", ".join(parts)


@dataclass
class Course:
    """How a run gets on: the pace of each of its stages, and the time that all of them will take."""

    paces: dict[str, Pace] = field(default_factory=dict)
    costs: dict[str, float] = field(default_factory=dict)
    begun: dict[str, tuple[float, int]] = field(default_factory=dict)
    """When each stage was begun, and how many of its blocks an earlier run had finished."""
    at: str = ""
    """The stage that is run now."""

    def start(self, stages: Sequence[Expected]) -> None:
        """Take note of what is before the run."""
        self.paces = {one.name: Pace(one.blocks) for one in stages}
        self.costs = {one.name: one.cost for one in stages}

    def stage(self, now: float, name: str, total: int, done: int) -> None:
        """Start a stage's clock."""
        self.at = name
        self.paces[name] = Pace(total)
        self.paces[name].update(now, done, 0, 0)
        self.begun[name] = now, done

    def block(self, now: float, name: str, done: int, read: int, written: int) -> Pace:
        """Take note of where a stage is now; its pace."""
        pace = self.paces[name]
        pace.update(now, done, read, written)
        return pace

    @property
    def several(self) -> bool:
        """Whether the run takes longer than a stage of it."""
        return len(self.paces) > 1

    @property
    def share(self) -> float:
        """How much of the run is done, from 0 to 1."""
        done = sum(cost * self.paces[name].done / max(self.paces[name].total, 1) for name, cost in self.costs.items())
        return done / (sum(self.costs.values()) or 1.0)

    def left(self) -> float | None:
        """Seconds to go, over all stages; `None` before there is a speed.

        Those that are not begun are taken to cost as much for what the planner counted as the others have.
        """
        left = self.paces[self.at].left() if self.at else None
        ahead = sum(cost for name, cost in self.costs.items() if name not in self.begun)
        if left is None or not ahead:
            return left
        spent, made = 0.0, 0.0
        for name, (since, done) in self.begun.items():
            pace = self.paces[name]
            spent += pace.samples[-1][0] - since
            made += self.costs.get(name, 0.0) * (pace.done - done) / max(pace.total, 1)
        return left + ahead * spent / made if made else None

    def describe(self) -> str:
        """The time left over all stages, in words; nothing where it is not known, or the run has but one."""
        left = self.left()
        return f"about {clock(left)} left in all" if self.several and left is not None and self.share < 1 else ""


def clock(seconds: float) -> str:
    """A time as ``1:02:03`` or ``2:03``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"

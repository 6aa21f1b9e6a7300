"""How fast a stage gets on, and how long it will take."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from hpcflow.sizes import show_size

WINDOW = 30.0
"""Seconds over which speeds are averaged."""


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


def clock(seconds: float) -> str:
    """A time as ``1:02:03`` or ``2:03``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"

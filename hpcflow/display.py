"""How a run looks: on a terminal, in a log file, and when it is over."""

from __future__ import annotations

import re
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TextIO

from rich.console import Console
from rich.progress import BarColumn, TextColumn
from rich.progress import Progress as RichProgress
from rich.text import Text
from rich.tree import Tree

from hpcflow.execute.progress import Progress, Silent
from hpcflow.planning.describe import stage_head, task_table
from hpcflow.planning.graph import branches, graph
from hpcflow.planning.plan import Plan
from hpcflow.sizes import show_size

COLOURS = ("blue", "green", "yellow", "magenta", "red", "cyan", "white", "bright_red")
"""Of the stages, in turn."""
INTERVAL = 5.0
"""Seconds between the lines of a log."""
WINDOW = 30.0
"""Seconds over which speeds are averaged."""
LISTED = 20
"""Bad items that a summary lists."""


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


@dataclass
class Lines:
    """One plain line every few seconds, and one at the end of each stage: for a log file."""

    stream: TextIO
    interval: float = INTERVAL
    now: Callable[[], float] = time.monotonic
    paces: dict[str, Pace] = field(default_factory=dict)
    last: float = float("-inf")

    def start(self, stages: Sequence[tuple[str, int]]) -> None:
        """Wait for the first stage."""
        self.paces = {name: Pace(total) for name, total in stages}
        self.last = self.now()

    def stage(self, name: str, total_blocks: int) -> None:
        """Start its clock."""
        self.paces[name] = Pace(total_blocks)
        self.paces[name].update(self.now(), 0, 0, 0)

    def block(
        self, name: str, done: int, bytes_read: int, bytes_written: int, failures: int, *, memory: int = 0
    ) -> None:
        """Write a line where the last one is old enough, or the stage is done."""
        pace, now = self.paces[name], self.now()
        pace.update(now, done, bytes_read, bytes_written)
        if now - self.last >= self.interval or done >= pace.total:
            self.last = now
            self.note(f"{name}: {pace.describe(failures, memory)}")

    def note(self, text: str) -> None:
        """Write it."""
        self.stream.write(f"{text}\n")
        self.stream.flush()

    def end(self, report: Any) -> None:
        """Nothing is open."""


@dataclass
class Bars:
    """A bar for each stage: for a terminal."""

    bars: RichProgress
    now: Callable[[], float] = time.monotonic
    paces: dict[str, Pace] = field(default_factory=dict)
    rows: dict[str, Any] = field(default_factory=dict)

    def start(self, stages: Sequence[tuple[str, int]]) -> None:
        """Show every stage, so that the whole way is seen."""
        for name, total in stages:
            self.paces[name] = Pace(total)
            self.rows[name] = self.bars.add_task(name, total=total, start=False, text=f"0/{total} blocks")
        self.bars.start()

    def stage(self, name: str, total_blocks: int) -> None:
        """Start its clock."""
        self.paces[name] = Pace(total_blocks)
        self.paces[name].update(self.now(), 0, 0, 0)
        if name not in self.rows:
            self.rows[name] = self.bars.add_task(name, total=total_blocks, text="")
        self.bars.update(self.rows[name], total=total_blocks)
        self.bars.start_task(self.rows[name])

    def block(
        self, name: str, done: int, bytes_read: int, bytes_written: int, failures: int, *, memory: int = 0
    ) -> None:
        """Move its bar on."""
        pace = self.paces[name]
        pace.update(self.now(), done, bytes_read, bytes_written)
        self.bars.update(self.rows[name], completed=done, text=pace.describe(failures, memory))

    def note(self, text: str) -> None:
        """Print it above the bars."""
        self.bars.console.print(text, markup=False, highlight=False)

    def end(self, report: Any) -> None:  # noqa: ARG002
        """Leave the bars as they are."""
        self.bars.stop()


def show_plan(plan: Plan, stream: TextIO) -> None:
    """Print a plan: a tree for each stage in colours on a terminal, plain text elsewhere."""
    if not stream.isatty():
        stream.write(f"{plan}\n")
        return
    drawn = graph(plan)
    console = Console(file=stream, highlight=False)
    console.print(Text(plan.head(), "bold"))
    for number, stage in enumerate(plan.stages):
        colour = COLOURS[number % len(COLOURS)]
        tree = Tree(Text(stage_head(stage), f"bold {colour}"), guide_style=colour)
        for branch in branches(drawn, number):
            name, colon, about = branch.partition(":")
            tree.add(Text.assemble((name, "bold"), colon, about))
        console.print("", tree, *(Text(f"  {line}", "dim") for line in task_table(stage)), sep="\n")
    console.print(*(Text(line) for line in plan.rest(drawn)), sep="\n")


@contextmanager
def showing(stream: TextIO, *, quiet: bool) -> Iterator[Progress]:
    """Show a run's progress on a stream, as suits it; the terminal is left in order whatever happens."""
    if quiet:
        yield Silent()
    elif not stream.isatty():
        yield Lines(stream)
    else:
        columns = TextColumn("{task.description}", markup=False), BarColumn(30), TextColumn("{task.fields[text]}")
        bars = RichProgress(*columns, console=Console(file=stream))
        try:
            yield Bars(bars)
        finally:
            bars.stop()


@contextmanager
def tallying(stream: TextIO, *, quiet: bool) -> Iterator[Callable[[Any], None]]:
    """Show how far a fetch is: a bar on a terminal, a plain line every few seconds in a log."""
    pace, last = Pace(0), time.monotonic()
    columns = TextColumn("fetch"), BarColumn(30), TextColumn("{task.fields[text]}", markup=False)
    with RichProgress(*columns, console=Console(file=stream), disable=quiet or not stream.isatty()) as bars:
        bar = bars.add_task("fetch", total=None, text="")

        def tell(tally: Any) -> None:
            nonlocal last
            now, ends = time.monotonic(), tally.done == tally.total
            if quiet or not (ends or now - last >= (0.2 if stream.isatty() else INTERVAL)):
                return
            last, pace.total = now, tally.total or 0
            pace.update(now, tally.done, tally.bytes - (pace.samples[-1][2] if pace.samples else 0), 0)
            text = _tallied(tally, pace)
            if stream.isatty():
                bars.update(bar, total=tally.total, completed=tally.done, text=text)
            else:
                stream.write(f"fetch: {text}\n")
                stream.flush()

        yield tell


def _tallied(tally: Any, pace: Pace) -> str:
    left = pace.left()
    parts = [f"{tally.done}/{tally.total} items"]
    parts += [f"{show_size(pace.rate(2))}/s"] if pace.rate(2) else []
    parts += [f"{tally.failed} failed"] if tally.failed else []
    parts += [f"{clock(left)} left"] if left is not None and tally.done < tally.total else []
    return ", ".join(parts)


def fetched(done: Mapping[str, Any]) -> str:
    """What a fetch came to, in a few lines.

    Parameters
    ----------
    done : mapping
        As `fetch --json` prints it.
    """
    counts = f"{done['ok']} fetched, {done['cached']} there already, {done['failed']} failed"
    lines = [f"{done['items']} items: {counts}; {show_size(done['bytes'])} in {done['seconds']:.1f} s"]
    lines += [f"  {one['url']}: {one['reason']}" for one in done["failures"]]
    more = done["failed"] - len(done["failures"])
    lines += [f"  and {more} more, in the manifest"] if more else []
    if done["failed"]:
        lines.append(f"  hint: try them again with `hpcflow fetch --retry {done['manifest']}`")
    return "\n".join(lines)


def summary(report: Mapping[str, Any], path: str = "") -> str:
    """A run's report in a few lines.

    Parameters
    ----------
    report : mapping
        The content of `report.json`.
    path : str
        Where the whole report stands.
    """
    seconds, tasks, memory = report["seconds"], report["tasks"], report["memory"]
    spent = [f"{name} {seconds[name]:.1f} s" for name in ("startup", "compute") if name in seconds]
    rows = [
        ("tasks", ", ".join(f"{tasks[name]} {name}" for name in ("executed", "reused", "retried") if tasks.get(name))),
        ("memory", _memory(memory)),
        ("cluster", _cluster(report.get("cluster", {}))),
        *(("output", _output(output)) for output in report["outputs"]),
        *(("bad", f"{bad['item']}: {bad['reason']}") for bad in report["quarantine"][:LISTED]),
        ("bad", f"and {len(report['quarantine']) - LISTED} more" if len(report["quarantine"]) > LISTED else ""),
        ("report", path),
    ]
    head = f"{report['flow']}: {report['status']} in {seconds['total']:.1f} s"
    head += f" ({', '.join(spent)})" if spent else ""
    return "\n".join([head, *(f"  {name:<8} {text}" for name, text in rows if text)])


def _memory(memory: Mapping[str, int]) -> str:
    words = {"measured_peak": "at peak", "projected_peak": "planned", "budget": "allowed"}
    return ", ".join(f"{show_size(memory[key])} {word}" for key, word in words.items() if memory.get(key))


def _cluster(cluster: Mapping[str, Any]) -> str:
    if not cluster:
        return ""
    counts = [f"{cluster[name]} {name if cluster[name] != 1 else name[:-1]}" for name in ("workers", "threads")]
    return f"{cluster['kind']}, {', '.join(counts)}, {cluster.get('device', 'cpu')}"


def _output(output: Mapping[str, Any]) -> str:
    shape = str(tuple(output["shape"])) if output.get("shape") else ""
    # A table's dtype lists its columns: [('class_id', '<i8'), …].
    columns = re.findall(r"\('(\w+)'", dtype := str(output.get("dtype", "")))
    kind = "records of " + ", ".join(columns) if columns else dtype
    return "  ".join(filter(None, (output["path"], f"{shape} {kind}".strip())))

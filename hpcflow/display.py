"""How a run looks: on a terminal, in a log file, and when it is over."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TextIO

from rich.console import Console
from rich.progress import BarColumn, ProgressColumn, TaskProgressColumn, TextColumn
from rich.progress import Progress as RichProgress
from rich.table import Column
from rich.text import Text
from rich.tree import Tree

from hpcflow.execute.progress import Progress, Silent
from hpcflow.planning.describe import stage_head, task_table
from hpcflow.planning.graph import branches, graph
from hpcflow.planning.plan import Plan
from hpcflow.report.pace import Course, Expected, Pace, clock
from hpcflow.sizes import show_size

COLOURS = ("blue", "green", "yellow", "magenta", "red", "cyan", "white", "bright_red")
"""Of the stages, in turn."""
WHOLE = "whole run"
"""The name of its bar, which no stage can have."""
INTERVAL = 5.0
"""Seconds between the lines of a log."""
LISTED = 20
"""Bad items that a summary lists."""
LONGEST_URL = 200
"""Characters of a URL that a line shows."""


@dataclass
class Lines:
    """One plain line every few seconds, and one at the end of each stage: for a log file."""

    stream: TextIO
    interval: float = INTERVAL
    now: Callable[[], float] = time.monotonic
    course: Course = field(default_factory=Course)
    last: float = float("-inf")

    def start(self, stages: Sequence[Expected]) -> None:
        """Wait for the first stage."""
        self.course.start(stages)
        self.last = self.now()

    def stage(self, name: str, total_blocks: int, done: int = 0) -> None:
        """Start its clock."""
        self.course.stage(self.now(), name, total_blocks, done)

    def block(
        self, name: str, done: int, bytes_read: int, bytes_written: int, failures: int, *, memory: int = 0
    ) -> None:
        """Write a line where the last one is old enough, or the stage is done."""
        now = self.now()
        pace = self.course.block(now, name, done, bytes_read, bytes_written)
        if now - self.last >= self.interval or done >= pace.total:
            self.last = now
            self.note(", ".join(filter(None, (f"{name}: {pace.describe(failures, memory)}", self.course.describe()))))

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
    course: Course = field(default_factory=Course)
    rows: dict[str, Any] = field(default_factory=dict)

    def start(self, stages: Sequence[Expected]) -> None:
        """Show every stage, so that the whole way is seen."""
        self.course.start(stages)
        for name, total, _ in stages:
            self.rows[name] = self.bars.add_task(name, total=total, start=False, text=f"0/{total} blocks")
        if self.course.several:
            self.rows[WHOLE] = self.bars.add_task(WHOLE, total=1.0, text="")
        self.bars.start()

    def stage(self, name: str, total_blocks: int, done: int = 0) -> None:
        """Start its clock."""
        self.course.stage(self.now(), name, total_blocks, done)
        self.bars.update(self.rows[name], total=total_blocks, completed=done)
        self.bars.start_task(self.rows[name])

    def block(
        self, name: str, done: int, bytes_read: int, bytes_written: int, failures: int, *, memory: int = 0
    ) -> None:
        """Move its bar on."""
        pace = self.course.block(self.now(), name, done, bytes_read, bytes_written)
        self.bars.update(self.rows[name], completed=done, text=pace.describe(failures, memory))
        if WHOLE in self.rows:
            self.bars.update(self.rows[WHOLE], completed=self.course.share, text=self.course.describe())

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
        bars = RichProgress(*_columns(), console=Console(file=stream), expand=True)
        try:
            yield Bars(bars)
        finally:
            bars.stop()


def _columns() -> tuple[ProgressColumn, ...]:
    """A stage's name, its bar, its share, and what there is to say, cut off where the terminal ends."""
    said = Column(ratio=1, no_wrap=True, overflow="ellipsis")
    return (
        TextColumn("{task.description}", style="bold", markup=False),
        BarColumn(24),
        TaskProgressColumn(),
        TextColumn("{task.fields[text]}", markup=False, table_column=said),
    )


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
    lines += [f"  {_cut(one['url'])}: {one['reason']}" for one in done["failures"]]
    more = done["failed"] - len(done["failures"])
    lines += [f"  and {more} more, in the manifest"] if more else []
    lines += [f"  {_cut(one['url'])}: {one['reason']}" for one in done["notes"]]
    if done["failed"]:
        lines.append(f"  hint: try them again with `hpcflow fetch --retry {done['manifest']}`")
    return "\n".join(lines)


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST_URL else f"{text[:LONGEST_URL]}…"


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

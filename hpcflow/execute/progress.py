"""What a run tells while it goes on. Nothing here prints; the command line shows it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from hpcflow.report.pace import Expected
from hpcflow.secrets import redact


class Progress(Protocol):
    """Told of a run's events, from the thread that runs it; must return at once."""

    def start(self, stages: Sequence[Expected]) -> None:
        """Before the first block: what the run has before it, in order."""

    def stage(self, name: str, total_blocks: int, done: int = 0) -> None:
        """A stage begins, or begins to compute once it is known how many blocks an earlier run has `done`."""

    def block(
        self, name: str, done: int, bytes_read: int, bytes_written: int, failures: int, *, memory: int = 0
    ) -> None:
        """One more block of a stage is finished, or more.

        Parameters
        ----------
        name : str
            The stage.
        done : int
            Blocks finished since the stage began, with those that an earlier run finished.
        bytes_read, bytes_written : int
            For the blocks that are new since the last call.
        failures : int
            Bad items of the whole run so far.
        memory : int
            Bytes in use over all workers; 0 where it was not measured.
        """

    def note(self, text: str) -> None:
        """Something worth a line of its own: the dashboard's address, a retry."""

    def end(self, report: Any) -> None:
        """The run is over; `report` is `None` where it failed."""


class Noting:
    """Passes everything on, with the memory in use; keeps the notes for the report.

    Parameters
    ----------
    told : Progress
        Who is told.
    noted : callable
        Takes the text of each note.
    memory : callable
        Gives the bytes in use.
    """

    def __init__(self, told: Progress, noted: Callable[[str], None], memory: Callable[[], int]) -> None:
        self._told = told
        self._noted = noted
        self._memory = memory

    def start(self, stages: Sequence[Expected]) -> None:
        """Pass it on."""
        self._told.start(stages)

    def stage(self, name: str, total_blocks: int, done: int = 0) -> None:
        """Pass it on."""
        self._told.stage(name, total_blocks, done)

    def block(
        self, name: str, done: int, bytes_read: int, bytes_written: int, failures: int, *, memory: int = 0
    ) -> None:
        """Pass it on."""
        self._told.block(name, done, bytes_read, bytes_written, failures, memory=memory or self._memory())

    def note(self, text: str) -> None:
        """Keep it, and pass it on."""
        text = redact(text)
        self._noted(text)
        self._told.note(text)

    def end(self, report: Any) -> None:
        """Pass it on."""
        self._told.end(report)


class Silent:
    """Shows nothing."""

    def start(self, stages: Sequence[Expected]) -> None:
        """Ignore it."""

    def stage(self, name: str, total_blocks: int, done: int = 0) -> None:
        """Ignore it."""

    def block(
        self, name: str, done: int, bytes_read: int, bytes_written: int, failures: int, *, memory: int = 0
    ) -> None:
        """Ignore it."""

    def note(self, text: str) -> None:
        """Ignore it."""

    def end(self, report: Any) -> None:
        """Ignore it."""

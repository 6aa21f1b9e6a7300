"""A run's progress in a notebook: a bar for each stage, below the cell."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import Any
from xml.sax.saxutils import escape

from hpcflow.report.pace import Course, Expected

INTERVAL = 0.2
"""Seconds between two changes of what is shown."""
NOTES = 5
"""Messages that stay."""


def in_notebook() -> bool:
    """Whether this process is a notebook's kernel."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return hasattr(shell, "kernel")


class Cell:
    """Shows progress below a notebook's cell."""

    def __init__(self) -> None:
        self._course = Course()
        self._texts: dict[str, str] = {}
        self._notes: list[str] = []
        self._shown = float("-inf")
        self._handle: Any = None

    def start(self, stages: Sequence[Expected]) -> None:
        """Show every stage."""
        self._course.start(stages)
        for name, total, _ in stages:
            self._texts[name] = f"0/{total:,} blocks"
        self._show(at_once=True)

    def stage(self, name: str, total_blocks: int, done: int = 0) -> None:
        """Start its clock."""
        self._course.stage(time.monotonic(), name, total_blocks, done)

    def block(
        self, name: str, done: int, bytes_read: int, bytes_written: int, failures: int, *, memory: int = 0
    ) -> None:
        """Move its bar on."""
        pace = self._course.block(time.monotonic(), name, done, bytes_read, bytes_written)
        self._texts[name] = pace.describe(failures, memory)
        self._show()

    def note(self, text: str) -> None:
        """Show it below the bars."""
        self._notes.append(text)
        self._show(at_once=True)

    def end(self, report: Any) -> None:  # noqa: ARG002
        """Show how it stands at the end."""
        self._show(at_once=True)

    def _show(self, *, at_once: bool = False) -> None:
        now = time.monotonic()
        if not at_once and now - self._shown < INTERVAL:
            return
        from IPython.display import HTML, display  # noqa: PLC0415  (a kernel has it)

        self._shown = now
        if self._handle is None:
            self._handle = display(HTML(self.html()), display_id=True)
        else:
            self._handle.update(HTML(self.html()))

    def html(self) -> str:
        """What is shown."""
        rows = [
            f"<tr><td style='text-align:left'>{escape(name)}</td>"
            f"<td><progress value='{pace.done}' max='{max(pace.total, 1)}'></progress></td>"
            f"<td style='text-align:left'>{escape(self._texts.get(name, ''))}</td></tr>"
            for name, pace in self._course.paces.items()
        ]
        notes = "".join(
            f"<div>{escape(text)}</div>" for text in [self._course.describe(), *self._notes[-NOTES:]] if text
        )
        return f"<table>{''.join(rows)}</table>{notes}"

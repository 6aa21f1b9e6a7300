"""What can go wrong, and where in the flow it did.

::

    HpcflowError
    ├── FlowError (ValueError)       the flow or the command line is wrong; holds every Fault; exit code 2
    ├── Mismatch (ValueError)        one parameter or input does not fit; becomes a Fault
    ├── BadItem (ValueError)         one item of a source cannot be read; can be quarantined
    ├── MissingPackage (ImportError) an optional package is not installed
    └── RunError (RuntimeError)      the run failed and can be resumed; exit code 1
        ├── BlockError               one block failed for good
        └── WorkerLost               the process that computed it died
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass

WIDTH = 160
"""The longest line of a flow that a message quotes whole; of a longer one it shows a part."""


@dataclass(frozen=True)
class Location:
    """A place in a flow file; lines and columns count from 1."""

    file: str
    line: int
    """0 where there are no lines: the command line, or a file that cannot be read."""
    column: int
    text: str = ""
    """The line itself, without its line break."""

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}" if self.line else self.file

    @property
    def excerpt(self) -> str:
        """The line, a gutter before it, and a caret under the column."""
        text, before = self.text, self.column - 1
        if len(text) > WIDTH:
            start = max(0, before - WIDTH // 2)
            text, before = text[start : start + WIDTH], before - start
        # Tabs are kept and wide letters count twice, so that the caret stands under its column.
        lead = "".join("\t" if c == "\t" else " " * _cells(c) for c in text[:before])
        gutter = f"{self.line or '':>5} | "
        return f"{gutter}{text}\n{'| ':>{len(gutter)}}{lead}^"


def _cells(character: str) -> int:
    """How many columns of a terminal a character takes."""
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong with a flow, where it stands, and what to do."""

    location: Location
    message: str
    """What was expected, what was found."""
    hint: str = ""
    """What to do: a suggestion, set apart from the message."""
    severity: str = "error"

    def __str__(self) -> str:
        lines = [f"{self.location}: {self.severity}: {self.message}"]
        if self.location.text:
            lines.append(self.location.excerpt)
        if self.hint:
            lines.append(f"  hint: {self.hint}")
        return "\n".join(lines)


class HpcflowError(Exception):
    """Anything that hpcflow raises on purpose."""


class FlowError(HpcflowError, ValueError):
    """The flow or the command line is wrong; every fault found is in `faults`."""

    def __init__(self, *faults: Fault) -> None:
        super().__init__(*faults)
        self.faults = faults

    def __str__(self) -> str:
        return "\n".join(str(fault) for fault in self.faults)


class Mismatch(HpcflowError, ValueError):
    """A parameter or an input does not fit; `parameter` names it where there is one."""

    def __init__(self, message: str, *, parameter: str | None = None, hint: str = "") -> None:
        super().__init__(message, parameter, hint)
        self.parameter = parameter
        self.hint = hint

    def __str__(self) -> str:
        return str(self.args[0])

    def __reduce__(self) -> tuple[object, ...]:
        return _mismatch, self.args


def _mismatch(message: str, parameter: str | None, hint: str) -> Mismatch:
    return Mismatch(message, parameter=parameter, hint=hint)


class BadItem(HpcflowError, ValueError):
    """One item of a source (a photo, a file of a list) cannot be read."""

    def __init__(self, item: str, reason: str) -> None:
        super().__init__(item, reason)
        self.item = item
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.item}: {self.reason}"


class MissingPackage(HpcflowError, ImportError):
    """An optional package is not installed; the message says how to get it."""


class RunError(HpcflowError, RuntimeError):
    """The run failed; what is finished stays."""


class BlockError(RunError):
    """One block failed for good: says the flow's line, the step, the block and the file."""


class WorkerLost(RunError):
    """A task's worker process died: nothing the task raised."""

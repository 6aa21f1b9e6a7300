"""Faults on their way to being reported together, and the suggestions that go with them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from difflib import get_close_matches

from hpcflow.errors import Fault, FlowError, Location
from hpcflow.secrets import redact

MOST = 200
"""How many faults are reported; nobody reads more, and a hostile file must not fill a disk."""
COMPARISONS = 20_000
"""How many names are compared for suggestions, all told."""


def _redacted(place: Location) -> Location:
    """The place with credentials struck out of its line; the column still points at what it pointed at."""
    text = redact(place.text)
    if text == place.text:
        return place
    return replace(place, text=text, column=len(redact(place.text[: place.column - 1])) + 1)


class Faults:
    """Every fault found so far."""

    def __init__(self) -> None:
        self.cause: Exception | None = None
        self._all: list[Fault] = []
        self._dropped = False
        self._comparisons = COMPARISONS

    def error(self, location: Location, message: str, hint: str = "") -> None:
        """Something that must be changed."""
        self._add(Fault(_redacted(location), redact(message), redact(hint)))

    def warning(self, location: Location, message: str, hint: str = "") -> None:
        """Something that is probably not meant."""
        self._add(Fault(_redacted(location), redact(message), redact(hint), severity="warning"))

    def _add(self, fault: Fault) -> None:
        if self.full:
            self._dropped = True
        else:
            self._all.append(fault)

    def suggest(self, word: object, names: Iterable[object]) -> str:
        """``did you mean `gaussian`?``, or nothing where no name is near."""
        pool = [str(name) for name in names]
        if not isinstance(word, str) or len(word) > 64 or len(pool) > self._comparisons:
            return ""
        self._comparisons -= len(pool)
        folded = {name.casefold(): name for name in reversed(pool)}
        near = get_close_matches(word.strip().casefold(), folded, n=1, cutoff=0.6)
        return f"did you mean `{folded[near[0]]}`?" if near else ""

    @property
    def full(self) -> bool:
        """Whether no more faults are taken."""
        return len(self._all) >= MOST

    @property
    def wrong(self) -> bool:
        """Whether any of them is an error."""
        return any(fault.severity == "error" for fault in self._all)

    def sorted(self) -> tuple[Fault, ...]:
        """Each fault once, in the order of the file."""
        unique = dict.fromkeys(self._all)
        ordered = sorted(unique, key=lambda fault: (fault.location.line, fault.location.column))
        if self._dropped:
            last = ordered[-1]
            where = Location(last.location.file, 0, 1)
            ordered.append(Fault(where, "more faults are not shown", severity=last.severity))
        return tuple(ordered)

    def check(self) -> None:
        """Raise every fault found so far, if one of them is an error."""
        if self.wrong:
            raise FlowError(*self.sorted()) from self.cause

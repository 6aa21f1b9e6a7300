"""YAML text to a tree of values, each with its place in the file: a flow, or the profile of a cluster.

It is plain data: no tags, anchors, aliases, merge keys or second documents; at most
`MOST_BYTES`, `MOST_LEVELS` and `MOST_VALUES`. Scalars follow the core schema of YAML 1.2. The
parser's events are read one by one and the limits held on the way, so that a hostile file costs
no more than a large one.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import yaml

from hpcflow.errors import Fault, FlowError, Location, Mismatch
from hpcflow.files import regular_file
from hpcflow.scalars import Scalar, found, resolve, short
from hpcflow.text.faults import Faults
from hpcflow.text.syntax import (
    MOST_LEVELS,
    NO_ANCHORS,
    NO_DEEPER,
    NO_DIRECTIVES,
    NO_START,
    NO_TAGS,
    ONE_DOCUMENT,
    explain,
)

MOST_BYTES = 2**20
MOST_VALUES = 20_000
LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""Only its events are used; libyaml's where PyYAML was built with it."""

BREAKS = re.compile(r"\r\n|\r|\n")
YAML_1_2, START = re.compile(r"%YAML +1\.2 *( #.*)?"), re.compile(r"---(\s|$)")
# What YAML does not print, the breaks that only some programs see, and marks that make a line
# look like another.
UNWANTED = re.compile(
    "[^\t\n\r\x20-\x7e\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]|[\ufeff\u2028\u2029\u202a-\u202e\u2066-\u2069]"
)


@dataclass(frozen=True)
class Leaf:
    """A scalar."""

    value: Scalar
    location: Location
    plain: bool = True
    """Whether it stands without quotes."""
    broken: bool = False
    """Whether a fault is already reported for it: its value means nothing."""


@dataclass(frozen=True)
class Items:
    """A list."""

    values: Sequence[Value]
    location: Location


@dataclass(frozen=True)
class Table:
    """A mapping."""

    values: Mapping[str | int, Value]
    keys: Mapping[str | int, Location]
    location: Location
    partial: bool = False
    """Whether entries are left out, each for a fault that is reported already."""


Value = Leaf | Items | Table


def read(file: str, what: str, faults: Faults, opener: Callable[[str], int] = regular_file) -> str:
    """The text of a file that is to hold this: ``a flow``, ``a profile``; `opener` may refuse it by a `Mismatch`.

    Raises
    ------
    FlowError
        Where there is none to read.
    """
    text = None
    try:
        with os.fdopen(opener(file), "rb") as opened:
            text = decode(opened.read(MOST_BYTES + 1), file, faults)
    except Mismatch as error:
        faults.error(Location(file, 0, 1), str(error), error.hint)
    except OSError as error:
        reason = error.strerror or str(error)
        hint = "" if os.path.isabs(file) else f"looked in `{os.getcwd()}`"  # noqa: PTH109, PTH117  (as text)
        faults.error(Location(file, 0, 1), f"expected {what} to read, found {reason[:1].lower() + reason[1:]}", hint)
    faults.check()
    assert text is not None
    return text


def decode(data: bytes, file: str, faults: Faults) -> str | None:
    """The text of a file's bytes; `None` where it is none."""
    if len(data) > MOST_BYTES:
        faults.error(Location(file, 0, 1), f"expected at most {MOST_BYTES} bytes, found a larger file")
        return None
    if b"\0" in data:
        faults.error(Location(file, 0, 1), "expected a text file in UTF-8, found a binary one")
        return None
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = BREAKS.split(data[: error.start].decode("utf-8-sig", errors="replace"))
        line = BREAKS.split(data.decode("utf-8-sig", errors="replace"))[len(before) - 1]
        place = Location(file, len(before), len(before[-1]) + 1, line)
        faults.error(place, f"expected UTF-8, found the byte 0x{data[error.start]:02x}", "save the file as UTF-8")
        return None


def parse(text: str, file: str, faults: Faults) -> Value | None:
    """The tree of a YAML text; `None` where there is no telling what it means.

    Parameters
    ----------
    text : str
        The whole file.
    file : str
        Its name in messages.
    faults : Faults
        Takes every fault found.
    """
    if len(text) > MOST_BYTES:
        faults.error(Location(file, 0, 1), f"expected at most {MOST_BYTES} bytes, found a larger file")
        return None
    lines = BREAKS.split(text)
    cleaned = _clean(lines, file, faults)
    if cleaned is None:
        return None
    return _Builder(lines, file, faults).build(cleaned)


def parse_value(text: str, name: str = "") -> Any:
    """The value of ``-p name=text``: a number, text, true, false, null, a list or a mapping.

    Only text that opens with a bracket or a quote is read as YAML; anything else is one plain
    scalar, so that paths, globs and URLs need no quotes.

    Raises
    ------
    FlowError
        Where it is none.
    """
    shown = command_line(name, text)
    faults = Faults()
    stripped = text.strip()
    if stripped[:1] not in ("[", "{", '"', "'"):
        try:
            return resolve(stripped)
        except ValueError as error:
            faults.error(shown, str(error))
            faults.check()
    found = parse(stripped, "command line", faults)
    if faults.wrong:
        # The columns are those of the value alone; the message is what matters here.
        said = ((fault.message.replace("of the file", "of the value"), fault.hint) for fault in faults.sorted())
        raise FlowError(*(Fault(shown, message, hint) for message, hint in said))
    return plain(found)


def command_line(name: str, text: str) -> Location:
    """The place of an option ``-p name=text``."""
    return Location("command line", 0, 4, f"-p {name}={text}" if name else f"-p {text}")


def plain(value: Value | None) -> Any:
    """The value without its places; `None` for none."""
    if isinstance(value, Table):
        return {key: plain(one) for key, one in value.values.items()}
    if isinstance(value, Items):
        return [plain(one) for one in value.values]
    return None if value is None else value.value


def _clean(lines: Sequence[str], file: str, faults: Faults) -> str | None:
    """The text without tabs; `None` where it holds what would mislead the parser."""
    go_on = _opens(lines, file, faults)
    cleaned = []
    for number, line in enumerate(lines, start=1):
        unwanted = UNWANTED.search(line)
        if unwanted:
            place = Location(file, number, unwanted.start() + 1, UNWANTED.sub("\ufffd", line))
            faults.error(place, f"expected no control characters, found U+{ord(unwanted[0]):04X}")
            go_on = False
        if "\t" in line and not line.lstrip().startswith("#"):
            column = line.index("\t")
            faults.error(Location(file, number, column + 1, line), "expected spaces, found a tab", _tab_hint(line))
            go_on = go_on and bool(line[:column].strip())
        cleaned.append(line.replace("\t", " "))
        if faults.full:
            return None
    return "\n".join(cleaned) if go_on else None


def _opens(lines: Sequence[str], file: str, faults: Faults) -> bool:
    """Whether the text opens with no directive, or with that of YAML 1.2 and the `---` that belongs to it."""
    opening = list(islice((i for i, line in enumerate(lines) if line.split("#")[0].strip()), 2))
    if not opening or not lines[opening[0]].startswith("%"):
        return True
    if not YAML_1_2.fullmatch(lines[opening[0]]):
        at, said = opening[0], NO_DIRECTIVES
    elif not START.match(lines[opening[-1]]):
        at, said = opening[-1], NO_START
    else:
        return True
    faults.error(Location(file, at + 1, 1, lines[at]), *said)
    return False


def _tab_hint(line: str) -> str:
    indents = not line[: line.index("\t")].strip()
    return "indent with spaces" if indents else 'use spaces, or write `\\t` inside "…"'


@dataclass
class _Open:
    """A list or mapping whose end has not come yet."""

    location: Location
    is_table: bool
    values: list[Value] = field(default_factory=list)
    table: dict[str | int, Value] = field(default_factory=dict)
    keys: dict[str | int, Location] = field(default_factory=dict)
    key: str | int | None = None
    """The key whose value comes next."""
    skip: bool = False
    """Whether the value that comes next has no key to go under."""
    partial: bool = False

    @property
    def wants_key(self) -> bool:
        return self.is_table and self.key is None and not self.skip

    def put(self, value: Value) -> None:
        if not self.is_table:
            self.values.append(value)
        elif self.key is not None:
            self.table[self.key] = value
        self.key, self.skip = None, False

    def close(self) -> Value:
        if self.is_table:
            return Table(self.table, self.keys, self.location, self.partial)
        return Items(self.values, self.location)


class _Builder:
    """Builds the tree from events, with a stack of its own instead of recursion."""

    def __init__(self, lines: Sequence[str], file: str, faults: Faults) -> None:
        self.lines = lines
        self.file = file
        self.faults = faults
        self.stack: list[_Open] = []
        self.root: Value | None = None
        self.count = 0

    def place(self, line: int, column: int) -> Location:
        line = min(line, len(self.lines) - 1)
        return Location(self.file, line + 1, min(column, len(self.lines[line])) + 1, self.lines[line])

    def build(self, text: str) -> Value | None:
        loader = LOADER(text)
        try:
            while loader.check_event():
                if not self.take(loader.get_event()):
                    return None
        except yaml.MarkedYAMLError as error:
            fault = explain(error, self.lines, self.place)
            self.faults.error(fault.location, fault.message, fault.hint)
            return None
        finally:
            loader.dispose()
        return self.root

    def take(self, event: yaml.Event) -> bool:
        """Take one event; whether to go on."""
        mark = event.start_mark
        here = self.place(mark.line, mark.column) if mark else self.place(0, 0)
        if isinstance(event, yaml.DocumentStartEvent):
            return self.document(here)
        if isinstance(event, yaml.CollectionEndEvent):
            self.put(self.stack.pop().close())
        elif isinstance(event, yaml.NodeEvent):
            return self.node(event, here)
        return True

    def document(self, here: Location) -> bool:
        if self.root is not None:
            self.faults.error(here, *ONE_DOCUMENT)
            return False
        return True

    def node(self, event: yaml.NodeEvent, here: Location) -> bool:
        self.count += 1
        if self.count > MOST_VALUES:
            self.faults.error(here, f"expected at most {MOST_VALUES} values in a file, found more")
            return False
        if event.anchor is not None:
            self.faults.error(here, *NO_ANCHORS)
        if isinstance(event, yaml.ScalarEvent):
            self.scalar(event, here)
        elif isinstance(event, yaml.CollectionStartEvent):
            return self.open(event, here)
        else:
            self.put(Leaf(None, here, broken=True))
        return True

    def open(self, event: yaml.CollectionStartEvent, here: Location) -> bool:
        if event.tag is not None:
            self.faults.error(here, *NO_TAGS)
        if len(self.stack) == MOST_LEVELS:
            self.faults.error(here, *NO_DEEPER)
            return False
        if self.stack and self.stack[-1].wants_key:
            self.faults.error(here, "expected text as a key, found a list or a mapping")
            # Its end would be taken for the value: what follows cannot be told apart.
            return False
        self.stack.append(_Open(here, isinstance(event, yaml.MappingStartEvent)))
        return True

    def scalar(self, event: yaml.ScalarEvent, here: Location) -> None:
        unquoted = event.style is None or event.style == ""
        broken = event.tag is not None
        value: Scalar = event.value
        if broken:
            self.faults.error(here, *NO_TAGS)
        elif unquoted:
            try:
                value = resolve(event.value)
            except ValueError as error:
                self.faults.error(here, str(error))
                broken = True
        elif unwanted := UNWANTED.search(event.value):  # written as an escape, which no look at the lines finds
            self.faults.error(here, f"expected no control characters, found U+{ord(unwanted[0]):04X}")
            broken = True
        leaf = Leaf(value, here, plain=unquoted, broken=broken)
        if self.stack and self.stack[-1].wants_key:
            self.key(leaf)
        else:
            self.put(leaf)

    def key(self, leaf: Leaf) -> None:
        table, key = self.stack[-1], leaf.value
        was = table.partial
        table.skip = table.partial = True
        if leaf.broken:
            return
        if key == "<<" and leaf.plain:
            self.faults.error(leaf.location, "expected no merge keys (`<<`)", "write the entries out")
        elif isinstance(key, bool) or not isinstance(key, (str, int)):
            self.faults.error(leaf.location, f"expected text as a key, found {found(key)}", "put it in quotes")
        elif key in table.keys:
            table.partial = was
            hint = f"the first one stands at line {table.keys[key].line}, column {table.keys[key].column}"
            self.faults.error(leaf.location, f"expected each key once, found `{short(key)}` again", hint)
        else:
            table.keys[key] = leaf.location
            table.key, table.skip, table.partial = key, False, was

    def put(self, value: Value) -> None:
        if self.stack:
            self.stack[-1].put(value)
        else:
            self.root = value

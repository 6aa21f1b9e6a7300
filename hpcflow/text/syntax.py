"""What the YAML parser stumbled over, in words for someone who has never read the YAML standard.

libyaml and PyYAML word the same mistake differently and sometimes blame neighbouring columns.
Both are recognised by fragments that they share, so a file gives the same message with either.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import yaml

from hpcflow.errors import Fault, Location

Place = Callable[[int, int], Location]
"""From a line and a column that count from 0 to a location."""

QUOTE_IT = 'put text that holds special characters in quotes: "…"'
NO_ANCHORS = ("expected no anchors (`&name`) and no aliases (`*name`)", "write the value out, or make it a parameter")
NO_TAGS = ("expected no tags (`!name`)", "only plain values are read; " + QUOTE_IT)
NO_DIRECTIVES = ("expected no directive (a line that starts with `%`) but `%YAML 1.2`, at the top", "")
NO_START = ("expected a line of `---` behind `%YAML 1.2`", "or leave both out")
MOST_LEVELS = 32
NO_DEEPER = (f"expected at most {MOST_LEVELS} levels of nesting, found more", "")
ONE_DOCUMENT = ("expected one document in a file, found another", "put it into a file of its own")

# (part of the problem, part of the context, message, hint); `{found}` is the text at the mark.
AT_PROBLEM: Sequence[tuple[str, str, str, str]] = [
    # libyaml looks ahead for a `:`, and from 0.2.6 on gives up after a thousand levels.
    ("nesting depth", "", *NO_DEEPER),
    # Only PyYAML's own parser, where libyaml is missing: the standard (and libyaml) take `{a:[1]}`.
    ("found unexpected ':'", "", "expected a space behind `:`", ""),
    ("", "scanning an anchor", *NO_ANCHORS),
    ("", "scanning an alias", *NO_ANCHORS),
    ("", "a tag", *NO_TAGS),
    ("", "directive", *NO_DIRECTIVES),
    ("directive", "", *NO_DIRECTIVES),
    ("incompatible YAML document", "", *NO_DIRECTIVES),
    (
        "mapping values are not allowed",
        "",
        "expected no `:` here",
        "check the indentation and the line above; put text that holds `: ` in quotes",
    ),
    (
        "sequence entries are not allowed",
        "",
        "expected no `- ` here",
        "start a list on a line of its own, or write it as [a, b]",
    ),
    ("cannot start any token", "", "expected a value, found {found}", QUOTE_IT),
    ("node content", "", "expected a value, found {found}", QUOTE_IT),
    ("document start", "", "expected the end of the file, found {found}", "all of it is complete before this"),
    (
        "",
        "block scalar",
        "expected the line to end after `|` or `>`, found {found}",
        "the text starts on the next line",
    ),
    (
        "",
        "block mapping",
        "expected a key in the column of the other keys, found {found}",
        "check the indentation; " + QUOTE_IT,
    ),
    ("", "block collection", "expected `- ` in the column of the list's other items, found {found}", ""),
]


def explain(error: yaml.MarkedYAMLError, lines: Sequence[str], place: Place) -> Fault:
    """The fault behind a parser's error."""
    problem, context = error.problem or "", error.context or ""
    at = _mark(error.problem_mark or error.context_mark, lines)
    opened = _mark(error.context_mark or error.problem_mark, lines)
    if "could not find expected ':'" in problem:
        return Fault(place(*opened), "expected `:` after a key", "write `key: value`, with a space after the colon")
    if "quoted scalar" in context:
        return _in_quotes(problem, at, opened, lines, place)
    if "flow sequence" in context or "flow mapping" in context:
        return _in_brackets(context, at, opened, lines, place)
    for in_problem, in_context, message, hint in AT_PROBLEM:
        if in_problem in problem and in_context in context:
            return Fault(place(*at), message.format(found=_found(at, lines)), hint)
    return Fault(place(*at), "expected YAML, found something else", QUOTE_IT)


def _mark(mark: yaml.Mark | None, lines: Sequence[str]) -> tuple[int, int]:
    """The place of a mark; one after the last line stands at that line's end."""
    if mark is None:
        return 0, 0
    if mark.line < len(lines):
        return mark.line, mark.column
    return len(lines) - 1, len(lines[-1])


def _in_quotes(problem: str, at: tuple[int, int], opened: tuple[int, int], lines: Sequence[str], place: Place) -> Fault:
    line, column = at
    if "escape" in problem or "hex" in problem:
        # One parser points at the backslash, the other behind it.
        column = max(lines[line].rfind("\\", 0, column + 1), 0)
        hint = "write `\\\\` for a backslash, or use single quotes"
        return Fault(place(line, column), f"expected an escape such as `\\n`, found `{lines[line][column:][:2]}`", hint)
    return Fault(place(*opened), "expected a closing quote, found none in the rest of the file")


def _in_brackets(
    context: str, at: tuple[int, int], opened: tuple[int, int], lines: Sequence[str], place: Place
) -> Fault:
    bracket, closing, what = ("[", "]", "list") if "sequence" in context else ("{", "}", "mapping")
    if not any(lines[at[0]][at[1] :].strip() or line.strip() for line in lines[at[0] + 1 :] or [""]):
        return Fault(place(*opened), f"expected `{closing}` to close this {what}, found the end of the file")
    hint = f"the `{bracket}` stands at line {opened[0] + 1}, column {opened[1] + 1}"
    return Fault(place(*at), f"expected `,` or `{closing}`, found {_found(at, lines)}", hint)


def _found(at: tuple[int, int], lines: Sequence[str]) -> str:
    """What stands at a place: the word or sign there."""
    line, column = at
    rest = lines[line][column:]
    if not rest.strip():
        return "the end of the file" if line >= len(lines) - 1 else "the end of the line"
    word = rest.split()[0]
    if not word[0].isalnum():
        return f"`{word[0]}`"
    cut = next((i for i, c in enumerate(word) if c in ",:[]{}"), len(word))
    return f"`{word[:cut][:40]}`"

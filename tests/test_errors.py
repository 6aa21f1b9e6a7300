"""How a fault looks."""

import pickle

from hpcflow.errors import Fault, FlowError, Location, Mismatch


def caret(location):
    """The character above the caret, counted in a terminal's columns."""
    line, below = Fault(location, "m").location.excerpt.split("\n")
    return line, below.index("^")


def test_the_caret_stands_under_its_column():
    line, at = caret(Location("f", 3, 4, "ab cd"))
    assert line[at] == "c"


def test_wide_letters_count_twice_and_marks_not_at_all():
    line, at = caret(Location("f", 1, 3, "日本x"))
    assert at == line.index("日") + 4
    line, at = caret(Location("f", 1, 3, "e\u0301x"))
    assert at == line.index("e") + 1


def test_a_long_line_is_quoted_in_part():
    text = "a" * 5000 + "HERE" + "b" * 5000
    line, at = caret(Location("f", 7, 5001, text))
    assert len(line) < 200
    assert line[at:].startswith("HERE")


def test_places_without_lines():
    assert str(Fault(Location("command line", 0, 4, "-p a=1"), "m")) == (
        "command line: error: m\n      | -p a=1\n      |    ^"
    )
    assert str(Fault(Location("x.yaml", 0, 1), "m")) == "x.yaml: error: m"


def test_errors_pickle():
    fault = Fault(Location("f", 1, 1, "x"), "m", "h")
    assert pickle.loads(pickle.dumps(FlowError(fault))).faults == (fault,)
    again = pickle.loads(pickle.dumps(Mismatch("m", parameter="p", hint="h")))
    assert (str(again), again.parameter, again.hint) == ("m", "p", "h")

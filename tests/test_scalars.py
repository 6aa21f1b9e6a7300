"""Plain scalars of YAML 1.2."""

import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpcflow.scalars import found, resolve, short, show
from hpcflow.text.document import UNWANTED, parse, parse_value, plain
from hpcflow.text.faults import Faults


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"),
        ("yes", "yes"),
        ("on", "on"),
        ("012", 12),
        ("+12", 12),
        ("-0", 0),
        ("0o17", 15),
        ("0x1F", 31),
        ("-0x1F", "-0x1F"),
        ("0b11", "0b11"),
        ("1_000", "1_000"),
        ("12:30", "12:30"),
        ("2026-01-02", "2026-01-02"),
        ("1e-3", 0.001),
        ("1E3", 1000.0),
        (".5", 0.5),
        ("1.", 1.0),
        (".", "."),
        ("1e", "1e"),
        (".inf", math.inf),
        ("-.INF", -math.inf),
        ("inf", "inf"),
        ("nan", "nan"),
        ("true", True),
        ("TRUE", True),
        ("tRUE", "tRUE"),
        ("false", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("None", "None"),
        ("१२", "१२"),  # Devanagari digits: int() would take them
    ],
)
def test_resolve(text, value):
    resolved = resolve(text)
    assert resolved == value
    assert type(resolved) is type(value)


def test_nan():
    assert math.isnan(resolve(".nan"))


def test_an_endless_integer_is_refused():
    with pytest.raises(ValueError, match="expected an integer of at most 100 digits, found one of 100000"):
        resolve("9" * 100_000)


# What a flow may hold: no control characters, however they are written.
TEXT = st.characters(exclude_categories=["Cs"]).filter(lambda one: not UNWANTED.search(one))
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**90), 10**90)
    | st.floats()
    | st.text(TEXT)
    | st.sampled_from(
        ["no", "~", "0x1F", "1e-3", "- a", "a: b", "a #b", "*x", "&x", "'", '"', "---", "\t", ".inf", "012"]
    ),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abc_", min_size=1), inner, max_size=3),
    max_leaves=8,
)


def same(first, second):
    """Equal in value and type, NaN equal to NaN."""
    if isinstance(first, float) and isinstance(second, float):
        return first == second or (math.isnan(first) and math.isnan(second))
    if isinstance(first, list):
        return isinstance(second, list) and len(first) == len(second) and all(map(same, first, second))
    if isinstance(first, dict):
        return (
            isinstance(second, dict) and list(first) == list(second) and all(same(first[k], second[k]) for k in first)
        )
    return type(first) is type(second) and first == second


@settings(deadline=None, max_examples=300)
@given(values)
def test_what_is_shown_reads_as_itself(value):
    text = show(value)
    assert "\n" not in text
    faults = Faults()
    tree = parse(f"[{text}]", "f", faults)
    assert not faults.wrong
    assert same([value], plain(tree))
    assert show(plain(tree)) == f"[{text}]"


@settings(deadline=None, max_examples=300)
@given(st.text(TEXT, max_size=12))
def test_plain_scalars_read_alike_with_and_without_yaml(text):
    faults = Faults()
    tree = parse(show(text), "f", faults)
    assert not faults.wrong
    assert plain(tree) == text


def test_command_line_values():
    assert parse_value("3") == 3
    assert parse_value(" 1e-3 ") == 0.001
    assert parse_value("data/*.jpg") == "data/*.jpg"
    assert parse_value("s3://bucket/x #1: y") == "s3://bucket/x #1: y"
    assert parse_value("[y, x]") == ["y", "x"]
    assert parse_value("{anon: true}") == {"anon": True}
    assert parse_value('"3"') == "3"
    assert parse_value("'it''s'") == "it's"
    assert parse_value("") is None


@pytest.mark.parametrize("text", ["[y, x", "{a: b: c}", '"a', "[*a]", "[!t x]", "9" * 5000])
def test_a_faulty_command_line_value_names_its_option(text):
    with pytest.raises(ValueError, match=r"^command line: error: expected") as caught:
        parse_value(text, "size")
    assert "-p size=" in str(caught.value)


def test_found_is_short_and_unambiguous():
    assert found("reflekt") == "`reflekt`"
    assert found("3") == '`"3"`'
    assert found(3) == "3"
    assert found(None) == "null"
    assert len(found("x" * 10**6)) < 70
    assert len(short([["x" * 1000] * 1000] * 1000)) <= 60
    assert len(short(10**5000)) <= 60


def test_json_is_read_as_it_is():
    value = {"a": [1, -2.5, 1e300, True, None, "", "no", 'é\n"\\/'], "b": {"c": []}}
    assert parse_value(json.dumps(value)) == value

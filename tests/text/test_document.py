"""YAML text to located trees, with either parser, in bounded time."""

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from hpcflow.text import document
from hpcflow.text.document import decode, parse, plain
from hpcflow.text.faults import MOST, Faults
from tests.timing import cpu_within

PARSERS = [yaml.SafeLoader, *([yaml.CSafeLoader] if yaml.__with_libyaml__ else [])]


def read(text):
    """The plain value, and every message."""
    faults = Faults()
    tree = parse(text, "f.yaml", faults)
    return None if tree is None else plain(tree), [str(fault) for fault in faults.sorted()]


@pytest.fixture(params=PARSERS, ids=lambda parser: parser.__name__)
def parser(request, monkeypatch):
    monkeypatch.setattr(document, "LOADER", request.param)


@pytest.mark.usefixtures("parser")
class TestEitherParser:
    def test_places(self):
        tree = parse('a: 1\r\nb:\r\n  - "x"\r\n  - {c: ü, d: 012}\r\n', "f.yaml", Faults())
        assert plain(tree) == {"a": 1, "b": ["x", {"c": "ü", "d": 12}]}
        inner = tree.values["b"].values[1]
        assert str(inner.values["d"].location) == "f.yaml:4:15"
        assert inner.values["d"].location.text == "  - {c: ü, d: 012}"
        assert str(inner.keys["d"]) == "f.yaml:4:12"

    def test_block_text_and_quotes(self):
        value, faults = read("a: |\n  x\n  y\nb: >-\n  x\n  y\nc: 'it''s'\nd: \"\\u00e9\\t\"\n")
        assert value == {"a": "x\ny\n", "b": "x y", "c": "it's", "d": "é\t"}
        assert not faults

    def test_a_byte_order_mark_is_no_part_of_the_text(self):
        assert decode(b"\xef\xbb\xbfa: 1", "f", Faults()) == "a: 1"

    def test_tabs_in_comments_are_left_alone(self):
        assert read("a: 1\n\t# indented\n") == ({"a": 1}, [])

    def test_all_faults_of_the_tree_at_once(self):
        _, faults = read("a: !t 1\nb: &x 2\nc: 3\nc: 4\n<<: 5\n1.5: 6\nd: " + "9" * 200)
        assert [fault.split(":")[1] for fault in faults] == ["1", "2", "4", "5", "6", "7"]

    @pytest.mark.parametrize(
        "text",
        [
            "---\na: 1", "%YAML 1.2\n---\na: 1", "# x\n\n%YAML  1.2 # y\n  # z\n--- # w\na: 1\n...\n",
            "\ufeff%YAML 1.2\r\n---\r\na: 1\r\n...\r\n# x", "--- {a: 1}",
        ],
    )  # fmt: skip
    def test_the_marks_of_one_document(self, text):
        assert read(decode(text.encode(), "f.yaml", Faults())) == ({"a": 1}, [])

    @pytest.mark.parametrize(
        ("text", "line", "said"),
        [
            ("%YAML 1.1\n---\na: 1", 1, "but `%YAML 1.2`"),
            ("%YAML 1.2x\n---\na: 1", 1, "but `%YAML 1.2`"),
            ("# x\n%TAG ! x\n---\na: 1", 2, "but `%YAML 1.2`"),
            ("%YAML 1.2\n%TAG ! x\n---\na: 1", 2, "a line of `---`"),
            ("%YAML 1.2\n\na: 1", 3, "a line of `---`"),
            ("%YAML 1.2", 1, "a line of `---`"),
            ("---\n---\na: 1", 2, "found another"),
            ("---\na: 1\n---\n", 3, "found another"),
            ("%YAML 1.2\n---\na: 1\n...\n%YAML 1.2\n---\na: 1\n", 5, "found another"),
            ("--- !t\na: 1", 1, "no tag"),
        ],
    )
    def test_other_marks_are_faults(self, text, line, said):
        _, faults = read(text)
        assert len(faults) == 1
        assert faults[0].startswith(f"f.yaml:{line}:")
        assert said in faults[0]

    def test_levels(self):
        assert read("[" * 32 + "]" * 32)[1] == []
        assert "at most 32 levels" in read("[" * 33 + "]" * 33)[1][0]
        assert "at most 32 levels" in read("[" * 100_000)[1][0]


BROKEN = [
    "a: [1, 2\nb: 3", "a: 'x\nb: 2", "a: b: c", "a:\n  - x\n b: 1", "a: @x", "a: `x", "a: *x", "a: {x: 1", "a: ]",
    "- a\nb: 1", 'a: "\\q"', 'a: "\\u12"', 'a: "\\x"', "key\nb: 1", "a: |x\n y", "a: >2x\n y", "a: %x",
    "%YAML 1.2\n---\na: 1", "%TAG ! x\n---\na: 1", "%x", "a: !!python/name:x y", "a: &x 1\nb: *x", "? [a]\n: 1",
    "{[a]: 1}", "a: 'x' y", "a: [1,2] x", 'a: "x\ny', "a: -", "a: - b", "a:\n  b: 1\n   c: 2", "a: |\n\tx", "a: ,",
    "a: [,]", "a: [1,,2]", "a: {,}", "--- a\n--- b", "a: 1\n...\nb: 2", "a: 1\n... x", "a: 'it's'", "a: !<x",
    "%YAML 1.2\na: 1", "%YAML 1.3\n---\na: 1", "%YAML 1.2\n---\na: 1\n%YAML 1.2\n---\nb: 1",
    "%YAML 1.2\n---\na: 1\n...\n%TAG ! x\n---\nb: 1", "---\n%YAML 1.2\n---\na: 1",
    "&a &b c", '"a": 1\n"b" 2', "a: 1\nfoo bar\nb: 2", "a:\n- x\n- y: 1\n  z", "{a: 1}}", "a: &\n", "a: *", ": x",
    "a: {b: c: d}", "x: {a: 1, b: {c: 2}", "a: [\n1,\n\n", "a: {'b':c}", "a: [a:1, b]",
]  # fmt: skip


@pytest.mark.skipif(not yaml.__with_libyaml__, reason="PyYAML was built without libyaml")
@pytest.mark.parametrize("text", BROKEN)
def test_both_parsers_say_the_same(text, monkeypatch):
    said = []
    for one in PARSERS:
        monkeypatch.setattr(document, "LOADER", one)
        said.append(read(text))
    assert said[0] == said[1]


@settings(deadline=None, max_examples=300)
@given(st.text("ab:,-[]{}\"'#&*!|>%@`? \n\t\\01.~<é\x07", max_size=40))
def test_any_text_gives_a_tree_or_a_fault(text):
    for one in PARSERS:
        faults = Faults()
        document.LOADER, before = one, document.LOADER
        try:
            tree = parse(text, "f.yaml", faults)
        finally:
            document.LOADER = before
        assert tree is not None or faults.wrong or not "".join(line.split("#")[0].strip() for line in text.splitlines())
        for fault in faults.sorted():
            assert fault.location.line <= text.count("\n") + text.count("\r") + 1


HOSTILE = {
    "brackets": "[" * 2**20,
    "braces": "{a: " * 2**18,
    "dashes": "- " * 2**19,
    "questions": "? " * 2**19,
    "items": "[" + "a," * (2**19 - 1),
    "lists": "[" + "[]," * (2**18),
    "lines": "- a\n" * 2**18,
    "keys": "a: b\n" * 2**17,
    "breaks": "\n" * 2**20,
    "comment": "#" * 2**20,
    "words": "x " * 2**19,
    "long key": "a" * (2**20 - 10) + ": 1",
    "open quote": '"' + "x" * (2**20 - 1),
    "anchors": "&a " * 2**18,
    "tags": "!a " * 2**18,
    "tabs": "\t" * 2**20,
    "tabs on lines": "a\t\n" * 2**18,
    "bells": "\x07" * 2**20,
    "bells on lines": "\x07\n" * 2**19,
    "billion laughs": "a: &a [x]\n" + "".join(f"{c}: &{c} [*a, *a, *a]\n" for c in "bcdefghijklmnop"),
    "digits": "a: " + "9" * (2**20 - 10),
    "fraction": "a: 1." + "9" * (2**20 - 10),
    "hex": "a: 0x" + "f" * (2**20 - 10),
    "spaces": "a: [" + " " * (2**20 - 10),
    "too large": "a" * (2**20 + 1),
}


@pytest.mark.timeout(20)
@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_text_costs_a_second_at_most(name):
    if not yaml.__with_libyaml__:
        pytest.skip("the Python parser reads about 0.1 MB a second")
    with cpu_within(1):
        _, messages = read(HOSTILE[name])
    assert len(messages) <= MOST + 1
    assert sum(map(len, messages)) < 10**6


def test_bytes_that_are_no_text():
    for data, message in [
        (b"a: \xff\xfe", "f:1:4: error: expected UTF-8, found the byte 0xff"),
        ("a: 1".encode("utf-16"), "f: error: expected a text file in UTF-8, found a binary one"),
        (b"\x93NUMPY\x01\x00", "f: error: expected a text file in UTF-8, found a binary one"),
        (b"a" * (2**20 + 1), "f: error: expected at most 1048576 bytes, found a larger file"),
    ]:
        faults = Faults()
        assert decode(data, "f", faults) is None
        assert str(faults.sorted()[0]).startswith(message)


def test_the_column_of_a_bad_byte_counts_letters():
    faults = Faults()
    decode("a: 1\nb: é".encode() + b"\xe9", "f", faults)
    assert str(faults.sorted()[0].location) == "f:2:5"

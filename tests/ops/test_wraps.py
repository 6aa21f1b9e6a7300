"""Integers that may leave their range: warned of before a run, with a remedy that is right; and nothing else."""

import ast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from hpcflow.cli import app
from hpcflow.meta import Meta
from hpcflow.ops.expr import names_in
from hpcflow.registry import get_op

OP = get_op("expr")
DTYPES = {"a": "uint16", "b": "uint16", "c": "uint8", "s": "int16", "i": "int32", "u": "uint32", "m": "bool", "x": "f4"}


def doubts(text):
    metas = [Meta((4,), DTYPES[name]) for name in names_in(expr=text)]
    return [(str(one), one.hint) for one in OP.doubtful(metas, {"expr": text})]


@pytest.mark.parametrize(
    ("text", "said", "remedy"),
    [
        ("a - b", "`a - b` is computed in uint16 and wraps below 0", "float32(a) - b"),
        ("x * (3 - a)", "`3 - a` is computed in uint16 and wraps below 0", "3 - float32(a)"),
        ("a + b", "`a + b` is computed in uint16 and wraps above 65535", "float32(a) + b"),
        ("c + 1", "`c + 1` is computed in uint8 and wraps above 255", "float32(c) + 1"),
        ("s**2", "`s**2` is computed in int16 and wraps above 32767", "float32(s) ** 2"),
        ("square(s)", "`square(s)` is computed in int16", "float32(s) * s"),
        ("s * (c + 0)", "`s * (c + 0)` is computed in int16 and wraps below", "float32(s) * (c + 0)"),
        ("subtract(u, u // 2)", "is computed in uint32 and wraps below 0", "float64(u) - (u // 2)"),
        ("int32(a) * b", "`int32(a) * b` is computed in int32 and wraps above 2147483647", "float64(int32(a)) * b"),
        ("-a + 0.0", "`-a` is computed in uint16 and wraps below 0", "-float32(a)"),
        ("abs(s)", "`abs(s)` is computed in int16 and wraps above 32767", "abs(float32(s))"),
        ("where(m, a, -1)", "`where(m, a, -1)` is computed in uint16 and wraps below 0", "where(m, float32(a), -1)"),
        ("where(a > b, b - a, a)", "`b - a` is computed in uint16", "float32(b) - a"),
    ],
)
def test_what_may_wrap_is_said_with_what_to_write(text, said, remedy):
    ((message, hint),) = doubts(text)
    assert said in message
    assert hint == f"write `{remedy}`"
    assert not doubts(remedy)


@pytest.mark.parametrize(
    "text",
    [
        "float32(a) - b",
        "(float32(a) - b) / (float32(a) + b)",
        "a / b - 1",
        "a - 0.5",
        "a // 2 + b // 2",
        "(a & 3) * 100 + c % 10",
        "a * (b > 3) - a * 0",
        "m * (c // 2) + (a > 3) * (m | m)",
        "where(a > b, a - b, b - a)",
        "where(a <= b, b - a, a - b)",
        "maximum(a, b) - minimum(a, b)",
        "a - minimum(a, b)",
        "a - a",
        "clip(c, 0, 99) * 2",
        "int32(a) - b",
        "int64(a) * b",
        "i * i + 1",
        "sqrt(a) - b",
        "c ^ c | c",
        "minimum(a, 100) * 600",
        "round(x) - 1 + 2j",
    ],
)
def test_what_cannot_wrap_is_not(text):
    assert doubts(text) == []


KINDS = [
    *("{} + {}", "{} - {}", "{} * {}", "{} // 3", "{} % 7", "{} & 15", "({})**2", "abs({})"),
    *("minimum({}, {})", "maximum({}, {})", "where(a > b, {}, {})", "clip({}, 1, 9)"),
]


def corners(name):
    limits = np.iinfo(DTYPES[name])
    return np.array([limits.min, 0, 1, 255, 9, limits.max]).astype(DTYPES[name])


@settings(deadline=None, max_examples=200)
@given(st.data())
def test_no_formula_without_a_warning_wraps(data):
    def part(depth):
        if depth == 0 or data.draw(st.integers(0, 3)) == 0:
            return data.draw(st.sampled_from(["a", "b", "c", "s", "1", "2", "7", "200"]))
        kind = data.draw(st.sampled_from(KINDS))
        return "(" + kind.format(*[part(depth - 1) for _ in range(kind.count("{}"))]) + ")"

    text = part(3)
    if not {node.id for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Name)} & {"a", "b", "c", "s"}:
        return
    try:
        found = doubts(text)
    except OverflowError:  # a number that the dtype cannot hold: NumPy refuses the formula
        return
    values = dict(zip("abcs", np.meshgrid(*map(corners, "abcs")), strict=True))
    if not found:
        names = names_in(expr=text)
        got = OP([values[n] for n in names], {"expr": text}, np)
        right = OP([values[n].astype("f8") for n in names], {"expr": text.replace("& 15", "% 16")}, np)
        np.testing.assert_array_equal(got, right, err_msg=text)


@pytest.mark.parametrize(
    ("name", "metas", "given", "warned"),
    [
        ("sobel", [Meta((4, 4), "u1")], {"axis": 0}, "`sobel` is computed in uint8 and wraps below 0"),
        ("sobel", [Meta((4, 4), "i4")], {"axis": 0}, ""),
        ("sobel", [Meta((4, 4), "f4")], {"axis": 0}, ""),
        ("laplace", [Meta((4, 4), "u2")], {"axes": (0, 1)}, "`laplace` is computed in uint16 and wraps below 0"),
        ("correlate", [Meta((4,), "u1")], {"weights": [0.5, 0.25, 0.25]}, ""),
        ("correlate", [Meta((4,), "u1")], {"weights": [1, 1]}, "computed in uint8 and wraps above 255"),
        ("matmul", [Meta((4, 4), "u1"), Meta((4, 4), "u1")], {}, "`matmul` is computed in uint8 and wraps above 255"),
        ("sum", [Meta((4, 4), "u1")], {"axis": (0,), "dtype": "uint8"}, "the sum is computed in uint8"),
        ("sum", [Meta((4, 4), "u1")], {"axis": (0,), "dtype": None}, ""),
        ("gaussian", [Meta((4, 4), "u1")], {}, ""),
        (
            "normalize",
            [Meta((4, 3), "u1")],
            {"mean": [0.485, 0.456, 0.4], "std": 0.2},
            "found those of values from 0 to 1",
        ),
    ],
)
def test_other_ops_say_it_too(name, metas, given, warned):
    assert warned in " ".join(str(one) for one in get_op(name).doubtful(metas, given)) or not warned
    assert bool(warned) == bool(get_op(name).doubtful(metas, given))


FLOW = """\
flow: f
sources: {a: {from: full, value: 3, dtype: uint16, shape: [64, 64]}}
steps:
  blur: {op: gaussian, of: a, sigma: 2}
  d: {op: expr, expr: "1.0 * (a - blur)"}
sinks: {d: {to: npy, of: d, path: d.npy}}
"""


@pytest.mark.parametrize("command", ["check", "plan"])
def test_check_and_plan_point_at_it(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "f.yaml").write_text(FLOW)
    result = CliRunner().invoke(app, [command, "f.yaml"])
    assert result.exit_code == 0
    assert (
        "f.yaml:5:31: warning: `a - blur` is computed in uint16 and wraps below 0\n"
        '    5 |   d: {op: expr, expr: "1.0 * (a - blur)"}\n'
        "      |                               ^\n"
        "  hint: write `float32(a) - blur`\n"
    ) in result.stderr

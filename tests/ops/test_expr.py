"""Formulas: equal to Python's and NumPy's own evaluation, and nothing else gets in."""

from __future__ import annotations

import contextlib
import pickle
import time
from textwrap import dedent

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpcflow.errors import Mismatch
from hpcflow.meta import Meta
from hpcflow.ops._functions import ALIASES, FUNCTIONS
from hpcflow.ops.expr import DEPTH, LENGTH, compiled, names_in, scratch
from hpcflow.registry import get_op
from hpcflow.spec.validate import loads

OP = get_op("expr")
NUMPY = {name: getattr(np, name) for name in FUNCTIONS} | {"pi": np.pi, "e": np.e, "inf": np.inf, "nan": np.nan}


def run(text, **arrays):
    return OP([arrays[name] for name in names_in(expr=text)], {"expr": text}, np)


def reference(text, arrays):
    with np.errstate(all="ignore"):
        return eval(text, {"__builtins__": {}, **NUMPY, **arrays})


def assert_same(text, arrays):
    got, expected = run(text, **arrays), np.asarray(reference(text, arrays))
    assert got.dtype == expected.dtype, text
    np.testing.assert_array_equal(got, expected, err_msg=text)


A = np.linspace(-2, 3, 12).reshape(3, 4)
ARRAYS = {"a": A, "b": A[::-1] * 2, "x": A.astype("f4"), "n": np.arange(12).reshape(3, 4), "m": A > 0}


@pytest.mark.parametrize(
    "text",
    [
        "a",
        "-a + b",
        "a * 2 - b / 3",
        "n // 5 % 3",
        "n ** 2",
        "2 ** n",
        "x ** 0.5 + 1",
        "x * pi + e",
        "a > 0",
        "(a > 0) & (b < 1) | ~m ^ m",
        "n & 6 | 1",
        "~n",
        "sqrt(a**2 + b**2)",
        "where(isnan(log(a)), -1, exp(b))",
        "where(m, x, 0.0)",
        "clip(a, -1, 1)",
        "round(a, 1) + round(b)",
        "minimum(a, inf) + maximum(b, -inf)",
        "hypot(x, 3)",
        "abs(real(a * 1j + b)) + imag(conj(a * 2j)) + angle(b + 0j)",
        "x * (1 / 3) * 10**3 * (2 < 3)",
        "sqrt(2) * x",
        "+a == a",
        "m & True",
        "  a\n  + b ",
    ],
)
def test_a_formula_equals_numpy_s(text):
    expected = np.asarray(reference(text.strip().replace("\n", " "), ARRAYS))
    got = run(text, **ARRAYS)
    assert got.dtype == expected.dtype
    np.testing.assert_array_equal(got, expected)


def test_comparisons_may_be_chained():
    a, b = ARRAYS["a"], ARRAYS["b"]
    np.testing.assert_array_equal(run("-1 < a <= 1.5 != b", **ARRAYS), (a > -1) & (a <= 1.5) & (b != 1.5))
    assert run("~False & m", **ARRAYS).dtype == bool


@pytest.mark.parametrize("name", [*FUNCTIONS])
def test_every_function_is_numpy_s(name):
    fewest, most = FUNCTIONS[name]
    integers = name.startswith("bitwise") or name == "invert"
    for count in range(fewest, most + 1):
        args = ["n" if integers else "a", "n" if integers else "2" if name == "round" else "b", "x"][:count]
        assert_same(f"{name}({', '.join(args)})", ARRAYS)


def test_names_of_the_array_api_standard():
    for alias, name in ALIASES.items():
        args = "a, b" if FUNCTIONS[name][1] == 2 else "a / 9"
        np.testing.assert_array_equal(run(f"{alias}({args})", **ARRAYS), run(f"{name}({args})", **ARRAYS))


LEAVES = st.sampled_from(["a", "b", "x", "n", "1", "2.5", "0", "3", "pi", "(-1)"])
TREES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(["+", "-", "*", "/", "//", "%", "<", "<=", "==", "!="]), inner).map(
            lambda t: f"({t[0]} {t[1]} {t[2]})"
        ),
        inner.map(lambda t: f"(-{t} * 1)"),
        st.tuples(st.sampled_from(["sqrt", "sin", "isnan", "abs", "sign", "floor"]), inner).map(
            "({0[0]}({0[1]} * 1) * 1)".format
        ),
        st.tuples(inner, inner).map("maximum({0[0]}, {0[1]} * 1)".format),
        st.tuples(inner, inner, inner).map("where({0[0]} > 0, {0[1]} * 1, {0[2]})".format),
    ),
    max_leaves=12,
)


@settings(deadline=None, max_examples=300)
@given(TREES)
def test_any_formula_equals_numpy_s(text):
    text = f"a * 0 + {text}"
    try:
        with np.errstate(all="ignore"):
            reference(text, ARRAYS)
    except (ArithmeticError, TypeError):
        with pytest.raises((Mismatch, ArithmeticError)):
            run(text, **ARRAYS)
    else:
        assert_same(text, ARRAYS)


def test_plain_numbers_do_not_widen_an_array():
    x = Meta((2,), "f4")
    assert OP.meta([x], {"expr": "x * 2.5 + pi"}).dtype == np.float32
    assert OP.meta([Meta((2,), "u1")], {"expr": "x + 1"}).dtype == np.uint8
    assert OP.meta([x, Meta((2,), "f8")], {"expr": "x + y"}).dtype == np.float64
    assert OP.meta([x], {"expr": "x > 1"}).dtype == bool


def test_shapes_broadcast_and_names_of_axes_stay():
    rows, plane = Meta((3, 1), "f4", ("y", None)), Meta((3, 4), "f4", (None, "x"))
    made = OP.meta([rows, plane], {"expr": "r - p"})
    assert (made.shape, made.dims) == ((3, 4), ("y", "x"))


def test_inputs_are_not_changed():
    before = {name: array.copy() for name, array in ARRAYS.items()}
    run("where(a > 0, a + b, -a) * x + n", **ARRAYS)
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(array, before[name])


def test_names_are_in_the_order_of_first_use():
    assert names_in(expr="sqrt(gy**2 + gx**2) * gy + pi") == ("gy", "gx")
    # A function's name is no node, even where a node is called so.
    assert names_in(expr="abs(abs)") == ("abs",)
    np.testing.assert_array_equal(run("abs(abs)", abs=A), np.abs(A))


def test_a_node_may_be_called_like_a_constant():
    assert names_in(expr="e + x * pi") == ("x",)
    assert names_in(expr="e + x", nodes={"e", "x"}) == ("e", "x")
    assert OP([np.full(2, 10.0), np.ones(2)], {"expr": "e + x"}, np).tolist() == [11, 11]
    assert OP([np.ones(2)], {"expr": "e + x"}, np).tolist() == [np.e + 1] * 2
    assert OP([np.full(2, 10.0)], {"expr": "e * 2"}, np).tolist() == [20, 20]
    with pytest.raises(Mismatch, match="found a node `e` and a number `pi`"):
        names_in(expr="e * pi", nodes={"e"})


@pytest.mark.parametrize(
    ("text", "found", "hint"),
    [
        ("", "invalid syntax", ""),
        ("1 + 2", "only numbers", "name a source or a step"),
        ("pi", "only numbers", "name a source or a step"),
        ("a +", "invalid syntax at its end", ""),
        ("a = 1", "invalid syntax", "`==`"),
        ("a b", "invalid syntax", ""),
        ("a; b", "invalid syntax", ""),
        ("(a", "'(' was never closed at character 1", ""),
        ("a # b", "`#` at character 3", "outside"),
        ("a and b", "`a and b` at character 1", "`&`"),
        ("a or b", "`a or b`", "`|`"),
        ("not a", "`not a`", "`~`"),
        ("1 + (a if b else c)", "`a if b else c` at character 6", "where("),
        ("a @ b", "`a @ b`", "elementwise"),
        ("a << 1000000000", "`a << 1000000000`", "multiply"),
        ("a in b", "`a in b`", "`==`"),
        ("a is b", "`a is b`", "`==`"),
        ("a[0]", "`a[0]`", "isel"),
        ("a.real", "`a.real`", "`real(…)`"),
        ("a.T", "`a.T`", ""),
        ("np.sqrt(a)", "`np.sqrt(a)`", "`sqrt(…)`"),
        ("a.__class__", "`a.__class__`", ""),
        ("__import__('os')", "`__import__('os')` at character 1", "see `hpcflow ops expr`"),
        ("eval(a)", "`eval(a)`", ""),
        ("(lambda: a)()", "`(lambda: a)()`", ""),
        ("lambda: a", "`lambda: a`", ""),
        ("[a, b]", "`[a, b]`", "only nodes"),
        ("(a, b)", "`(a, b)`", "only nodes"),
        ("{a: b}", "`{a: b}`", ""),
        ("[x for x in a]", "`[x for x in a]`", ""),
        ("(a := b)", "`a := b`", "`==`"),
        ("f'{a}'", "`f'{a}'`", ""),
        ("'a'", "`'a'`", "only numbers"),
        ("a + None", "`None` at character 5", "only numbers"),
        ("a + ...", "`...`", "only numbers"),
        ("*a", "invalid syntax at character 1", ""),
        ("sqrt(*a)", "`*a`", ""),
        ("sqrtt(a)", "`sqrtt(a)`", "did you mean `sqrt`?"),
        ("ln(a)", "`ln(a)`", "`log`"),
        ("max(a, b)", "`max(a, b)`", "`maximum(a, b)`"),
        ("sum(a)", "`sum(a)`", "`op: sum`"),
        ("sqrt(a, out=b)", "`sqrt(a, out=b)`", "in order"),
        ("sqrt()", "0 in `sqrt()`", ""),
        ("where(a)", "1 in `where(a)`", ""),
        ("round(a, b)", "`b` at character 10", ""),
        ("round(a, 0.5)", "`0.5`", ""),
        ("a * 9**9**9", "`9**9**9` at character 5", "a float"),
        ("a * 99999999999999999999999", "`99999999999999999999999`", "1e30"),
        ("a * (2**63 * 2**63)", "`2**63 * 2**63`", "1e30"),
        ("a * 10.0**999", "in `10.0**999`", ""),
        ("a + 1 / 0", "division by zero in `1 / 0`", ""),
        ("-" * (DEPTH + 1) + "a", "one nested deeper", "spread"),
        ("+".join(["a"] * (DEPTH + 2)), "one nested deeper", "spread"),
        ("(" * 500 + "a" + ")" * 500, "too many nested parentheses", ""),
        ("-" * (LENGTH - 1) + "a", "", "spread"),
        ("a" + " " * LENGTH + "+ a", f"{LENGTH + 4}", "spread"),
        ("a\0b", "", ""),
        ("ä + ö @ ü", "`ä + ö @ ü` at character 1".replace("ä + ö", "ö").replace("character 1", "character 5"), ""),
    ],
)  # fmt: skip
def test_everything_else_is_refused(text, found, hint):
    with pytest.raises(Mismatch) as caught:
        names_in(expr=text)
    assert found in str(caught.value)
    assert hint in caught.value.hint
    assert caught.value.parameter == "expr"


def test_operators_that_do_not_fit_the_dtypes_say_what_to_do():
    for text, hint in (("x ^ 2", "a power is `**`"), ("x > 0 & x < 1", "write `(a > 0) & (b < 1)`")):
        with pytest.raises(Mismatch) as caught:
            OP.meta([Meta((2,), "f4")], {"expr": text})
        assert hint in caught.value.hint


@settings(deadline=None, max_examples=300)
@given(st.text(st.sampled_from("ab01.+-*/%()<>=!&|~^,[]{}:'\" \\\n_eλ@"), max_size=40))
def test_no_text_does_anything_but_fail_plainly(text):
    begun = time.thread_time()
    try:
        names = names_in(expr=text)
    except Mismatch:
        return
    finally:
        assert time.thread_time() - begun < 1
    with np.errstate(all="ignore"), contextlib.suppress(Mismatch, ArithmeticError):
        OP([np.ones(2)] * len(names), {"expr": text}, np)


def test_arrays_in_between_are_counted():
    assert compiled("a").temporaries == 0
    assert compiled("a + b").temporaries == 0
    assert compiled("sqrt(gx**2 + gy**2)").temporaries == 2
    assert compiled("((a + b) + (a + b)) + ((a + b) + (a + b))").temporaries == 3
    metas = [Meta((8, 8), "f4"), Meta((8, 8), "f4")]
    assert scratch(*metas, expr="sqrt(gx**2 + gy**2)") == 2.0


def test_the_op_s_parameters_travel():
    assert pickle.loads(pickle.dumps({"expr": "a + b"})) == {"expr": "a + b"}
    assert OP.arity == (1, None)


def test_a_flow_s_own_node_comes_before_a_constant():
    text = """
    flow: f
    sources:
      e: {from: full, shape: [2], value: 10.0}
      x: {from: full, shape: [2], value: 1.0}
    steps:
      y: {op: expr, expr: "e + x"}
    sinks:
      y: {to: json, of: y, path: y.json}
    """
    flow = loads(dedent(text))
    assert flow.nodes["y"].of == ("e", "x")

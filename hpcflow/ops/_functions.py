"""The functions that an expression may call: NumPy's elementwise ones, by how many arguments they take."""

from __future__ import annotations

_ONE = """
    abs absolute fabs sign signbit square sqrt cbrt reciprocal positive negative
    exp exp2 expm1 log log2 log10 log1p
    sin cos tan arcsin arccos arctan sinh cosh tanh arcsinh arccosh arctanh
    degrees radians deg2rad rad2deg
    floor ceil trunc rint nan_to_num
    isnan isinf isfinite logical_not invert
    real imag conj conjugate angle
"""
_TWO = """
    minimum maximum fmin fmax hypot arctan2 copysign heaviside logaddexp logaddexp2
    add subtract multiply divide true_divide floor_divide power float_power mod remainder fmod
    equal not_equal less less_equal greater greater_equal
    logical_and logical_or logical_xor bitwise_and bitwise_or bitwise_xor
"""

FUNCTIONS: dict[str, tuple[int, int]] = {
    **dict.fromkeys(_ONE.split(), (1, 1)),
    **dict.fromkeys(_TWO.split(), (2, 2)),
    "round": (1, 2),
    "clip": (3, 3),
    "where": (3, 3),
}
"""The fewest and the most arguments of each."""

CASTS = frozenset(
    ["bool", "float32", "float64", *(f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64))]
)
"""Names of dtypes, which convert as `op: astype` does."""

ALIASES = {
    "acos": "arccos",
    "acosh": "arccosh",
    "asin": "arcsin",
    "asinh": "arcsinh",
    "atan": "arctan",
    "atan2": "arctan2",
    "atanh": "arctanh",
    "pow": "power",
}
"""Names of the array API standard that not every namespace has."""

ELSEWHERE = {
    "ln": "the natural logarithm is `log`",
    "max": "the larger of two is `maximum(a, b)`; the largest of an array is `op: max`",
    "min": "the smaller of two is `minimum(a, b)`; the smallest of an array is `op: min`",
    **{
        name: f"it looks at many elements at once: use `op: {name}` as a step before"
        for name in ("sum", "mean", "std", "argmax", "histogram", "median", "softmax", "transpose", "stack")
    },
    "float": "write `float64(a)` or `float32(a)`",
    "int": "write `int64(a)`, or `trunc(a)`, which stays a float",
    "astype": "write `float32(a)`, or another dtype's name in its place",
}
"""What to do in place of some that are none of them."""

"""CuPy's namespace with NumPy behind it, which holds every call against CuPy itself.

Each function, method and ufunc that an op uses must be there in CuPy (or `cupyx.scipy`), take
these arguments by its signature, take these dtypes, and be given no array of the host's. The
result is NumPy's, so that the op runs through.
"""

import inspect
import re
import warnings
from importlib import import_module
from types import ModuleType

import numpy as np

MOVES = {"asarray", "array", "ascontiguousarray"}
"""What takes a host array: the way to the device."""
used = set()
"""The names of all that was called."""


def signature(function):
    """A callable's signature; of a compiled one as its docstring says."""
    try:
        return inspect.signature(function)
    except (TypeError, ValueError):
        first = (function.__doc__ or "").strip().partition("\n")[0]
        found = re.match(r"[\w.]+\((.*)\)", first)
        assert found, f"{function} says nothing of its arguments"
        # Types of C stand before names.
        names = re.sub(r"\b(?:size_t|bint|int|Py_ssize_t) (\w+)", r"\1", found[1])
        scope = {}
        exec(f"def stated({names}): pass", {}, scope)
        return inspect.signature(scope["stated"])


def held(where, name, real, args, kwargs, *, method=False):
    """Hold a call against CuPy's own function."""
    used.add(f"{where}.{name}")
    if where != "method" and name not in MOVES:
        for one in [*args, *kwargs.values()]:
            assert not (isinstance(one, np.ndarray) and one.ndim), f"{where}.{name} is given an array of the host"
    if type(real).__name__ == "ufunc":
        assert len(args) in (real.nin, real.nin + 1), f"{where}.{name} takes {real.nin} arrays"
        assert kwargs.keys() <= {"out", "dtype", "casting"}, f"{where}.{name} takes no {kwargs.keys()}"
        # A dtype that is asked for is what the operands are cast to, as in NumPy.
        into = kwargs.get("dtype")
        kinds = [np.dtype(into)] * real.nin if into else [one.dtype for one in args if hasattr(one, "dtype")]
        rules = [rule.partition("->")[0] for rule in real.types]
        # An operation may be there for fewer dtypes than NumPy's.
        fits = any(all(np.can_cast(k, np.dtype(t), "same_kind") for k, t in zip(kinds, r, strict=False)) for r in rules)
        assert fits, f"{where}.{name} has no rule for {kinds}"
        return
    try:
        signature(real).bind(*([None] if method else []), *args, **kwargs)
    except TypeError as error:
        raise AssertionError(f"{where}.{name}: {error}") from error


def plain(value):
    """With NumPy's arrays in place of recorded ones."""
    if isinstance(value, Recorded):
        return value.array
    if isinstance(value, (list, tuple)):
        return type(value)(map(plain, value))
    return {key: plain(one) for key, one in value.items()} if isinstance(value, dict) else value


def wrapped(value):
    """NumPy's results as recorded ones: a single number is an array, too."""
    if isinstance(value, (np.ndarray, np.generic)):
        return Recorded(np.asarray(value))
    return tuple(map(wrapped, value)) if isinstance(value, tuple) else value


class Recorded:
    """An array as CuPy would have it."""

    def __init__(self, array):
        assert array.dtype.isnative, "CuPy has the machine's byte order only"
        self.array = array

    def __array__(self, *_, **__):
        raise TypeError("Implicit conversion to a NumPy array is not allowed")

    def __array_ufunc__(self, ufunc, method, *inputs, **kwargs):
        assert method == "__call__"
        held("ufunc", ufunc.__name__, getattr(import_module("cupy"), ufunc.__name__), inputs, kwargs)
        return wrapped(ufunc(*plain(inputs), **plain(kwargs)))

    def __array_function__(self, function, _types, args, kwargs):
        held("function", function.__name__, getattr(import_module("cupy"), function.__name__), args, kwargs)
        return wrapped(function(*plain(args), **plain(kwargs)))

    def __getattr__(self, name):
        real = getattr(import_module("cupy").ndarray, name)
        if name == "get":
            return self.array.copy
        found = getattr(self.array, name)
        if not callable(found):
            return wrapped(found)

        def run(*args, **kwargs):
            held("method", name, real, args, kwargs, method=True)
            return wrapped(found(*plain(args), **plain(kwargs)))

        return run

    def __getitem__(self, index):
        return wrapped(self.array[plain(index)])

    def __setitem__(self, index, value):
        assert not (isinstance(value, np.ndarray) and value.ndim), "an array of the host is put into one of the device"
        self.array[plain(index)] = plain(value)

    def __len__(self):
        return len(self.array)

    def __iter__(self):
        return map(wrapped, self.array)

    def __bool__(self):
        return bool(self.array)

    def __float__(self):
        return float(self.array)

    def __index__(self):
        return self.array.__index__()


def _operator(method, name, *, swapped=False, inplace=False):
    def run(self, other=None):
        real = getattr(import_module("cupy"), name)
        operands = [self] if other is None else [other, self] if swapped else [self, other]
        held("operator", name, real, operands, {})
        if inplace:
            getattr(self.array, method)(plain(other))
            return self
        return wrapped(getattr(np, name)(*plain(operands)))

    setattr(Recorded, method, run)


OPERATORS = {
    "add": "add",
    "sub": "subtract",
    "mul": "multiply",
    "truediv": "true_divide",
    "floordiv": "floor_divide",
    "mod": "remainder",
    "pow": "power",
    "and": "bitwise_and",
    "or": "bitwise_or",
    "xor": "bitwise_xor",
}
for short, long in OPERATORS.items():
    _operator(f"__{short}__", long)
    _operator(f"__r{short}__", long, swapped=True)
    _operator(f"__i{short}__", long, inplace=True)
COMPARISONS = {"lt": "less", "le": "less_equal", "gt": "greater", "ge": "greater_equal", "eq": "equal"}
SINGLE = {"neg": "negative", "pos": "positive", "abs": "absolute", "invert": "invert"}
for short, long in {**COMPARISONS, "ne": "not_equal", **SINGLE}.items():
    _operator(f"__{short}__", long)
Recorded.__hash__ = object.__hash__


class Recording(ModuleType):
    """A module of CuPy's beside the module that it stands for."""

    def __init__(self, name, beside):
        super().__init__(name)
        with warnings.catch_warnings():
            # CuPy says of its own parts that they may change.
            warnings.simplefilter("ignore", FutureWarning)
            self._real, self._beside = import_module(name), import_module(beside)

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        real = getattr(self._real, name, None)
        assert real is not None, f"{self.__name__} has no {name}"
        found = getattr(self._beside, name)
        if isinstance(found, type) or not callable(found):
            return found

        def run(*args, **kwargs):
            held(self.__name__, name, real, args, kwargs)
            return wrapped(found(*plain(args), **plain(kwargs)))

        return run

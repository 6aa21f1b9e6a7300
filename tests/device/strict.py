"""NumPy's face over array-api-strict's second device: what an op does there stays there.

A strict array on `device1` cannot become one of NumPy's but by an explicit move. What the
standard has is computed by it; what it has not, and SciPy's filters and transforms, by a stand-in
for the device's own library (`vendor`), which takes and gives arrays of the device alone.
"""

from importlib import import_module
from types import ModuleType

import array_api_strict as standard
import numpy as np

DEVICE = standard.Device("device1")
STANDARD = {
    "absolute": "abs",
    "true_divide": "divide",
    "power": "pow",
    "invert": "bitwise_invert",
    "conjugate": "conj",
    "concatenate": "concat",
    **{f"arc{name}": f"a{name}" for name in ("sin", "cos", "tan", "sinh", "cosh", "tanh", "tan2")},
}
stood_in = set()
"""What the standard has not."""


def kind(dtype):
    """NumPy's dtype as the standard's."""
    return getattr(standard, np.dtype(dtype).name)


def vendor(name, function):
    """The device's own library: no host array goes in, none comes out."""
    stood_in.add(name)

    def inside(value):
        if isinstance(value, Strict):
            assert value.held.device == DEVICE
            return value.held._array
        assert not (isinstance(value, np.ndarray) and value.ndim), f"{name} is given an array of the host"
        if isinstance(value, (list, tuple)):
            return type(value)(map(inside, value))
        return value

    def outside(value):
        if isinstance(value, tuple):
            return tuple(map(outside, value))
        plain = isinstance(value, (np.ndarray, np.generic))
        return Strict(standard.asarray(np.asarray(value), device=DEVICE)) if plain else value

    def run(*args, **kwargs):
        out = kwargs.get("output")
        result = function(*map(inside, args), **{key: inside(value) for key, value in kwargs.items()})
        return out if isinstance(out, Strict) else outside(result)

    return run


def operation(name, *operands, dtype=None, out=None):
    """A ufunc: NumPy says which dtypes, the standard computes."""
    ufunc = getattr(np, name)
    if dtype is None:
        asked = [one.dtype if isinstance(one, Strict) else _weak(one) for one in operands]
        *into, _ = ufunc.resolve_dtypes((*asked, *[None] * ufunc.nout))
    else:
        into = [np.dtype(dtype)] * ufunc.nin
    if name.startswith("logical"):
        into = [np.dtype(bool)] * ufunc.nin  # the standard has them for booleans alone
    given = [Strict.of(one, kind) for one, kind in zip(operands, into, strict=True)]
    known = getattr(standard, STANDARD.get(name, name), None)
    result = vendor(name, ufunc)(*given) if known is None else Strict(known(*(one.held for one in given)))
    if out is None:
        return result
    out.held[...] = standard.astype(result.held, out.held.dtype)
    return out


def _weak(value):
    return value.dtype if isinstance(value, np.generic) else type(value)


class Strict:
    """An array of the device, with NumPy's methods."""

    def __init__(self, held):
        assert held.device == DEVICE
        self.held = held

    @classmethod
    def of(cls, value, dtype):
        if isinstance(value, cls):
            return cls(standard.astype(value.held, kind(dtype), copy=False))
        return cls(standard.asarray(np.dtype(dtype).type(value).item(), dtype=kind(dtype), device=DEVICE))

    dtype = property(lambda self: np.dtype(str(self.held.dtype).rpartition(".")[2]))
    shape = property(lambda self: self.held.shape)
    ndim = property(lambda self: self.held.ndim)
    size = property(lambda self: self.held.size)
    real = property(lambda self: Strict(standard.real(self.held)) if self.dtype.kind == "c" else self)
    imag = property(lambda self: Strict(standard.imag(self.held)))

    def __array__(self, *_, **__):
        raise RuntimeError("an implicit move to the host")

    def __array_ufunc__(self, ufunc, method, *inputs, **kwargs):
        assert method == "__call__"
        return operation(ufunc.__name__, *inputs, **kwargs)

    def __array_function__(self, function, _types, _args, _kwargs):
        raise RuntimeError(f"NumPy's own {function.__name__}, where `xp` is at hand")

    def get(self):
        """The explicit move."""
        return np.asarray(self.held.to_device(standard.Device("CPU_DEVICE"))).copy()

    def astype(self, dtype, *, copy=True):
        return Strict(standard.astype(self.held, kind(dtype), copy=copy))

    def _reduced(self, name, axis, keepdims):
        return Strict(getattr(standard, name)(self.held, axis=axis, keepdims=keepdims))

    def sum(self, *, axis=None, dtype=None, keepdims=False):
        return (self if dtype is None else self.astype(dtype))._reduced("sum", axis, keepdims)

    def min(self, *, axis=None, keepdims=False):
        return self._reduced("min", axis, keepdims)

    def max(self, *, axis=None, keepdims=False):
        return self._reduced("max", axis, keepdims)

    def any(self, *, axis=None, keepdims=False):
        return self._reduced("any", axis, keepdims)

    def all(self, *, axis=None, keepdims=False):
        return self._reduced("all", axis, keepdims)

    def prod(self, *, axis=None, dtype=None, keepdims=False):
        return (self if dtype is None else self.astype(dtype))._reduced("prod", axis, keepdims)

    def argmax(self, *, axis=None):
        return Strict(standard.argmax(self.held, axis=axis))

    def argmin(self, *, axis=None):
        return Strict(standard.argmin(self.held, axis=axis))

    def reshape(self, *shape):
        shape = tuple(shape[0]) if isinstance(shape[0], (list, tuple)) else shape
        return Strict(standard.reshape(self.held, tuple(int(n) for n in shape)))

    def transpose(self, axes=None):
        axes = tuple(reversed(range(self.ndim))) if axes is None else tuple(int(axis) for axis in axes)
        return Strict(standard.permute_dims(self.held, axes))

    def view(self, dtype):
        return vendor("view", lambda x: x.view(dtype))(self)

    def __getitem__(self, index):
        given = index if isinstance(index, tuple) else (index,)
        return Strict(self.held[tuple(one.held if isinstance(one, Strict) else one for one in given)])

    def __setitem__(self, index, value):
        assert not (isinstance(value, np.ndarray) and value.ndim), "an array of the host is put into one of the device"
        self.held[index.held if isinstance(index, Strict) else index] = (
            value.held if isinstance(value, Strict) else value
        )

    def __len__(self):
        return self.shape[0]

    def __bool__(self):
        return bool(self.held)


def _method(short, name):
    setattr(Strict, f"__{short}__", lambda self, *others: operation(name, self, *others))


def _swapped(short, name):
    setattr(Strict, f"__r{short}__", lambda self, other: operation(name, other, self))


def _inplace(short, name):
    setattr(Strict, f"__i{short}__", lambda self, other: operation(name, self, other, out=self))


for _short, _name in {
    "add": "add",
    "sub": "subtract",
    "mul": "multiply",
    "truediv": "divide",
    "floordiv": "floor_divide",
    "mod": "remainder",
    "pow": "power",
    "and": "bitwise_and",
    "or": "bitwise_or",
    "xor": "bitwise_xor",
}.items():
    _method(_short, _name)
    _swapped(_short, _name)
    _inplace(_short, _name)
for _short, _name in {
    "lt": "less",
    "le": "less_equal",
    "gt": "greater",
    "ge": "greater_equal",
    "eq": "equal",
    "ne": "not_equal",
    "neg": "negative",
    "pos": "positive",
    "abs": "absolute",
    "invert": "invert",
}.items():
    _method(_short, _name)
Strict.__hash__ = object.__hash__


class Namespace(ModuleType):
    """`xp` on the device."""

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        found = getattr(np, name)
        if isinstance(found, np.ufunc):
            return lambda *operands, **how: operation(name, *operands, **how)
        if isinstance(found, type) or not callable(found):
            return found
        return vendor(name, found)

    @staticmethod
    def asarray(value, dtype=None):
        if isinstance(value, Strict):
            return value if dtype is None else value.astype(dtype, copy=False)
        # The explicit move, of a kernel or of a flow's numbers.
        return Strict(standard.asarray(np.asarray(value, dtype), device=DEVICE))

    @staticmethod
    def broadcast_to(x, shape):
        return Strict(standard.broadcast_to(x.held, tuple(shape)))

    @staticmethod
    def empty(shape, dtype):
        return Strict(standard.empty(shape, dtype=kind(dtype), device=DEVICE))

    @staticmethod
    def full(shape, value, dtype=None):
        return Strict(standard.full(shape, value, dtype=dtype and kind(dtype), device=DEVICE))

    @staticmethod
    def zeros(shape, dtype):
        return Strict(standard.zeros(shape, dtype=kind(dtype), device=DEVICE))

    @staticmethod
    def arange(*limits):
        return Strict(standard.arange(*limits, device=DEVICE))

    @staticmethod
    def take(x, indices, axis):
        return Strict(standard.take(x.held, indices.held, axis=axis))

    @staticmethod
    def take_along_axis(x, indices, axis):
        return Strict(standard.take_along_axis(x.held, indices.held, axis=axis))

    @staticmethod
    def argsort(x, axis, kind):
        assert kind == "stable"
        return Strict(standard.argsort(x.held, axis=axis, stable=True))

    @staticmethod
    def moveaxis(x, source, destination):
        return Strict(standard.moveaxis(x.held, source, destination))

    @staticmethod
    def nonzero(x):
        return tuple(map(Strict, standard.nonzero(x.held)))

    @staticmethod
    def concatenate(arrays, axis=0, dtype=None):
        return Strict(standard.concat([Strict.of(one, dtype or one.dtype).held for one in arrays], axis=axis))

    @staticmethod
    def stack(arrays, axis=0, dtype=None):
        return Strict(standard.stack([Strict.of(one, dtype or one.dtype).held for one in arrays], axis=axis))

    @staticmethod
    def searchsorted(edges, values, side):
        return Strict(standard.searchsorted(edges.held, values.held, side=side))

    @staticmethod
    def clip(x, low=None, high=None):
        numbers = [one.dtype if isinstance(one, Strict) else one for one in (x, low, high) if one is not None]
        dtype = np.result_type(*numbers)
        x = x.astype(dtype)
        x = x if low is None else operation("maximum", x, low)
        return x if high is None else operation("minimum", x, high)

    @staticmethod
    def where(condition, a, b):
        dtype = np.result_type(*(np.empty(0, one.dtype) if isinstance(one, Strict) else one for one in (a, b)))
        parts = [Strict.of(condition, bool), Strict.of(a, dtype), Strict.of(b, dtype)]
        return Strict(standard.where(*(one.held for one in parts)))


class Companion(ModuleType):
    """A part of SciPy, as the device's own library has it."""

    def __init__(self, name):
        super().__init__(name)
        self._beside = import_module(name.replace("cupyx.", ""))

    def __getattr__(self, name):
        return vendor(f"{self.__name__}.{name}", getattr(self._beside, name))

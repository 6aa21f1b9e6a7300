"""What the filters share: windows, how far they reach, and what they refuse."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import isnan
from typing import Any

from hpcflow.errors import Mismatch
from hpcflow.kernels import planes
from hpcflow.meta import Meta
from hpcflow.namespace import Array
from hpcflow.regions import Depth, Interval, per_axis

SYNONYMS = {"grid-mirror": "reflect", "grid-constant": "constant", "grid-wrap": "wrap"}
"""For filters these mean the same, but not every function of SciPy and CuPy takes all of them."""


def check_lengths(axes: Sequence[int], **given: Any) -> None:
    """Refuse a list that has not one value for each of `axes`."""
    for name, value in given.items():
        if isinstance(value, list) and len(value) != len(axes):
            raise Mismatch(f"expected one `{name}` for each of {len(axes)} axes, found {len(value)}", parameter=name)


# An op's annotations say what a flow may give; what these get has its axes resolved to numbers.
def spread(value: Any, axes: Any, ndim: int, fill: Any) -> tuple[Any, ...]:
    """One value for every axis, from one for all of `axes` or one for each; `fill` elsewhere."""
    return per_axis(value, axes, ndim, fill)


def boundaries(mode: Any, axes: Any, ndim: int) -> list[str]:
    """The boundary mode of every axis, by the name that all filters know."""
    return [SYNONYMS.get(one, one) for one in spread(mode, axes, ndim, "reflect")]


def origins(origin: Any, sizes: Sequence[int], axes: Any) -> list[int]:
    """The origin along every axis; 0 where a window of one element leaves nothing to shift."""
    each = spread(origin, axes, len(sizes), 0)
    return [0 if size == 1 else one for size, one in zip(sizes, each, strict=True)]


def window(size: int, origin: int) -> Interval:
    """How far a window of `size` elements reaches before and behind its element."""
    return size // 2 + origin, (size - 1) // 2 - origin


def check_origins(meta: Meta, sizes: Sequence[int], shifts: Sequence[int]) -> None:
    """Refuse a window that does not hold its own element."""
    for axis, (size, origin) in enumerate(zip(sizes, shifts, strict=True)):
        if min(window(size, origin)) < 0:
            name = meta.dims[axis] or axis
            raise Mismatch(
                f"expected an `origin` from {-(size // 2)} to {(size - 1) // 2} for {size} elements along "
                f"axis `{name}`, found {origin}",
                parameter="origin",
            )


def halo(windows: Sequence[Interval], modes: Sequence[str]) -> Depth:
    """The halo that windows need, one per axis, so that a block's edge does as the array's.

    ::

        window   [. . . .]x         reaches 4 before, 0 behind
        array             |a b c d e …
        reflect    d c b a|a        a needs d (mirror: even e), which lie behind it
    """
    return tuple(_halo(*one, mode) for one, mode in zip(windows, modes, strict=True))


def _halo(before: int, behind: int, mode: str) -> Interval:
    if mode == "reflect":
        return max(before, behind - 1), max(behind, before - 1)
    if mode == "mirror":
        return max(before, behind), max(before, behind)
    return before, behind


def filtered(meta: Meta, cval: float = 0.0, *, boolean: bool = False, imaginary: bool = True) -> Meta:
    """The meta of a filter's result: the input's, in the machine's byte order.

    Parameters
    ----------
    meta : Meta
    cval : float
        The value beyond the ends.
    boolean, imaginary : bool
        Whether the filter takes booleans and complex numbers.

    Raises
    ------
    Mismatch
        Where SciPy does not take the dtype, or gives bytes that are no booleans for booleans.
    """
    dtype = meta.dtype.newbyteorder("=")
    if not (dtype.kind in "iu" or dtype.char in ("fdFD" if imaginary else "fd") or (boolean and dtype.kind == "b")):
        kinds = [*["booleans"] * boolean, "integers", "float32, float64", *["complex numbers"] * imaginary]
        hint = "cast it first: `op: astype`, `dtype: float32`" if dtype.kind in "bf" else ""
        raise Mismatch(f"expected an input of {', '.join(kinds[:-1])} or {kinds[-1]}, found {dtype}", hint=hint)
    if isnan(cval) and dtype.kind not in "fc":
        raise Mismatch(f"expected a `cval` that {dtype} can hold, found nan", parameter="cval")
    return replace(meta, dtype=dtype)


def native(x: Array) -> Array:
    """The array in the machine's byte order, which not every filter can do without."""
    return x.astype(x.dtype.newbyteorder("="), copy=False)


def swapped(meta: Meta) -> float:
    """Scratch of `native`, per byte of the input."""
    return 0.0 if meta.dtype.isnative else 1.0


def filtering(meta: Meta) -> float:
    """Work of a filter with short windows, as the table of `kernels.planes` has it for large planes."""
    return 3.0 if meta.dtype.char in planes.TABLE["separable"].dtypes and meta.ndim > 1 else 30.0


def planar(meta: Meta) -> float:
    """Scratch of a filter that may go plane by plane: beyond planes, a copy that lies together and a pass between."""
    return swapped(meta) + 2.0 * (meta.ndim > 2)


def bordered(meta: Meta) -> float:
    """Scratch of a filter that may be compiled: a copy of its input with the border around it, or as `planar`."""
    return max(planar(meta), 1.0)

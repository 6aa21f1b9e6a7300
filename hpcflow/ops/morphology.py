"""Erosion, dilation, and what is made of them: SciPy's `grey_` functions and, for booleans, its `binary_` ones."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from pydantic import Field

from hpcflow.errors import Mismatch
from hpcflow.meta import Meta
from hpcflow.namespace import Array, Namespace, companion
from hpcflow.ops import _orders
from hpcflow.ops._kernels import Footprint, kernel
from hpcflow.ops._windows import boundaries, native, spread, swapped
from hpcflow.parameters import Axes, Boundary, Cval, PositiveInt
from hpcflow.regions import Depth
from hpcflow.registry import op

Size = Annotated[PositiveInt | list[PositiveInt] | None, Field(description="Length of the window, if it is a box.")]
Mode = Annotated[Boundary, Field(description="What lies beyond the array's ends; booleans have `border_value` there.")]
Border = Annotated[bool, Field(description="What lies beyond the ends of booleans.")]
Turns = Annotated[PositiveInt, Field(description="How many times booleans are eroded or dilated.")]


def _window(ndim: int, size: Any, footprint: Any, axes: Any) -> Array:
    """The window as booleans, with an axis for each of the array's; SciPy's cross where none is given."""
    if footprint is not None:
        return kernel("footprint", footprint, axes, ndim, np.bool_)
    if size is not None:
        return np.ones(spread(size, axes, ndim, 1), np.bool_)
    shape = [3 if axis in axes else 1 for axis in range(ndim)]
    return np.abs(np.indices(shape) - np.reshape(shape, (-1,) + (1,) * ndim) // 2).sum(axis=0) <= 1


def grey(meta: Meta, *, size: Any, footprint: Any, mode: str, cval: float, axes: Any) -> Meta:
    """As the input; raises `Mismatch` for what does not fit."""
    return _orders.result(meta, size=size, footprint=footprint, mode=mode, cval=cval, origin=0, axes=axes)


def gradient(meta: Meta, *, size: Any, footprint: Any, mode: str, cval: float, axes: Any) -> Meta:
    """As the input; raises `Mismatch` for booleans, which have no differences."""
    if meta.dtype.kind == "b":
        raise Mismatch("expected numbers to take the gradient of, found bool", hint="cast them first: `op: astype`")
    return grey(meta, size=size, footprint=footprint, mode=mode, cval=cval, axes=axes)


def either(
    meta: Meta, *, size: Any, footprint: Any, mode: str, cval: float, border_value: bool, iterations: int, axes: Any
) -> Meta:
    """As the input; raises `Mismatch` for what does not fit numbers, or booleans."""
    if meta.dtype.kind != "b":
        for name, given in (("border_value", border_value), ("iterations", iterations > 1)):
            if given:
                raise Mismatch(f"expected `{name}` for booleans alone, found {meta.dtype}", parameter=name)
        return grey(meta, size=size, footprint=footprint, mode=mode, cval=cval, axes=axes)
    if size is not None and footprint is not None:
        raise Mismatch("expected `size` or `footprint`, found both", parameter="size")
    if not _window(meta.ndim, size, footprint, axes).any():
        raise Mismatch("expected at least one element that is not 0", parameter="footprint")
    return meta


def once(meta: Meta, *, size: Any, footprint: Any, axes: Any, iterations: int = 1) -> Depth:
    """The reach of a window on both sides, as far as any boundary and the mirrored window need."""
    return tuple((n // 2 * iterations,) * 2 for n in _window(meta.ndim, size, footprint, axes).shape)


def twice(meta: Meta, *, size: Any, footprint: Any, axes: Any, iterations: int = 1) -> Depth:
    """The reach of two windows, one after another."""
    return once(meta, size=size, footprint=footprint, axes=axes, iterations=2 * iterations)


def scratch(meta: Meta) -> float:
    """Scratch of one pass, beside the result of another."""
    return 1.0 + _orders.scratch(meta) - swapped(meta)


def compared(meta: Meta) -> float:
    """Scratch of two passes and of the input that they are held against."""
    return scratch(meta) + swapped(meta)


def _binary(names: str, x: Array, window: Array, *, iterations: int, border: bool, xp: Namespace) -> Array:
    """Erosions and dilations one after another, each so many times.

    SciPy's own iterations go wrong where a window is longer than the array (1.17), so each is a call.
    """
    ndimage, structure = companion(xp, "ndimage"), xp.asarray(window)
    for name in names.split():
        for _ in range(iterations):
            x = getattr(ndimage, f"binary_{name}")(x, structure, border_value=int(border))
    return x


def _grey(names: str, x: Array, window: Array, *, mode: str, cval: float, xp: Namespace) -> Array:
    """Smallest (`minimum`) and largest (`maximum`) elements of the window, one after another."""
    for name in names.split():
        # SciPy's dilation looks at the mirrored window, whose middle lies elsewhere if it is even.
        mirrored = name == "maximum"
        shifts = [-1 if mirrored and n % 2 == 0 else 0 for n in window.shape]
        shape: dict[str, Any] = {"size": window.shape, "mode": boundaries(mode, range(x.ndim), x.ndim)}
        if not window.all():
            shape = {"footprint": xp.asarray(np.flip(window) if mirrored else window), "mode": shape["mode"][0]}
        x = _orders.ordered(name, x, cval=cval, origin=shifts, xp=xp, **shape)
    return x


@op(depth=once, meta=either, scratch=_orders.scratch, work=30)
def erosion(
    x: Array,
    /,
    *,
    size: Size = None,
    footprint: Footprint | None = None,
    mode: Mode = "reflect",
    cval: Cval = 0.0,
    border_value: Border = False,
    iterations: Turns = 1,
    axes: Axes = None,
    xp: Namespace,
) -> Array:
    """Take the smallest element of a window, as `scipy.ndimage.grey_erosion`, or `binary_erosion` of booleans.

    Examples
    --------
    thin: {op: erosion, of: mask, footprint: {disk: 2}}
    """
    window = _window(x.ndim, size, footprint, axes)
    if x.dtype.kind == "b":
        return _binary("erosion", x, window, iterations=iterations, border=border_value, xp=xp)
    return _grey("minimum", native(x), window, mode=mode, cval=cval, xp=xp)


@op(depth=once, meta=either, scratch=_orders.scratch, work=30)
def dilation(
    x: Array,
    /,
    *,
    size: Size = None,
    footprint: Footprint | None = None,
    mode: Mode = "reflect",
    cval: Cval = 0.0,
    border_value: Border = False,
    iterations: Turns = 1,
    axes: Axes = None,
    xp: Namespace,
) -> Array:
    """Take the largest element of a window, as `scipy.ndimage.grey_dilation`, or `binary_dilation` of booleans.

    Examples
    --------
    thick: {op: dilation, of: mask, footprint: {disk: 2}}
    """
    window = _window(x.ndim, size, footprint, axes)
    if x.dtype.kind == "b":
        return _binary("dilation", x, window, iterations=iterations, border=border_value, xp=xp)
    return _grey("maximum", native(x), window, mode=mode, cval=cval, xp=xp)


@op(depth=twice, meta=either, scratch=scratch, work=60)
def opening(
    x: Array,
    /,
    *,
    size: Size = None,
    footprint: Footprint | None = None,
    mode: Mode = "reflect",
    cval: Cval = 0.0,
    border_value: Border = False,
    iterations: Turns = 1,
    axes: Axes = None,
    xp: Namespace,
) -> Array:
    """Erode, then dilate, as `scipy.ndimage.grey_opening`, or `binary_opening` of booleans: small bright spots go.

    Examples
    --------
    open: {op: opening, of: mask, footprint: {disk: 2}}
    """
    window = _window(x.ndim, size, footprint, axes)
    if x.dtype.kind == "b":
        return _binary("erosion dilation", x, window, iterations=iterations, border=border_value, xp=xp)
    return _grey("minimum maximum", native(x), window, mode=mode, cval=cval, xp=xp)


@op(depth=twice, meta=either, scratch=scratch, work=60)
def closing(
    x: Array,
    /,
    *,
    size: Size = None,
    footprint: Footprint | None = None,
    mode: Mode = "reflect",
    cval: Cval = 0.0,
    border_value: Border = False,
    iterations: Turns = 1,
    axes: Axes = None,
    xp: Namespace,
) -> Array:
    """Dilate, then erode, as `scipy.ndimage.grey_closing`, or `binary_closing` of booleans: small dark spots go.

    Examples
    --------
    closed: {op: closing, of: mask, footprint: {disk: 2}}
    """
    window = _window(x.ndim, size, footprint, axes)
    if x.dtype.kind == "b":
        return _binary("dilation erosion", x, window, iterations=iterations, border=border_value, xp=xp)
    return _grey("maximum minimum", native(x), window, mode=mode, cval=cval, xp=xp)


@op(depth=twice, meta=grey, scratch=compared, work=60)
def white_tophat(
    x: Array,
    /,
    *,
    size: Size = None,
    footprint: Footprint | None = None,
    mode: Mode = "reflect",
    cval: Cval = 0.0,
    axes: Axes = None,
    xp: Namespace,
) -> Array:
    """Take what an opening takes away, as `scipy.ndimage.white_tophat`: small bright spots.

    Examples
    --------
    spots: {op: white_tophat, of: plane, size: 9}
    """
    x, window = native(x), _window(x.ndim, size, footprint, axes)
    opened = _grey("minimum maximum", x, window, mode=mode, cval=cval, xp=xp)
    return x ^ opened if x.dtype.kind == "b" else x - opened


@op(depth=twice, meta=grey, scratch=compared, work=60)
def black_tophat(
    x: Array,
    /,
    *,
    size: Size = None,
    footprint: Footprint | None = None,
    mode: Mode = "reflect",
    cval: Cval = 0.0,
    axes: Axes = None,
    xp: Namespace,
) -> Array:
    """Take what a closing adds, as `scipy.ndimage.black_tophat`: small dark spots.

    Examples
    --------
    holes: {op: black_tophat, of: plane, size: 9}
    """
    x, window = native(x), _window(x.ndim, size, footprint, axes)
    closed = _grey("maximum minimum", x, window, mode=mode, cval=cval, xp=xp)
    return closed ^ x if x.dtype.kind == "b" else closed - x


@op(depth=once, meta=gradient, scratch=compared, work=60)
def morphological_gradient(
    x: Array,
    /,
    *,
    size: Size = None,
    footprint: Footprint | None = None,
    mode: Mode = "reflect",
    cval: Cval = 0.0,
    axes: Axes = None,
    xp: Namespace,
) -> Array:
    """Take a dilation less an erosion, as `scipy.ndimage.morphological_gradient`: the height of edges.

    Examples
    --------
    edges: {op: morphological_gradient, of: plane, size: 3}
    """
    x, window = native(x), _window(x.ndim, size, footprint, axes)
    how: dict[str, Any] = {"mode": mode, "cval": cval, "xp": xp}
    return _grey("maximum", x, window, **how) - _grey("minimum", x, window, **how)

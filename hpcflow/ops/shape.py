"""The same elements elsewhere: turned, moved, repeated, padded, with more axes or fewer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any

from pydantic import Field

from hpcflow.errors import Mismatch
from hpcflow.meta import Meta
from hpcflow.namespace import Array, Namespace
from hpcflow.parameters import Axes, Axis, NonNegativeInt, PositiveInt
from hpcflow.regions import Interval, Region, shape_of
from hpcflow.registry import Reach, op

Dim = Annotated[str | None, Field(description="A name for the new axis.")]


def along(meta: Meta, axis: int, length: int) -> Meta:
    """The meta with another length along an axis."""
    return replace(meta, shape=(*meta.shape[:axis], length, *meta.shape[axis + 1 :]))


def placed(region: Region, axis: int, one: Interval) -> Region:
    """The region with another interval along an axis."""
    return (*region[:axis], one, *region[axis + 1 :])


def same(meta: Meta) -> Meta:
    """As the input."""
    return meta


def turned(out: Region, metas: Sequence[Meta], *, axis: tuple[int, ...]) -> Reach:
    """What lies as far from the other end."""
    shape = metas[0].shape
    return Reach(out, (tuple((n - b, n - a) if i in axis else (a, b) for i, (a, b), n in _each(out, shape)),))


def _each(out: Region, shape: Sequence[int]) -> list[tuple[int, Interval, int]]:
    return [(i, one, n) for i, (one, n) in enumerate(zip(out, shape, strict=True))]


@op(reach=turned, meta=same, scratch=0)
def flip(x: Array, /, *, axis: Axes = None) -> Array:
    """Reverse the order of the elements along some axes, as `numpy.flip`.

    Examples
    --------
    mirrored: {op: flip, of: plane, axis: x}
    """
    return _reversed(x, axis)


def _reversed(x: Array, axes: Any) -> Array:
    return x[tuple(slice(None, None, -1 if i in axes else None) for i in range(x.ndim))]


def moved(out: Region, metas: Sequence[Meta], *, shift: Any, axis: tuple[int, ...]) -> Reach:
    """What lies `shift` before, continued periodically beyond the ends."""
    by = dict(zip(axis, shift if isinstance(shift, list) else [shift] * len(axis), strict=True))
    return Reach(
        out, (tuple(_periodic(a - by.get(i, 0), b - by.get(i, 0), n) for i, (a, b), n in _each(out, metas[0].shape)),)
    )


def _periodic(start: int, stop: int, extent: int) -> Interval:
    """An interval that begins within the axis."""
    back = start % extent - start if extent else 0
    return start + back, stop + back


def rolled(meta: Meta, *, shift: Any, axis: tuple[int, ...]) -> Meta:
    """As the input; raises `Mismatch` for another number of shifts than of axes."""
    if isinstance(shift, list) and len(shift) != len(axis):
        raise Mismatch(f"expected one `shift` for each of {len(axis)} axes, found {len(shift)}", parameter="shift")
    return meta


@op(reach=moved, meta=rolled, scratch=0)
def roll(x: Array, /, *, shift: int | list[int], axis: Axes) -> Array:
    """Move the elements along some axes, and what leaves one end to the other, as `numpy.roll`.

    Parameters
    ----------
    shift : int or list of int
        How far, for all axes or for each; negative towards the start.

    Examples
    --------
    centred: {op: roll, of: spectrum, shift: 512, axis: x}
    """
    return x


def quarter(meta: Meta, *, axes: list[int], k: int) -> Meta:
    """The input's, its two axes exchanged by an odd number of turns."""
    if len(axes) != 2 or axes[0] == axes[1]:
        raise Mismatch(f"expected two axes to turn in, found {len({*axes})}", parameter="axes")
    order = _order(meta.ndim, axes, k)
    return replace(meta, shape=tuple(meta.shape[i] for i in order), dims=tuple(meta.dims[i] for i in order))


def _order(ndim: int, axes: Sequence[int], k: int) -> list[int]:
    order = list(range(ndim))
    if k % 2:
        order[axes[0]], order[axes[1]] = order[axes[1]], order[axes[0]]
    return order


def turning(out: Region, metas: Sequence[Meta], *, axes: list[int], k: int) -> Reach:
    """Where the turned region comes from."""
    first, second = axes
    (a0, b0), (a1, b1) = out[first], out[second]
    n0, n1 = metas[0].shape[first], metas[0].shape[second]
    ways = [
        (out[first], out[second]),
        ((a1, b1), (n1 - b0, n1 - a0)),
        ((n0 - b0, n0 - a0), (n1 - b1, n1 - a1)),
        ((n0 - b1, n0 - a1), (a0, b0)),
    ]
    one, other = ways[k % 4]
    return Reach(out, (placed(placed(out, first, one), second, other),))


@op(reach=turning, meta=quarter, scratch=0)
def rot90(x: Array, /, *, k: int = 1, axes: list[Axis] = [0, 1]) -> Array:  # noqa: B006  (never changed)
    """Turn by 90 degrees from the first axis towards the second, as `numpy.rot90`.

    Parameters
    ----------
    k : int
        How many times.
    axes : list of axes
        The two that span the plane.

    Examples
    --------
    turned: {op: rot90, of: plane, axes: [y, x]}
    """
    back = [int(axis) for axis, turns in zip(axes, ({2}, {1, 2}), strict=True) if k % 4 in turns]
    x = _reversed(x, back).transpose(_order(x.ndim, [int(axis) for axis in axes], k))
    return _reversed(x, [int(axes[1])]) if k % 4 == 3 else x


def kept(meta: Meta, axis: Any) -> list[int]:
    """The axes that are left without those of length 1."""
    gone = [i for i, n in enumerate(meta.shape) if n == 1] if axis is None else axis
    return [i for i in range(meta.ndim) if i not in gone]


def squeezed(meta: Meta, *, axis: list[int] | None) -> Meta:
    """The meta without those axes; raises `Mismatch` where one has more elements."""
    for i in axis or ():
        if meta.shape[i] != 1:
            raise Mismatch(
                f"expected axis `{meta.dims[i] or i}` to have length 1, found {meta.shape[i]}", parameter="axis"
            )
    left = kept(meta, axis)
    return replace(meta, shape=tuple(meta.shape[i] for i in left), dims=tuple(meta.dims[i] for i in left))


def unsqueezed(out: Region, metas: Sequence[Meta], *, axis: list[int] | None) -> Reach:
    """The same elements."""
    there = dict(zip(kept(metas[0], axis), out, strict=True))
    return Reach(out, (tuple(there.get(i, (0, 1)) for i in range(metas[0].ndim)),))


@op(reach=unsqueezed, meta=squeezed, scratch=0)
def squeeze(x: Array, /, *, axis: list[Axis] | None = None, metas: Sequence[Meta]) -> Array:
    """Drop axes of length 1, as `numpy.squeeze`.

    Parameters
    ----------
    axis : list of axes
        Which; by default all that have length 1.

    Examples
    --------
    plane: {op: squeeze, of: stack, axis: [time]}
    """
    left = kept(metas[0], axis)
    return x.reshape([x.shape[i] for i in left])


def expanded(meta: Meta, *, axis: int, dim: str | None) -> Meta:
    """The meta with one more axis."""
    if not -meta.ndim - 1 <= axis <= meta.ndim:
        raise Mismatch(
            f"expected a place from {-meta.ndim - 1} to {meta.ndim} for the new `axis`, found {axis}", parameter="axis"
        )
    if dim is not None and dim in meta.dims:
        raise Mismatch(f"expected a `dim` that no axis is called, found {dim!r}", parameter="dim")
    at = axis % (meta.ndim + 1)
    return replace(meta, shape=(*meta.shape[:at], 1, *meta.shape[at:]), dims=(*meta.dims[:at], dim, *meta.dims[at:]))


def without_axis(out: Region, metas: Sequence[Meta], *, axis: int) -> Reach:
    """The same elements."""
    at = axis % len(out)
    return Reach(out, ((*out[:at], *out[at + 1 :]),))


@op(reach=without_axis, meta=expanded, scratch=0)
def expand_dims(x: Array, /, *, axis: int = 0, dim: Dim = None) -> Array:
    """Add an axis of length 1, as `numpy.expand_dims`.

    Parameters
    ----------
    axis : int
        Where it stands among the result's; the first by default.

    Examples
    --------
    stack: {op: expand_dims, of: plane, dim: time}
    """
    at = axis % (x.ndim + 1)
    return x.reshape([*x.shape[:at], 1, *x.shape[at:]])


def repeated(meta: Meta, *, repeats: int, axis: int) -> Meta:
    """So many times as long."""
    return along(meta, axis, meta.shape[axis] * repeats)


def sources(out: Region, metas: Sequence[Meta], *, repeats: int, axis: int) -> Reach:
    """What is repeated within the region; all repetitions of it are made."""
    start, stop = out[axis][0] // repeats, -(-out[axis][1] // repeats)
    return Reach(placed(out, axis, (start * repeats, stop * repeats)), (placed(out, axis, (start, stop)),))


@op(reach=sources, meta=repeated, scratch=0)
def repeat(x: Array, /, *, repeats: PositiveInt, axis: Axis, xp: Namespace) -> Array:
    """Repeat each element along an axis, as `numpy.repeat`.

    Parameters
    ----------
    repeats : int
        How many times each stands there.
    axis : axis
        The axis, by name or number.

    Examples
    --------
    wide: {op: repeat, of: plane, repeats: 2, axis: x}
    """
    before, behind = x.shape[: int(axis) + 1], x.shape[int(axis) + 1 :]
    each = xp.broadcast_to(x.reshape([*before, 1, *behind]), [*before, repeats, *behind])
    return each.reshape([*before[:-1], -1, *behind])


def tiled(meta: Meta, *, reps: Mapping[int, int]) -> Meta:
    """So many times as long along each axis."""
    return replace(meta, shape=tuple(n * reps.get(i, 1) for i, n in enumerate(meta.shape)))


def around(out: Region, metas: Sequence[Meta]) -> Reach:
    """The same elements, continued periodically; the whole of an axis that the region holds more than once."""
    return Reach(
        out, (tuple(_periodic(a, b, n) if b - a <= n else (0, n) for _, (a, b), n in _each(out, metas[0].shape)),)
    )


@op(reach=around, meta=tiled, scratch=0)
def tile(x: Array, /, *, reps: dict[Axis, PositiveInt], reach: Reach, xp: Namespace) -> Array:
    """Put copies of an array side by side, as `numpy.tile`.

    Parameters
    ----------
    reps : mapping of axis to int
        How many copies there are along each axis.

    Examples
    --------
    wallpaper: {op: tile, of: plane, reps: {y: 2, x: 3}}
    """
    for i, ((start, _), n) in enumerate(zip(reach.made, shape_of(reach.made), strict=True)):
        if n != x.shape[i]:
            x = xp.take(x, (start + xp.arange(n)) % x.shape[i], axis=i)
    return x


def broadened(meta: Meta, *, shape: list[int]) -> Meta:
    """The given shape; raises `Mismatch` where the input does not broadcast to it."""
    trailing = shape[len(shape) - meta.ndim :]
    if len(shape) < meta.ndim or any(n not in (1, m) for n, m in zip(meta.shape, trailing, strict=True)):
        raise Mismatch(f"expected a shape that {meta.shape} broadcasts to, found {tuple(shape)}", parameter="shape")
    more = len(shape) - meta.ndim
    return replace(meta, shape=tuple(shape), dims=((None,) * more + meta.dims))


def narrowed(out: Region, metas: Sequence[Meta]) -> Reach:
    """The same elements; the one element of an axis of length 1."""
    shape = metas[0].shape
    trailing = out[len(out) - len(shape) :]
    return Reach(out, (tuple((0, 1) if n == 1 else one for one, n in zip(trailing, shape, strict=True)),))


@op(reach=narrowed, meta=broadened, scratch=0)
def broadcast(x: Array, /, *, shape: list[NonNegativeInt], reach: Reach, xp: Namespace) -> Array:
    """Repeat an array along axes of length 1 and new leading ones, as `numpy.broadcast_to`.

    Parameters
    ----------
    shape : list of int
        Of the result.

    Examples
    --------
    volume: {op: broadcast, of: plane, shape: [16, 512, 512]}
    """
    return xp.broadcast_to(x, shape_of(reach.made))

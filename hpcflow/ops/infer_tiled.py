"""Neural networks that see a neighbourhood: denoising, segmentation, restoration."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice, product
from math import ceil, prod
from typing import Any, Literal

import numpy as np

from hpcflow.errors import Mismatch
from hpcflow.meta import Meta
from hpcflow.models._engines import Engine, Precision
from hpcflow.namespace import Array, Namespace
from hpcflow.operation import accepted
from hpcflow.ops._networks import SHA256, Given, Share, Shown, checked, find, identity, settled, spaced
from hpcflow.ops._tiles import PERIODIC, Line, lines
from hpcflow.ops._windows import check_lengths
from hpcflow.parameters import Axes, Axis, Boundary, NonNegativeInt, PerAxis, PositiveInt
from hpcflow.regions import Interval, Region, Shape, shape_of
from hpcflow.registry import Reach, op

GEOMETRY = ("axes", "tile", "depth", "step", "mode")


def cut(meta: Meta, given: Given) -> dict[int, Line]:
    """How the input is cut along the axes that the network sees."""
    return lines(meta.shape, **{name: given[name] for name in GEOMETRY})


def seen(meta: Meta, given: Given) -> Meta:
    """One window as the network gets it: items, channels, and the axes that it sees."""
    channels = 1 if given["channels"] is None else meta.shape[given["channels"]]
    return Meta((1, channels, *(line.window for line in cut(meta, given).values())), meta.dtype)


def result(
    meta: Meta,
    *,
    model: str,
    sha256: str | None,
    axes: Any,
    channels: Any,
    depth: Any,
    tile: Any,
    step: int,
    mode: str,
    engine: Engine,
    precision: Precision,
) -> Meta:
    """The input's meta, with the dtype that the network gives."""
    check_lengths(axes, depth=depth, tile=tile)
    if channels is not None and channels in axes:
        raise Mismatch(
            "expected `channels` to be none of the axes that the network sees, found it among `axes`",
            parameter="channels",
            hint="give the others as `axes`: `axes: [y, x]`",
        )
    given = {"axes": axes, "channels": channels, "depth": depth, "tile": tile, "step": step, "mode": mode}
    for axis, line in cut(meta, given).items():
        if line.mode in PERIODIC and line.length % step:
            raise Mismatch(
                f"expected a periodic axis to be a multiple of `step`, {step}, found {meta.dims[axis] or axis}: "
                f"{line.length}",
                parameter="step",
            )
    window = seen(meta, given)
    made = checked(find(model, None, sha256), engine, precision).makes(window)
    if made.shape != window.shape:
        raise Mismatch(
            f"expected a network that gives as much as it takes, {window.shape[1:]}, found {made.shape[1:]}",
            parameter="model",
            hint="it gets (items, channels, and the `axes`); `infer` runs networks that give anything else",
        )
    return Meta(meta.shape, made.dtype, meta.dims)


def reach(
    out: Region, metas: Sequence[Meta], *, axes: Any, channels: Any, depth: Any, tile: Any, step: int, mode: str
) -> Reach:
    """The windows of all tiles, and every channel."""
    (meta,) = metas
    made, needs = list(out), list(out)
    if channels is not None:
        made[channels] = needs[channels] = (0, meta.shape[channels])
    given = {"axes": axes, "depth": depth, "tile": tile, "step": step, "mode": mode}
    for axis, line in cut(meta, given).items():
        needs[axis] = line.needs(out[axis])
    return Reach(tuple(made), (tuple(needs),))


def halo(meta: Meta, *, axes: Any, depth: Any, step: int) -> list[int]:
    """What a plan shows as the halo."""
    given = lines(meta.shape, axes=axes, tile=1, depth=depth, step=step, mode="network")
    return [given[axis].reach if axis in given else 0 for axis in range(meta.ndim)]


def scratch(meta: Meta, *, model: str, engine: Engine, batch: int, shapes: Sequence[Shape], **given: Any) -> float:
    """A batch of windows with their activations, and the block continued beyond the array's ends."""
    (shape,) = shapes
    windows = batch * seen(meta, given).size
    held = windows * (find(model, None, None).activations[engine] + meta.dtype.itemsize)
    return 2.0 + held / max(prod(shape) * meta.dtype.itemsize, 1)


def work(meta: Meta, *, model: str, engine: Engine, shape: Shape, **given: Any) -> float:
    """What an element of the result costs: the activations of whole windows."""
    window = seen(meta, given)
    tiles = prod(ceil(shape[axis] / line.tile) for axis, line in cut(meta, given).items())
    others = prod(n for axis, n in enumerate(shape) if axis not in (*given["axes"], given["channels"]))
    paid = tiles * others * window.size
    return find(model, None, None).activations[engine] * paid / max(prod(shape), 1)


def parts(meta: Meta, given: Given) -> Iterator[tuple[Region, Region]]:
    """Single tiles, with what the network sees around them."""
    cuts = cut(meta, given)
    sizes = [cuts[axis].tile if axis in cuts else 1 for axis in range(meta.ndim)]
    if given["channels"] is not None:
        sizes[given["channels"]] = meta.shape[given["channels"]]
    counts = [-(-n // size) for n, size in zip(meta.shape, sizes, strict=True)]
    for number in spaced(prod(counts)):
        index = np.unravel_index(number, counts)
        out = tuple((int(i) * s, min(int(i + 1) * s, n)) for i, s, n in zip(index, sizes, meta.shape, strict=True))
        one = reach(out, [meta], **accepted(reach, given))
        (needs,) = one.needs
        assert needs is not None
        yield needs, one.made


def items(x: Array, made: Region, meta: Meta, given: Given) -> Iterator[Array]:
    """The windows of a part."""
    return (window for window, _, _ in _windows(x, made, meta, given, np))


SHOWN = Shown(seen=seen, parts=parts, items=items)


def _windows(
    x: Array, made: Region, meta: Meta, given: Given, xp: Namespace
) -> Iterator[tuple[Array, tuple[Any, ...], tuple[Any, ...]]]:
    """Each window (channels, then the axes), where its tile goes in `made`, and where it lies in the window."""
    cuts, channels = cut(meta, given), given["channels"]
    for axis, line in cuts.items():
        x = line.filled(x, axis, made[axis], xp)
    hulls = {axis: line.hull(made[axis])[0] for axis, line in cuts.items()}
    choices: list[list[tuple[slice | int, slice | int, slice | None]]] = []
    for axis, (start, stop) in enumerate(made):
        if axis in cuts:
            choices.append([_along(*one, hulls[axis], start) for one in cuts[axis].windows((start, stop))])
        elif axis == channels:
            choices.append([(slice(None), slice(None), slice(None))])
        else:
            choices.append([(i, i, None) for i in range(stop - start)])
    # What is left after the others are indexed: channels and axes in the array's order.
    left = [axis for axis in range(meta.ndim) if axis in cuts or axis == channels]
    order = [left.index(axis) for axis in ([] if channels is None else [channels]) + list(given["axes"])]
    for chosen in product(*choices):
        window = x[tuple(one[0] for one in chosen)].transpose(order)
        tile = tuple(one[1] for one in chosen)
        inner = tuple(one[2] for one in chosen if one[2] is not None)
        yield (window if channels is not None else window[None]), tile, inner


def _along(window: Interval, tile: Interval, hull: int, start: int) -> tuple[slice, slice, slice]:
    """Where a window lies in the block, its tile in the result, and its tile in the window."""
    first, last = tile
    return (
        slice(window[0] - hull, window[1] - hull),
        slice(first - start, last - start),
        slice(first - window[0], last - window[0]),
    )


@op(
    reach=reach,
    meta=result,
    depth=halo,
    tile=False,
    scratch=scratch,
    work=work,
    base=SHOWN.held,
    packages=SHOWN.packages,
    prepare=SHOWN.prepare,
    identity=identity,
    settle=settled,
)
def infer_tiled(
    x: Array,
    /,
    *,
    model: str,
    sha256: SHA256 | None = None,
    axes: Axes = None,
    channels: Axis | None = None,
    depth: PerAxis[NonNegativeInt],
    tile: PerAxis[PositiveInt] = 256,
    step: PositiveInt = 1,
    mode: Boundary | Literal["network"] = "network",
    batch: PositiveInt = 4,
    engine: Engine = "torch",
    precision: Precision = "float32",
    agreement: Share = 0.98,
    xp: Namespace,
    metas: Sequence[Meta],
    reach: Reach,
    prepared: Any = None,
) -> Array:
    """Run a neural network that makes a plane of a plane, or a volume of a volume, in tiles.

    For denoising, restoration and segmentation of arrays of any size. The network sees tiles with
    `depth` elements around them, which are then cut away: where the depth covers the network's
    receptive field, the result is that of the whole array at once, without seams.

    Parameters
    ----------
    model : str
        The path of a model file: a `torch.export` archive (``.pt2``), which is looked through, or
        TorchScript (``.pt``, ``.ts``), which runs only with ``--trust-models``. It takes and gives
        (items, channels, and then the `axes`), any number of items.
    sha256 : str
        What the SHA-256 of the model file must be.
    axes : axis or list of axes, optional
        What the network sees, in its order: ``[y, x]`` for one that was trained on planes. By
        default all. Along all others it is run on each index alone.
    channels : axis, optional
        The axis that the network takes as its channels; without one it gets a single channel.
    depth : int or list of int
        How far the network sees around an element: half its receptive field. For a chain of
        convolutions it is the sum of ``(size - 1) / 2``; layers after a pooling by two count twice.
    tile : int or list of int
        The length of a tile. Larger ones spend less on what is cut away, and take more memory.
    step : int
        What windows begin and end at multiples of: the product of a network's poolings (8 for a
        U-Net with three), else 1.
    mode : str
        What lies beyond the array's ends, as for filters; ``network`` for nothing: the network's own
        padding then does as it would on the whole array.
    batch : int
        The most windows that the network is given at once.
    engine : str
        ``torch``, ``compile`` or ``onnxruntime``, as for `infer`.
    precision : str
        ``float32``, ``bfloat16``, ``float16`` or ``int8``, as for `infer`.
    agreement : float
        How well ``int8`` must agree with ``float32`` on a sample of the input: one minus their mean
        squared difference, as a share of the variance.

    Examples
    --------
    clean: {op: infer_tiled, of: noisy, model: data/denoiser.pt2, axes: [y, x], depth: 8}
    """
    given = {"axes": axes, "channels": channels, "depth": depth, "tile": tile, "step": step, "mode": mode}
    given |= {"model": model, "sha256": sha256, "engine": engine, "precision": precision, "batch": batch}
    run = SHOWN.network(metas[0], given, xp, prepared)
    out = None
    windows = _windows(x, reach.made, metas[0], given, xp)
    while group := list(islice(windows, batch)):
        results = run(xp.stack([window for window, _, _ in group]))
        if out is None:
            out = xp.empty(shape_of(reach.made), results.dtype)
        for one, (_, tile_at, inner) in zip(results, group, strict=True):
            _put(out, tile_at, one, inner, given)
    return out if out is not None else xp.empty(shape_of(reach.made), x.dtype)


def _put(out: Array, tile: tuple[Any, ...], one: Array, inner: tuple[Any, ...], given: Given) -> None:
    """Write what a window gives for its tile."""
    seen_axes = ([] if given["channels"] is None else [given["channels"]]) + list(given["axes"])
    # From the network's order of axes to the array's.
    order = sorted(range(len(seen_axes)), key=lambda i: seen_axes[i])
    if given["channels"] is None:
        one = one[0]
    out[tile] = one.transpose(order)[inner]

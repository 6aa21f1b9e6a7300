"""Which library computes which filter: OpenCV where it gives SciPy's answer, SciPy elsewhere.

OpenCV filters planes ten to forty times faster. It rounds to the array's dtype where SciPy sums
in float64, so it takes floats only (within 1e-6 of the weighted magnitudes), and for minimum,
maximum and median, which compute nothing, whatever dtypes it has. `TABLE` is the whole choice;
a function here returns `None` where it leaves the work to SciPy.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import prod
from typing import Any

import numpy as np

from hpcflow.kernels.stencil import correlated
from hpcflow.kernels.trace import Traced
from hpcflow.namespace import Array, Namespace

LEAST = 2**14
"""Elements; below, SciPy is done before OpenCV is imported."""


@dataclass(frozen=True)
class Rule:
    """When OpenCV computes a kind of filter."""

    dtypes: str
    """By NumPy's characters."""
    modes: frozenset[str]
    """Of the boundary; each axis that is filtered must have the same."""
    taps: Mapping[str, int]
    """The most elements of a window, by dtype; above, OpenCV goes another way, or SciPy is as fast."""


# A border of a constant is always 0 in OpenCV's linear filters; none of them takes `wrap`.
_MODES = frozenset({"reflect", "mirror", "nearest", "constant"})
TABLE: dict[str, Rule] = {
    # float32 in float32: up to this length the weights' rounding stays within 1e-6.
    "separable": Rule("fd", _MODES, {"f": 129, "d": 4097}),
    # From 130 (float64: 50) elements on OpenCV takes a Fourier transform of lower precision.
    "direct": Rule("fd", _MODES, {"f": 121, "d": 49}),
    "box": Rule("fd", _MODES, {"f": 2**14, "d": 2**14}),
    "extreme": Rule("BHhfd", _MODES, dict.fromkeys("BHhfd", 2**10)),
    "median": Rule("BHhf", frozenset({"nearest"}), dict.fromkeys("BHhf", 25)),
}


def rule(kind: str, x: Array, taps: int, modes: Sequence[str], xp: Namespace) -> Any:
    """OpenCV's name for the boundary where `TABLE` gives this filter to it, else `None`."""
    one = TABLE[kind]
    fits = (
        xp is np
        and x.ndim >= 2
        and x.size >= LEAST
        and x.dtype.char in one.dtypes
        and taps <= one.taps[x.dtype.char]
        and len(set(modes)) == 1
        and modes[0] in one.modes
    )
    return _border(modes[0]) if fits else None


def all_finite(x: Array) -> bool:
    """Whether no element is NaN or infinite.

    Either stays in a sum whatever is added to it: where the sum is finite, one quick pass was
    enough. BLAS adds up squares faster than NumPy adds up what lies together.
    """
    with np.errstate(all="ignore"):
        flat = x.reshape(-1) if x.flags.c_contiguous else None
        total = x.sum() if flat is None else flat @ flat
        return bool(np.isfinite(total) or (np.isfinite(x.min()) and np.isfinite(x.max())))


def _border(mode: str) -> int:
    import cv2  # noqa: PLC0415  (only where it filters)

    borders: dict[str, int] = {
        "reflect": cv2.BORDER_REFLECT,
        "mirror": cv2.BORDER_REFLECT_101,
        "nearest": cv2.BORDER_REPLICATE,
        "constant": cv2.BORDER_CONSTANT,
    }
    return borders[mode]


def separable(
    x: Array,
    weights: Mapping[int, Sequence[float] | Array],
    *,
    modes: Sequence[str],
    cval: float,
    origins: Sequence[int],
    xp: Namespace,
    finite: bool = False,
) -> Any:
    """Correlate along some axes, one after another, each with its own weights.

    Parameters
    ----------
    x : array
    weights : mapping of int to list of float or array
        By axis.
    modes : sequence of str
        Of every axis.
    cval : float
        What lies beyond the ends, for ``constant``.
    origins : sequence of int
        As SciPy's, of every axis.
    xp : module
    finite : bool
        Whether a weight may be 0: OpenCV leaves such an element out, SciPy makes NaN of infinity.
    """
    if isinstance(x, Traced):
        return correlated(x, weights, modes=modes, cval=cval, origins=origins)
    used = [modes[axis] for axis in weights]
    taps = max((len(w) for w in weights.values()), default=1)
    border = None if cval and "constant" in used else rule("separable", x, taps, used, xp)
    if border is None:
        return None
    import cv2  # noqa: PLC0415  (only where it filters)

    weights = {axis: np.asarray(w) for axis, w in weights.items()}
    if finite and not all_finite(x):
        return None
    one = np.ones(1)
    last = x.ndim - 1
    # The two last axes go together; any other axis is the rows of planes of all that is behind it.
    for axis in sorted(weights):
        if axis < last - 1:
            anchor = (0, _anchor(weights[axis], origins[axis]))
            down = partial(cv2.sepFilter2D, ddepth=-1, kernelX=one, kernelY=weights[axis], anchor=anchor, delta=0)
            x = _apply(x, axis, partial(_into, down, borderType=border))
    rows, columns = weights.get(last - 1, one), weights.get(last, one)
    if len(rows) > 1 or len(columns) > 1:
        at = (_anchor(columns, origins[last]), _anchor(rows, origins[last - 1]))
        x = _apply(x, last - 1, lambda p, o: cv2.sepFilter2D(p, -1, columns, rows, o, at, 0, border))
    return x


def _anchor(weights: Array, origin: int) -> int:
    return len(weights) // 2 + origin if len(weights) > 1 else 0


def direct(x: Array, weights: Array, *, mode: str, cval: float, origins: Sequence[int], xp: Namespace) -> Array | None:
    """Correlate with a kernel that lies along the two last axes."""
    border = rule("direct", x, weights.size, [mode], xp)
    if border is None or prod(weights.shape[:-2]) != 1 or (mode == "constant" and cval):
        return None
    import cv2  # noqa: PLC0415  (only where it filters)

    plane = weights.reshape(weights.shape[-2:])
    at = (plane.shape[1] // 2 + origins[-1], plane.shape[0] // 2 + origins[-2])
    return _apply(x, x.ndim - 2, lambda p, o: cv2.filter2D(p, -1, plane, o, at, 0, border))


def box(
    x: Array, sizes: Sequence[int], *, modes: Sequence[str], cval: float, origins: Sequence[int], xp: Namespace
) -> Array | None:
    """The mean of a long window along the two last axes, by a running sum in float64."""
    used = [mode for mode, size in zip(modes, sizes, strict=True) if size > 1]
    border = rule("box", x, max(sizes), used, xp)
    if border is None or any(size > 1 for size in sizes[:-2]) or ("constant" in used and cval):
        return None
    import cv2  # noqa: PLC0415  (only where it filters)

    size = (sizes[-1], sizes[-2])
    at = (sizes[-1] // 2 + origins[-1], sizes[-2] // 2 + origins[-2])
    return _apply(x, x.ndim - 2, lambda p, o: cv2.boxFilter(p, -1, size, o, at, True, border))


def extreme(
    name: str,
    x: Array,
    sizes: Sequence[int],
    *,
    modes: Sequence[str],
    cval: float,
    origins: Sequence[int],
    xp: Namespace,
) -> Array | None:
    """The smallest or largest element of a box along the two last axes; NaN is the caller's business."""
    used = [mode for mode, size in zip(modes, sizes, strict=True) if size > 1]
    border = rule("extreme", x, max(sizes), used, xp)
    if border is None or any(size > 1 for size in sizes[:-2]):
        return None
    if x.dtype.kind in "iu" and not np.iinfo(x.dtype).min <= cval <= np.iinfo(x.dtype).max:
        return None
    import cv2  # noqa: PLC0415  (only where it filters)

    run = cv2.erode if name == "minimum" else cv2.dilate
    kernel = np.ones(sizes[-2:], np.uint8)
    at = (sizes[-1] // 2 + origins[-1], sizes[-2] // 2 + origins[-2])
    value = (float(cval) if x.dtype.kind == "f" else int(cval),) * 4
    return _apply(x, x.ndim - 2, lambda p, o: run(p, kernel, o, at, 1, border, value))


def median(
    x: Array, sizes: Sequence[int], *, mode: str, cval: float, origins: Sequence[int], xp: Namespace
) -> Array | None:
    """The median of 3 by 3 or 5 by 5 along the two last axes."""
    square = sizes[-1] == sizes[-2] if x.ndim >= 2 else False
    if not square or sizes[-1] not in (3, 5) or any(size > 1 for size in sizes[:-2]) or any(origins):
        return None
    if mode == "wrap" or rule("median", x, sizes[-1] ** 2, ["nearest"], xp) is None:
        return None
    if mode == "constant" and x.dtype.kind in "iu" and not np.iinfo(x.dtype).min <= cval <= np.iinfo(x.dtype).max:
        return None
    import cv2  # noqa: PLC0415  (only where it filters)

    size, r = sizes[-1], sizes[-1] // 2

    def run(plane: Array, out: Array) -> None:
        if mode == "nearest":
            cv2.medianBlur(plane, size, out)
            return
        # OpenCV's own boundary is `nearest`: any other is laid around the plane before.
        wide = cv2.copyMakeBorder(plane, r, r, r, r, _border(mode), value=(float(cval),) * 4)
        out[...] = cv2.medianBlur(wide, size)[r:-r, r:-r]

    return _apply(x, x.ndim - 2, run)


def _into(run: Callable[..., Any], plane: Array, out: Array, **how: Any) -> None:
    run(plane, dst=out, **how)


def _apply(x: Array, axis: int, run: Callable[[Array, Array], Any]) -> Array:
    """Filter every plane of `axis` and what is behind it, into a new array."""
    if x.strides[-1] != x.itemsize or any(s <= 0 for s in x.strides):
        x = np.ascontiguousarray(x)
    out = np.empty(x.shape, x.dtype)
    if axis == x.ndim - 2:
        for index in np.ndindex(x.shape[:-2]):
            run(x[index], out[index])
        return out
    # A copy only where the axes behind do not lie together.
    shape = (prod(x.shape[:axis]), x.shape[axis], prod(x.shape[axis + 1 :]))
    for plane, result in zip(x.reshape(shape), out.reshape(shape), strict=True):
        run(plane, result)
    return out

"""Standard deviations."""

from __future__ import annotations

from typing import Any, cast

import numpy as np

from hpcflow.errors import Mismatch
from hpcflow.meta import Meta
from hpcflow.namespace import Array, Namespace
from hpcflow.ops._reduce import accumulator, count, kept_shape, not_complex_to_real, real, reduced
from hpcflow.parameters import Axes, DType, NonNegative
from hpcflow.registry import Partial, reduction


def computed_dtype(source: Any, dtype: str | None) -> np.dtype[Any]:
    """The dtype that NumPy would compute in."""
    source = np.dtype(source)
    return np.dtype(dtype or (source if source.kind in "fc" else np.float64))


def made(meta: Meta, *, axis: tuple[int, ...], dtype: str | None, keepdims: bool) -> Meta:
    """The meta of the standard deviation; it is real for complex numbers too."""
    target = computed_dtype(meta.dtype, dtype)
    if target.kind not in "fc":
        raise Mismatch(f"expected a dtype of floats, found {target}", parameter="dtype")
    not_complex_to_real(meta.dtype, target)
    return reduced(meta, axis, real(target), keepdims=keepdims)


def combine(first: Partial, second: Partial) -> Partial:
    """Counts, means and squares of both, by Chan, Golub and LeVeque's update, which does not cancel."""
    (n1, mean1, squares1), (n2, mean2, squares2) = first, second
    n = n1 + n2
    apart = mean2 - mean1
    return n, mean1 + apart * (n2 / n), squares1 + squares2 + abs(apart) ** 2 * (n1 * n2 / n)


def finalize(
    partial: Partial, *, metas: list[Meta], axis: tuple[int, ...], dtype: str | None, ddof: float, xp: Namespace
) -> Array:
    """The root of the mean square, in the result's dtype."""
    _, _, squares = partial
    with np.errstate(all="ignore"):
        variance = squares / xp.float64(max(count(metas[0], axis) - ddof, 0))
        return xp.sqrt(variance).astype(real(computed_dtype(metas[0].dtype, dtype)))


def scratch(meta: Meta) -> float:
    """The distances from the mean, in float64."""
    return accumulator(computed_dtype(meta.dtype, None)).itemsize / meta.dtype.itemsize


@reduction(combine=combine, finalize=finalize, meta=made, scratch=scratch)
def std(
    x: Array,
    /,
    *,
    axis: Axes = None,
    dtype: DType | None = None,
    ddof: NonNegative = 0.0,  # noqa: ARG001  (`finalize` reads it)
    keepdims: bool = False,  # noqa: ARG001  (the runner reads it)
    xp: Namespace,
) -> Partial:
    """Take the standard deviation of all elements or of those along some axes, as `numpy.std`.

    It is computed in float64, whatever the result's dtype.

    Parameters
    ----------
    axis : axis or list of axes
        What to take the deviation along; all of it by default.
    dtype : str, optional
        Of the result. By default the input's, but float64 for whole numbers and bools.
    ddof : float
        The sum of squares is divided by the number of elements less this: 1 for a sample.
    keepdims : bool
        Whether the axes stay, with length 1.

    Examples
    --------
    noise: {op: std, of: stack, axis: time, ddof: 1}
    """
    within = accumulator(computed_dtype(x.dtype, dtype))
    shape = kept_shape(x.shape, cast("tuple[int, ...]", axis))
    n = xp.full(shape, x.size // max(1, int(np.prod(shape))), np.float64)
    with np.errstate(all="ignore"):
        mean = x.sum(axis=axis, dtype=within, keepdims=True) / n
        apart = xp.subtract(x, mean, dtype=within)
        if within.kind == "c":
            apart = abs(apart)
        apart *= apart
        return n, mean, apart.sum(axis=axis, keepdims=True)

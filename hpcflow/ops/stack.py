"""Arrays side by side along a new axis."""

from __future__ import annotations

from collections.abc import Sequence

from hpcflow.errors import Mismatch
from hpcflow.meta import Meta
from hpcflow.namespace import Array, Namespace
from hpcflow.ops._joins import check_shapes, common_dims, common_dtype
from hpcflow.regions import Region
from hpcflow.registry import Reach, op


def result(*metas: Meta, axis: int, dim: str | None) -> Meta:
    """The inputs' with one more axis; raises `Mismatch` where they differ."""
    check_shapes(metas)
    dims = common_dims(metas)
    shape = metas[0].shape
    if not -len(shape) - 1 <= axis <= len(shape):
        raise Mismatch(
            f"expected a place from {-len(shape) - 1} to {len(shape)} for the new `axis`, found {axis}",
            parameter="axis",
        )
    if dim is not None and dim in dims:
        raise Mismatch(f"expected a `dim` that no axis is called, found {dim!r}", parameter="dim")
    at = axis % (len(shape) + 1)
    dims = (*dims[:at], dim, *dims[at:])
    return Meta((*shape[:at], len(metas), *shape[at:]), common_dtype(metas), dims)


def reach(out: Region, metas: Sequence[Meta], *, axis: int) -> Reach:
    """The same region of those inputs that it takes in."""
    at = axis % len(out)
    need = (*out[:at], *out[at + 1 :])
    first, last = out[at]
    return Reach(out, tuple(need if first <= i < last else None for i in range(len(metas))))


@op(reach=reach, meta=result, scratch=0)
def stack(*arrays: Array, axis: int = 0, dim: str | None = None, metas: Sequence[Meta] = (), xp: Namespace) -> Array:
    """Lay arrays of one shape side by side along a new axis, as `numpy.stack`.

    Parameters
    ----------
    axis : int
        Where the new axis stands among the result's; the first by default.
    dim : str
        A name for the new axis.

    Examples
    --------
    rgb: {op: stack, of: [red, green, blue], axis: -1, dim: channel}
    """
    # A block may lie in some of the inputs only; its dtype is that of all.
    return xp.stack(arrays, axis=axis, dtype=common_dtype(metas or arrays))

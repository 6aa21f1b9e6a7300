"""One array or another, element by element."""

from __future__ import annotations

from hpcflow.meta import Meta
from hpcflow.namespace import Array, Namespace
from hpcflow.registry import op


def scratch(condition: Meta) -> float:
    """The condition as booleans, where it is none."""
    return 0.0 if condition.dtype.kind == "b" else 1 / condition.dtype.itemsize


@op(scratch=scratch)
def where(condition: Array, a: Array, b: Array, /, *, xp: Namespace) -> Array:
    """Take elements of the second input where the first is true (not 0), else of the third.

    As `numpy.where`; the three are broadcast against each other.

    Examples
    --------
    masked: {op: where, of: [cells, plane, background]}
    """
    return xp.where(condition, a, b)

"""What lies above a value."""

from __future__ import annotations

from hpcflow.namespace import Array
from hpcflow.parameters import Number
from hpcflow.registry import op


@op(scratch=0)
def threshold(x: Array, /, *, value: Number) -> Array:
    """Say of every element whether it is greater than `value`.

    Parameters
    ----------
    value : number
        The threshold; what equals it is below, and so is NaN.

    Examples
    --------
    cells: {op: threshold, of: smooth, value: 0.5}
    """
    return x > value

"""Values held between two bounds."""

from __future__ import annotations

from hpcflow.errors import Mismatch
from hpcflow.namespace import Array, Namespace
from hpcflow.parameters import Number
from hpcflow.registry import op


@op(scratch=0)
def clip(x: Array, /, *, min: Number | None = None, max: Number | None = None, xp: Namespace) -> Array:
    """Set what lies below `min` to `min` and what lies above `max` to `max`, as `numpy.clip`.

    A bound with a fraction makes floats of integers. NaN stays NaN.

    Parameters
    ----------
    min : number
        The lower bound; `null` for none.
    max : number
        The upper bound; `null` for none.

    Examples
    --------
    held: {op: clip, of: plane, min: 0, max: 255}
    """
    if min is None and max is None:
        raise Mismatch("expected `min`, `max` or both, found neither")
    return xp.clip(x, min, max)

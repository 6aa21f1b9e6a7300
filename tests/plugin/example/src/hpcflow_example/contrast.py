"""An op: one function, and how far it reaches."""

from hpcflow.namespace import Array, Namespace, companion
from hpcflow.parameters import Boundary, PositiveInt
from hpcflow.registry import op


@op(depth=lambda *, size: size // 2)
def contrast(x: Array, /, *, size: PositiveInt = 3, mode: Boundary = "reflect", xp: Namespace) -> Array:
    """Take the greatest minus the least value of each window, a measure of local contrast.

    Parameters
    ----------
    size : int
        How wide the window is, in elements; an odd number.
    mode : str
        What lies beyond the array's ends.

    Examples
    --------
    texture: {op: contrast, of: plane, size: 5}
    """
    ndimage = companion(xp, "ndimage")
    return ndimage.maximum_filter(x, size, mode=mode) - ndimage.minimum_filter(x, size, mode=mode)

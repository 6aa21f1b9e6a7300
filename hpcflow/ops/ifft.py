"""The inverse Fourier transform."""

from __future__ import annotations

from hpcflow.namespace import Array, Namespace
from hpcflow.ops._transforms import Norm, result, scratch, transformed
from hpcflow.parameters import Axes
from hpcflow.registry import op


@op(whole="axes", meta=result, scratch=scratch, work=40, tile=False, parts=True)
def ifft(x: Array, /, *, axes: Axes = None, norm: Norm = "backward", cores: int, xp: Namespace) -> Array:
    """Take the inverse Fourier transform along some axes, as `scipy.fft.ifftn`.

    Each of the axes is seen from end to end. Where two axes of a large array do not fit into memory
    together, transform along one in a step of its own, and along the other in a second.

    Parameters
    ----------
    axes : axis or list of axes
        The axes to transform along; all of them by default.
    norm : str
        Where the factor 1/n goes: `backward` to the inverse, `forward` to the transform,
        `ortho` its root to both.

    Examples
    --------
    plane: {op: ifft, of: spectrum, axes: [y, x]}
    """
    return transformed("ifftn", x, axes=axes, norm=norm, cores=cores, xp=xp)  # type: ignore[arg-type]

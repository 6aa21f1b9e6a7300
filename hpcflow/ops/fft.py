"""The Fourier transform."""

from __future__ import annotations

from hpcflow.namespace import Array, Namespace
from hpcflow.ops._transforms import Norm, result, scratch, transformed
from hpcflow.parameters import Axes
from hpcflow.registry import op


@op(whole="axes", meta=result, scratch=scratch, work=40, tile=False, parts=True)
def fft(x: Array, /, *, axes: Axes = None, norm: Norm = "backward", cores: int, xp: Namespace) -> Array:
    """Take the Fourier transform along some axes, as `scipy.fft.fftn`.

    Each of the axes is seen from end to end. Where two axes of a large array do not fit into memory
    together, one is transformed after the other, with a pass over the disk in between.

    Parameters
    ----------
    axes : axis or list of axes
        The axes to transform along; all of them by default.
    norm : str
        Where the factor 1/n goes: `backward` to the inverse, `forward` to the transform,
        `ortho` its root to both.

    Examples
    --------
    spectrum: {op: fft, of: plane, axes: [y, x]}
    """
    return transformed("fftn", x, axes=axes, norm=norm, cores=cores, xp=xp)  # type: ignore[arg-type]

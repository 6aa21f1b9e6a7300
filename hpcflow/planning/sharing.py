"""Chunks that a block and the next one both read, where blocks are slabs of the first axis.

A *layer* is all chunks side by side behind one index along that axis. A process that keeps those
between two blocks (`execute/layers.py`) decodes none of them twice::

    chunks   |0      |1      |2      |3      |
    block 1        [ . . . . . . ]              reads 0, 1, 2; the next one shares 1 and 2
    block 2                [ . . . . . . ]      reads 1, 2, 3: decodes 3 alone
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

from hpcflow.meta import ItemSource, Source
from hpcflow.planning.memory import middle
from hpcflow.planning.stages import Shared, Stage
from hpcflow.regions import Interval, Region, Shape, inside, whole


def shared(stage: Stage, block: Shape) -> Mapping[str, Shared]:
    """Of each source what neighbouring blocks of this shape share; none where they share nothing."""
    domain = stage.domain
    if all(source.chunks is None for source in stage.sources.values()):
        return {}
    if not all(block) or not domain or block[0] >= domain[0] or block[1:] != domain[1:]:
        return {}
    one = middle(domain, block)
    start = one[0][1] if one[0][1] < domain[0] else one[0][0] - block[0]
    next_one = ((start, min(start + block[0], domain[0])), *one[1:])
    here, there = (stage.program.bounds(stage.wanted(region)).regions for region in (one, next_one))
    pairs = {name: (here[name], there[name]) for name in stage.sources if name in here and name in there}
    found = {name: _between(stage.sources[name], *pair) for name, pair in pairs.items()}
    return {name: each for name, each in found.items() if each is not None}


def _between(source: Source, here: Region, there: Region) -> Shared | None:
    """The layers that two regions share, if they are slabs of the source."""
    shape, chunks = source.meta.shape, source.chunks
    if not chunks or isinstance(source, ItemSource) or not (inside(here, shape) and inside(there, shape)):
        return None
    if not here[1:] == there[1:] == whole(shape[1:]):
        return None
    (a, b), (c, d) = (_layers(region[0], chunks[0]) for region in (here, there))
    common = min(b, d) - max(a, c)
    layer = min(chunks[0], shape[0]) * prod(shape[1:]) * source.meta.dtype.itemsize
    return Shared(common, layer, abs(there[0][0] - here[0][0]) / chunks[0]) if common > 0 else None


def _layers(rows: Interval, depth: int) -> Interval:
    return rows[0] // depth, -(-rows[1] // depth)

"""Ops of other packages, held against what they declare: whether a small sample tells that it was cut in two."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial, reduce
from math import prod

import numpy as np

from hpcflow.code import is_own
from hpcflow.meta import Meta
from hpcflow.namespace import Array
from hpcflow.operation import Op, accepted
from hpcflow.program.evaluate import evaluate
from hpcflow.program.program import Program, Step
from hpcflow.regions import Region, Shape, slices, tiles, whole
from hpcflow.registry import get_op
from hpcflow.spec.flow import Flow, Node
from hpcflow.text.faults import Faults

SECONDS = 1.0
"""After which an op is left alone."""
MARGINS = 6, 20
"""Elements of a sample along an axis, beyond twice the depth."""
MOST = 2**17
"""Elements of the largest sample."""
HINT = (
    "its `@op` must declare the `depth`, the `whole` axes or the `reach` that it needs, its `@reduction` a `combine` "
    "that fits: as it is, the result depends on the blocks"
)
_found: dict[str, int | None] = {}


def doubted(flow: Flow) -> Flow:
    """The flow, with a warning at each step whose op comes from another package and is not what it declares."""
    faults = Faults()
    for node in flow.nodes.values():
        metas = [meta for name in node.of if (meta := flow.nodes[name].meta) is not None]
        if node.of and len(metas) == len(node.of) and (axis := _tried(node, metas)) is not None:
            found = f"another where a small one is cut along axis {axis}"
            message = f"expected `{node.use}` to give the same result however its input is cut, found {found}"
            faults.warning(node.location, message, HINT)
    return replace(flow, warnings=(*flow.warnings, *faults.sorted()))


def _tried(node: Node, metas: Sequence[Meta]) -> int | None:
    """An axis along which a cut shows, of an op that is not hpcflow's own; found out once in a process."""
    op = get_op(node.use)
    # What is dear to import is for workers alone, and what is prepared is made of the real input.
    absent = callable(op.packages) or any(name not in sys.modules for name in op.packages)
    if absent or op.prepare is not None or is_own(op.function):
        return None
    key = repr((node.use, dict(node.params), metas))
    if key not in _found:
        _found[key] = None
        # On a thread of its own, since it may never come back.
        thread = threading.Thread(target=_try, args=(key, op, node, metas), daemon=True)
        thread.start()
        thread.join(SECONDS)
    return _found[key]


def _try(key: str, op: Op, node: Node, metas: Sequence[Meta]) -> None:
    try:
        _found[key] = next(_showing(op, node, metas, time.monotonic() + SECONDS), None)
    except Exception:  # noqa: BLE001  (the sample may be nothing that it takes)
        return


def _showing(op: Op, node: Node, metas: Sequence[Meta], until: float) -> Iterator[int]:
    """The axes along which a cut shows in what is made of samples: of zeros and ones, and of more."""
    deep = 2 * max((max(one) for one in op.halo(metas[0], node.params)), default=0)
    rng = np.random.default_rng(0)
    for margin in MARGINS:
        small = [replace(m, shape=tuple(min(n, deep + margin) for n in m.shape)) for m in metas]
        if max(prod(m.shape) for m in small) > MOST:
            return
        for drawn in ([rng.integers(0, 2, m.shape) for m in small], [256 * rng.random(m.shape) for m in small]):
            arrays = [np.asarray(x).astype(m.dtype) for x, m in zip(drawn, small, strict=True)]
            made = partial(_reduced if op.is_reduction else _evaluated, op, node, small, arrays)
            expected = made(None)
            for axis in node.params["axis"] if op.is_reduction else range(expected.ndim):
                if not _same(expected, made(axis)):
                    yield axis
                if time.monotonic() > until:
                    return


def _evaluated(op: Op, node: Node, metas: Sequence[Meta], arrays: Sequence[Array], axis: int | None) -> Array:
    """What a step makes, in two blocks along an axis or in one, as a task does."""
    inputs = [f"{i}" for i in range(len(metas))]
    step = Step("made", node.use, tuple(inputs), node.params, op.meta(metas, node.params))
    program = Program(dict(zip(inputs, metas, strict=True)), (step,))

    def read(name: str, region: Region) -> Array:
        array = arrays[int(name)]
        return array[slices(region, whole(array.shape))].copy()

    blocks = [evaluate(program, {"made": region}, read)["made"] for region in _parts(step.meta.shape, axis)]
    return np.concatenate(blocks, axis or 0) if len(blocks) > 1 else blocks[0]


def _reduced(op: Op, node: Node, metas: Sequence[Meta], arrays: Sequence[Array], axis: int | None) -> Array:
    """What a reduction gives, of two pieces along an axis or of one."""
    assert op.combine is not None
    assert op.finalize is not None
    (x,), params = arrays, node.params
    regions = _parts(x.shape, axis)
    pieces = [op([x[slices(one, whole(x.shape))].copy()], params, np, region=one, metas=metas) for one in regions]
    return op.finalize(reduce(op.combine, pieces), **accepted(op.finalize, {**params, "metas": metas, "xp": np}))


def _parts(shape: Shape, axis: int | None) -> list[Region]:
    return list(tiles(whole(shape), [-(-n // 2) if i == axis else n for i, n in enumerate(shape)]))


def _same(first: Array, second: Array) -> bool:
    """Whether two results are equal, but for rounding where they are floats."""
    if first.shape != second.shape or first.dtype.kind not in "fc":
        return bool(np.array_equal(first, second))
    tolerance = max(1e-6, 4 * np.finfo(first.dtype).eps)
    largest = np.max(np.abs(first), where=np.isfinite(first), initial=0)
    return np.allclose(first, second, rtol=tolerance, atol=tolerance * float(largest), equal_nan=True)

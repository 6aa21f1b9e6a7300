"""Programs from a few words, evaluated block by block: what the tests of the ops share."""

import numpy as np
from hypothesis import strategies as st

from hpcflow.meta import Meta
from hpcflow.parameters import resolve_axes, validate
from hpcflow.program.evaluate import evaluate
from hpcflow.program.program import Program, Step
from hpcflow.regions import slices, tiles, whole
from hpcflow.registry import get_op

MODES = ["reflect", "mirror", "nearest", "constant", "wrap", "grid-mirror", "grid-constant", "grid-wrap"]


def metas_of(arrays, dims=None, items=None):
    """The metas of sources that hold these arrays."""
    return {name: Meta(a.shape, a.dtype, (dims or {}).get(name, ()), items) for name, a in arrays.items()}


def build(inputs, *steps):
    """A program from ``(name, op, (inputs, …), params)``, checked as a flow's steps are."""
    metas = dict(inputs)
    made = []
    for name, use, of, given in steps:
        op = get_op(use)
        params = resolve_axes(op.function, validate(op.function, given), metas[of[0]])
        metas[name] = op.meta([metas[one] for one in of], params)
        made.append(Step(name, use, tuple(of), params, metas[name]))
    return Program(dict(inputs), tuple(made))


def meta_of(use, *metas, **given):
    """The meta of one op's result."""
    names = [f"x{i}" for i in range(len(metas))]
    return build(dict(zip(names, metas, strict=True)), ("out", use, names, given)).metas["out"]


def in_blocks(program, arrays, out, block):
    """A node of a program, made block by block of read-only inputs; its meta is held against what comes."""
    meta = program.metas[out]
    for array in arrays.values():
        array.flags.writeable = False
    result = np.full(meta.shape, 7).astype(meta.dtype)
    everywhere = whole(meta.shape)
    for region in tiles(everywhere, block):
        got = evaluate(program, {out: region}, lambda name, r: arrays[name][slices(r, whole(arrays[name].shape))])[out]
        assert got.dtype == meta.dtype
        result[slices(region, everywhere)] = got
    return result


def blocks_of(draw, shape):
    """Any block shape for an array, one element and the whole of it included."""
    return tuple(draw(st.integers(1, max(n, 1))) for n in shape)


def run(draw, use, arrays, dims=None, **given):
    """One op over arrays, in blocks of any shape."""
    named = {f"x{i}": a for i, a in enumerate(arrays)}
    program = build(metas_of(named, dims), ("out", use, list(named), given))
    return in_blocks(program, named, "out", blocks_of(draw, program.metas["out"].shape))

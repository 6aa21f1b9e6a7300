"""Slabs whose neighbours share chunks: when they are chosen, and what of them is kept."""

from dataclasses import replace
from itertools import count, pairwise

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hpcflow.planning.memory import task_rows
from hpcflow.planning.sharing import shared
from hpcflow.regions import block_region

MIB = 2**20
NUMBERS = count()


def scratch(rows):
    """What codecs hold at most; it stays with their threads."""
    return max(row.scratch for row in rows if row.name.startswith(("read ", "write ")))


def smoothed(planned, flow, source, chunks, **how):
    """The one stage of a Gaussian with a halo of 8, from Zarr to Zarr."""
    sink = f"y: {{to: zarr, of: y, path: OUT/y.zarr, chunks: {list(chunks)}}}"
    return planned(flow(source, ["y: {op: gaussian, of: x, sigma: 2}"], [sink]), **how).stages


@settings(deadline=None, max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.integers(40, 400), depth=st.integers(1, 60), grain=st.integers(1, 60), times=st.integers(1, 3),
    width=st.integers(1, 40),
)  # fmt: skip
def test_what_is_kept_is_what_the_next_block_reads_again(  # noqa: PLR0917  (fixtures)
    rows, depth, grain, times, width, sparse, planned, flow
):
    depth, grain = min(depth, rows), min(grain, rows)
    stage = smoothed(
        planned, flow, sparse((rows, width), chunks=(depth, width), name=f"x{next(NUMBERS)}"), (grain, width)
    )[-1]
    stage = replace(stage, block=(min(rows, grain * times), width), shared={})
    (name,) = stage.sources
    spans = []
    for i in range(stage.grid[0]):
        region = block_region((i, 0), stage.domain, stage.block)
        first, stop = stage.program.bounds(stage.wanted(region)).regions[name][0]
        spans.append({*range(first // depth, -(-stop // depth))} if stage.sources[name].chunks else set())
    found = shared(stage, stage.block).get(name)
    again = [len(one & other) for one, other in pairwise(spans)]
    assert (found is not None) <= any(again)
    assert found is not None or not again or min(again) == 0
    if found is not None:
        assert min(again) <= found.layers <= max(again)
        assert found.nbytes == depth * width * 4
        kept = replace(stage, shared={name: found})
        more, less = (task_rows(one, stage.block, stage.block) for one in (kept, stage))
        extra = found.layers * found.nbytes + scratch(more) - scratch(less)
        assert [one.total - other.total for one, other in zip(more, less, strict=True)] == [extra] * len(more)


def test_a_volume_is_cut_into_slabs_that_share_their_chunks(sparse, planned, flow):
    source = sparse((768,) * 3, "uint16", (128,) * 3)
    (stage,) = smoothed(planned, flow, source, (128,) * 3)
    assert stage.block == (128, 768, 768)
    assert stage.shared["x"].layers == 2
    # Too little memory for them: blocks that share nothing, or the volume stored in other chunks.
    for tight in smoothed(planned, flow, source, (128,) * 3, budget=900 * MIB):
        assert 2 * tight.task_memory <= 900 * MIB
        assert tight.block != stage.block


def test_blocks_that_touch_no_chunk_twice_keep_none(sparse, planned, flow):
    text = flow(
        sparse((4096, 512), chunks=(64, 512)),
        ["y: {op: expr, expr: x + 1}"],
        ["y: {to: zarr, of: y, path: OUT/y.zarr, chunks: [64, 512]}"],
    )
    (stage,) = planned(text).stages
    assert not stage.shared


def test_columns_share_no_layers(sparse, planned, flow):
    source = sparse((512, 4096), chunks=(64, 64))
    stage = smoothed(planned, flow, source, (512, 64))[-1]
    assert not shared(stage, (512, 64))

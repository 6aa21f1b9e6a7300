"""Filters as part of compiled loops: SciPy's answer, NaN and infinity where SciPy has them, whatever the cut."""

import numpy as np
import pytest
import scipy.ndimage as ndi
from hypothesis import given, settings
from hypothesis import strategies as st

from hpcflow.program.evaluate import evaluate
from hpcflow.program.fuse import Reduction, fused
from hpcflow.program.program import Fused
from hpcflow.regions import slices, tiles, whole
from hpcflow.registry import get_op
from tests.cutting import MODES, blocks_of, build, metas_of

pytestmark = pytest.mark.usefixtures("own_cache")


@st.composite
def arrays(draw):
    shape = tuple(draw(st.lists(st.integers(1, 9), min_size=1, max_size=2)))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    x = rng.uniform(-9, 99, shape).astype(draw(st.sampled_from(["f4", "f8"])))
    special = rng.choice([np.nan, np.inf, -np.inf], shape)
    x = np.where(rng.random(shape) < draw(st.sampled_from([0, 0.03])), special, x).astype(x.dtype)
    x.flags.writeable = False
    return x


def in_tiles(program, x, wanted, schedule, tile):
    """Some nodes, put together from tiles."""
    shape = program.metas[wanted[0]].shape
    out = {name: np.empty(shape, program.metas[name].dtype) for name in wanted}
    for region in tiles(whole(shape), tile):
        read = lambda _, r: x[slices(r, whole(shape))]  # noqa: E731
        got = evaluate(program, dict.fromkeys(wanted, region), read, schedule=schedule)
        for name in wanted:
            out[name][slices(region, whole(shape))] = got[name]
    return out


def close(got, want, weights):
    """Within 1e-6 of the weighted magnitudes; NaN and infinity in the same places."""
    assert got.dtype == want.dtype
    tolerance = (1e-6 if got.dtype == np.float32 else 1e-13) * 99 * weights
    np.testing.assert_allclose(got, want, rtol=0, atol=tolerance)


@settings(deadline=None, max_examples=60)
@given(arrays(), st.sampled_from(MODES), st.sampled_from(MODES), st.integers(2, 3), st.integers(-1, 0), st.data())
def test_a_chain_of_filters_is_scipys_in_any_tiles(x, first, second, size, origin, data):  # noqa: PLR0917  (drawn)
    axes = range(x.ndim)
    mixed = [data.draw(st.sampled_from([second, "reflect"])) for _ in axes]
    slopes = [(f"g{i}", "sobel", ("smooth",), {"axis": i, "mode": mixed}) for i in axes]
    names = [name for name, *_ in slopes]
    program = build(
        metas_of({"x": x}),
        ("smooth", "uniform", ("x",), {"size": size, "mode": first, "origin": origin}),
        *slopes,
        ("rest", "expr", ("x", "smooth", *names), {"expr": "x - smooth + abs(" + ") + abs(".join(names) + ")"}),
        ("rough", "expr", tuple(names), {"expr": "abs(" + ") + abs(".join(names) + ")"}),
    )
    wanted = data.draw(st.lists(st.sampled_from(["smooth", *names, "rest", "rough"]), min_size=1, unique=True))
    schedule = fused(program, wanted, [])
    asked = program.bounds(dict.fromkeys(wanted, whole(x.shape))).asked
    apart = [unit for unit in schedule.units if not isinstance(unit, Fused) and unit.name in asked]
    # All are in loops, or filters alone are wanted and none is.
    assert not apart or (schedule is program.schedule and {"rest", "rough"}.isdisjoint(wanted))
    whole_at_once = in_tiles(program, x, wanted, schedule, x.shape)
    got = in_tiles(program, x, wanted, schedule, blocks_of(data.draw, x.shape))
    with np.errstate(all="ignore"):
        smooth = ndi.correlate1d(x, np.full(size, 1 / size), 0, mode=first, origin=origin)
        if x.ndim == 2:
            smooth = ndi.correlate1d(smooth, np.full(size, 1 / size), 1, mode=first, origin=origin)
        g = {name: ndi.sobel(smooth, i, mode=mixed) for i, name in enumerate(names)}
        rough = sum(abs(one) for one in g.values())
        want = {"smooth": smooth, **g, "rough": rough, "rest": x - smooth + rough}
    for name in wanted:
        np.testing.assert_array_equal(got[name], whole_at_once[name], strict=True)
        close(got[name], want[name], 20)


@settings(deadline=None, max_examples=30)
@given(
    st.tuples(st.integers(1, 3), st.integers(1, 6), st.integers(1, 300)), st.sampled_from(MODES),
    st.sampled_from([[1, 2], [0], [2]]), st.integers(0, 99), st.data(),
)  # fmt: skip
def test_filters_of_planes_feed_a_sum(shape, mode, axes, seed, data):
    x = np.random.default_rng(seed).uniform(-9, 99, shape).astype(np.float32)
    program = build(
        metas_of({"x": x}),
        ("smooth", "uniform", ("x",), {"size": 3, "mode": mode, "axes": axes}),
        ("rest", "expr", ("x", "smooth"), {"expr": "(x - smooth) ** 2"}),
    )
    total = {"axis": (0, 1, 2), "keepdims": False, "dtype": None}
    schedule = fused(program, [], [Reduction("total", "rest", get_op("sum"), total)])
    assert [unit.label for unit in schedule.units] == ["smooth+rest+total"]
    found = 0.0
    for region in tiles(whole(shape), blocks_of(data.draw, shape)):
        read = lambda _, r: x[slices(r, whole(shape))]  # noqa: E731
        (part,) = evaluate(program, {"rest": region}, read, schedule=schedule)["total"]
        found += part.item()
    want = ((x - ndi.uniform_filter(x, [3 if i in axes else 1 for i in range(3)], mode=mode)).astype(float) ** 2).sum()
    np.testing.assert_allclose(found, want, rtol=1e-6, atol=1e-8 * x.size)


def test_filters_by_themselves_are_left_to_their_library():
    """Only where something is compiled anyway do they gain from it."""
    slope = ("slope", "sobel", ("smooth",), {"axis": 0})
    filters = [("smooth", "uniform", ("x",), {"size": 3}), slope]
    metas = metas_of({"x": np.zeros((9, 9), "f4")})
    assert fused(build(metas, *filters), ["slope"], []).units == build(metas, *filters).steps
    more = build(metas, *filters, ("more", "expr", ("slope",), {"expr": "slope * slope + 1"}))
    assert [unit.label for unit in fused(more, ["more"], []).units] == ["smooth", "slope+more"]

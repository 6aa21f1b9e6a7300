"""What a second run computes again: exactly what is missing, damaged or changed."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

import hpcflow
from hpcflow.execute.receipts import Receipt, parse, read, stage_key
from hpcflow.meta import Bad
from hpcflow.planning.draft import Draft
from hpcflow.sinks._parts import part_of

FLOW = """
flow: resume
block: [16, 16]
params: {sigma: 1.0}
sources:
  x: {from: npy, path: x.npy, dims: [y, x]}
steps:
  smooth: {op: gaussian, of: x, sigma: "${sigma}", truncate: 2}
  total: {op: sum, of: smooth}
  relative: {op: expr, expr: "smooth / total"}
sinks:
  smooth: {to: npy, of: smooth, path: smooth.npy}
  tiled: {to: zarr, of: smooth, path: smooth.zarr, chunks: [16, 16]}
  relative: {to: npy, of: relative, path: relative.npy}
  total: {to: json, of: total, path: total.json}
"""
BLOCKS = 16


@pytest.fixture
def flow(tmp_path, monkeypatch):
    """A flow over a plane of 64 x 64, cut into 16 blocks of 16 x 16."""
    monkeypatch.chdir(tmp_path)
    np.save("x.npy", np.random.default_rng(0).random((64, 64)))
    Path("resume.yaml").write_text(FLOW)
    return "resume.yaml"


def run(flow, **options):
    report = hpcflow.run(flow, cluster="synchronous", **options)
    return report.tasks["executed"], report.tasks["reused"]


def outputs():
    arrays = [np.load("smooth.npy"), np.load("relative.npy"), zarr.open("smooth.zarr", mode="r")[...]]
    return [array.tobytes() for array in arrays] + [Path("total.json").read_bytes()]


def test_a_finished_run_computes_nothing_again(flow):
    assert run(flow) == (2 * BLOCKS, 0)
    first, stamps = outputs(), [Path(p).stat().st_mtime_ns for p in ("smooth.npy", "relative.npy")]
    assert run(flow) == (0, 2 * BLOCKS)
    assert outputs() == first
    assert [Path(p).stat().st_mtime_ns for p in ("smooth.npy", "relative.npy")] == stamps


def test_fresh_computes_everything_again(flow):
    run(flow)
    assert run(flow, fresh=True) == (2 * BLOCKS, 0)


def test_a_changed_parameter_computes_what_depends_on_it(flow):
    run(flow)
    assert run(flow, params={"sigma": 2.0}) == (2 * BLOCKS, 0)


@pytest.mark.parametrize("path", ["smooth.npy", "relative.npy"])
def test_a_flipped_byte_of_an_output_costs_one_block(flow, path):
    run(flow)
    first = outputs()
    content = bytearray(Path(path).read_bytes())
    content[-100] ^= 4
    Path(path).write_bytes(content)
    assert run(flow) == (1, 2 * BLOCKS - 1)
    assert outputs() == first


def test_a_missing_chunk_costs_one_block(flow):
    run(flow)
    first = outputs()
    Path("smooth.zarr/c/1/1").unlink()
    assert run(flow) == (1, 2 * BLOCKS - 1)
    assert outputs() == first


def test_a_missing_output_is_made_again(flow):
    run(flow)
    first = outputs()
    Path("relative.npy").unlink()
    assert run(flow) == (BLOCKS, BLOCKS)
    assert outputs() == first


def test_a_touched_input_costs_nothing(flow):
    run(flow)
    os.utime("x.npy", (1, 1))
    assert run(flow) == (0, 2 * BLOCKS)


def test_a_changed_byte_of_the_input_costs_what_it_reaches(flow):
    run(flow)
    x = np.load("x.npy")
    x[24, 24] += 1e-9  # the middle of one block, further from its edges than the filter reaches
    np.save("x.npy", x)
    executed, reused = run(flow)
    # One block of the first stage; the total changes by it, and so does all that is divided by it.
    assert (executed, reused) == (1 + BLOCKS, BLOCKS - 1)
    again = outputs()
    run(flow, fresh=True)
    assert outputs() == again


def test_a_changed_byte_whose_time_was_set_back_is_seen(flow):
    run(flow)
    before = Path("x.npy").stat()
    with Path("x.npy").open("r+b") as file:
        file.seek(-3, os.SEEK_END)
        file.write(b"\x01")
    os.utime("x.npy", ns=(before.st_atime_ns, before.st_mtime_ns))
    assert run(flow) == (1 + BLOCKS, BLOCKS - 1)


CHUNKS = """
flow: chunks
block: [16, 16]
sources: {x: {from: SOURCE}}
steps: {twice: {op: expr, expr: 2 * x}}
sinks: {twice: {to: npy, of: twice, path: twice.npy}}
"""


@pytest.mark.parametrize("stored", [{}, {"zarr_format": 2}, {"shards": (16, 32)}, {"name": "group/part"}])
def test_chunks_of_an_input_that_are_written_to_cost_what_they_reach(stored, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    x = zarr.create_array("x.zarr", shape=(64, 64), chunks=(16, 16), dtype="f4", fill_value=0, **stored)
    x[16:] = 1
    Path("f.yaml").write_text(CHUNKS.replace("SOURCE", f"zarr, path: x.zarr, component: {stored.get('name', '')!r}"))
    assert run("f.yaml") == (BLOCKS, 0)
    assert run("f.yaml") == (0, BLOCKS)
    x[20, 20] = 5
    x[0, 0] = 3  # in a chunk that was not there
    assert run("f.yaml") == (2, BLOCKS - 2)
    np.testing.assert_array_equal(np.load("twice.npy"), 2 * x[...])


def test_a_chunk_of_a_data_set_that_is_written_to_costs_what_it_reaches(tmp_path, monkeypatch):
    xarray = pytest.importorskip("xarray")
    monkeypatch.chdir(tmp_path)
    part = xarray.DataArray(np.ones((64, 64)), dims=("y", "x"), name="part")
    part.to_dataset().to_zarr("x.zarr", zarr_format=2, encoding={"part": {"chunks": (16, 16)}})
    Path("f.yaml").write_text(CHUNKS.replace("SOURCE", "xarray, path: x.zarr, variable: part"))
    assert run("f.yaml") == (BLOCKS, 0)
    zarr.open("x.zarr")["part"][20, 20] = 5
    assert run("f.yaml") == (1, BLOCKS - 1)
    assert np.load("twice.npy")[20, 20] == 10


def test_receipts_that_are_torn_or_flipped_are_not_believed(flow):
    run(flow)
    first = outputs()
    journals = sorted(Path("runs/resume/receipts").glob("*/*.jsonl"))
    torn = journals[0].read_bytes()
    journals[0].write_bytes(torn[:-1])
    lost = bytearray(journals[1].read_bytes())
    lost[5] ^= 1
    journals[1].write_bytes(lost)
    assert run(flow) == (2, 2 * BLOCKS - 2)
    assert outputs() == first


def test_a_run_cut_short_is_taken_up(flow, monkeypatch):
    run(flow)
    first = outputs()
    run(flow, fresh=True)
    (journal,) = Path("runs/resume/receipts").glob("smooth-*/*.jsonl")
    journal.write_bytes(b"".join(journal.read_bytes().splitlines(keepends=True)[:5]))
    key = stage_key(hpcflow.plan(flow, cluster="synchronous").stages[0])
    for path in ("smooth.npy", "smooth.zarr"):
        Path(path).rename(part_of(path, key, "0123456789ab"))
    executed, reused = run(flow)
    assert (executed, reused) == (BLOCKS - 5, BLOCKS + 5)
    assert outputs() == first


def test_an_output_of_another_shape_is_replaced(flow):
    np.save("smooth.npy", np.zeros(3))
    assert run(flow, overwrite=True) == (2 * BLOCKS, 0)


TWO_WAYS = """
flow: ways
block: [16, 16]
sources: {x: {from: npy, path: x.npy}}
steps:
  down: {op: softmax, of: x, axis: 0}
  across: {op: softmax, of: down, axis: 1}
sinks: {across: {to: npy, of: across, path: across.npy}}
"""


def test_what_only_stages_need_is_removed_and_made_again_where_it_is_needed(flow, monkeypatch):
    def cut(draft):
        return draft.cut("down"), draft.cut("down").stages()

    monkeypatch.setattr(Draft, "cut_where_it_pays", cut)
    Path("ways.yaml").write_text(TWO_WAYS)
    executed, _ = run("ways.yaml")
    assert [path.name for path in Path("runs/ways/stages").iterdir()] == ["down.npy.gone"]
    first = Path("across.npy").read_bytes()
    assert run("ways.yaml") == (0, executed)
    Path("across.npy").write_bytes(first[:-1] + bytes([first[-1] ^ 1]))
    again, reused = run("ways.yaml")
    assert again + reused == executed
    assert 1 < again < executed
    assert Path("across.npy").read_bytes() == first
    assert run("ways.yaml") == (0, executed)
    assert [path.name for path in Path("runs/ways/stages").iterdir()] == ["down.npy.gone"]


RECEIPTS = st.builds(
    Receipt,
    st.integers(0, 10**6),
    st.dictionaries(st.text(), st.text(), max_size=3),
    st.dictionaries(st.text(), st.tuples(st.text(), st.text()), max_size=3),
    st.just({}),
    st.lists(st.builds(Bad, st.text(), st.integers(0, 99), st.text(), st.text()), max_size=2).map(tuple),
)


@settings(deadline=None)
@given(RECEIPTS)
def test_a_receipt_survives_the_journal(receipt):
    assert parse(receipt.line()) == receipt


@given(RECEIPTS, st.data())
def test_a_flipped_bit_of_a_receipt_is_seen(receipt, data):
    line = bytearray(receipt.line())
    line[data.draw(st.integers(0, len(line) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    assert parse(bytes(line)) != receipt
    assert parse(bytes(line)) is None


def test_partials_keep_every_bit(tmp_path):
    partials = {"total": (np.array([[np.nan, -0.0]]), np.array([[2**60]]))}
    receipt = Receipt(3, {}, {}, partials)
    (tmp_path / "a.jsonl").write_bytes(receipt.line())
    (back,) = read(tmp_path)
    for one, two in zip(partials["total"], back.partials["total"], strict=True):
        assert one.dtype == two.dtype
        assert one.shape == two.shape
        assert one.tobytes() == two.tobytes()
    assert json.loads(receipt.line().partition(b" ")[2])["block"] == 3

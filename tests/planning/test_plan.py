"""What a plan says, and what it refuses."""

import json

import pytest

from hpcflow.errors import FlowError
from hpcflow.planning.processes import base

MIB = 2**20
NPY = "y: {to: npy, of: y, path: OUT/y.npy}"


def test_json_has_every_field_and_is_json(sparse, planned, flow):
    plan = planned(flow(sparse((4096, 4096)), ["y: {op: uniform, of: x}"], [NPY]))
    found = json.loads(json.dumps(plan.to_json()))
    assert {"flow", "tasks", "bytes_read", "bytes_written", "memory", "stages", "outputs"} <= found.keys()
    assert {"disk", "scratch_disk", "advice"} <= found.keys()
    assert {"per_task", "peak", "budget", "driver", "worker", "base"} <= found["memory"].keys()
    (stage,) = found["stages"]
    assert {"name", "steps", "tasks", "block", "halo", "task_memory"} <= stage.keys()
    assert [row["name"] for row in stage["memory"]] == ["read x", "y", "write y"]
    assert found["memory"]["peak"] == found["memory"]["base"] + 2 * stage["task_memory"] + stage["tasks"]
    assert found["bytes_written"] == 4096 * 4096 * 4
    assert found["disk"] == {plan.targets[0].path: 4096 * 4096 * 4}


@pytest.mark.parametrize("place", ["", "stages/t.npy", "receipts", "report.json"])
def test_an_output_never_stands_where_a_run_keeps_its_own(place, sparse, planned, flow):
    steps = ["y: {op: uniform, of: x}", "t: {op: sum, of: y}"]
    path = f"OUT/run/{place}"
    text = flow(
        sparse((64, 64)), steps, [f"y: {{to: npy, of: y, path: {path}}}", "t: {to: json, of: t, path: OUT/t.json}"]
    )
    with pytest.raises(FlowError, match="where the run keeps what is its own"):
        planned(text)


def test_the_table_adds_up(sparse, planned, flow):
    text = str(planned(flow(sparse((4096, 4096)), ["y: {op: uniform, of: x}"], [NPY])))
    for row in ("read x", "write y", "kept by malloc", "driver", "2 tasks at once", "at the peak", "allowed"):
        assert row in text
    assert max(map(len, text.splitlines())) < 200


def test_processes_that_take_more_than_all_are_named_with_what_would_do(sparse, planned, flow):
    text = flow(sparse((64, 64)), ["y: {op: uniform, of: x}"], [NPY])
    with pytest.raises(FlowError) as caught:
        planned(text, budget=50 * MIB)
    (fault,) = caught.value.faults
    assert "its processes alone take" in fault.message
    assert "`--memory" in fault.hint


def test_a_block_that_cannot_fit_is_refused_with_the_arithmetic_and_what_would_fit(sparse, planned, flow):
    sink = "y: {to: zarr, of: y, path: OUT/y.zarr, chunks: [16384, 16384]}"
    text = flow(sparse((32768, 32768)), ["y: {op: uniform, of: x}"], [sink])
    room = base(planned(text).flow, 1, processes=False).total
    with pytest.raises(FlowError) as caught:
        planned(text, budget=room + 300 * MIB)
    (fault,) = caught.value.faults
    assert fault.location.line == text.splitlines().index(next(x for x in text.splitlines() if "to: zarr" in x)) + 1
    assert "16384\N{MULTIPLICATION SIGN}16384" in fault.message
    assert "+ 1 \N{MULTIPLICATION SIGN}" in fault.message
    asked = int(fault.hint.partition("--memory ")[2].partition("MiB")[0]) * MIB
    assert planned(text, budget=asked + 20 * MIB).peak_memory <= asked + 20 * MIB
    assert "the largest block that fits is" in fault.hint


def test_a_block_asked_for_that_cannot_fit_is_refused_with_the_largest_that_does(sparse, planned, flow):
    zarr = "y: {to: zarr, of: y, path: OUT/y.zarr, chunks: [1024, 1024]}"  # gathered: its codec needs whole chunks
    text = flow(sparse((32768, 32768)), ["y: {op: uniform, of: x}"], [zarr], more="block: [16384, 16384]")
    room = base(planned(text).flow, 1, processes=False).total
    with pytest.raises(FlowError, match="the block that the flow asks for") as caught:
        planned(text, budget=room + 200 * MIB)
    (fault,) = caught.value.faults
    largest = fault.hint.partition("the largest block that fits is ")[2].partition(":")[0]
    fitting = text.replace("[16384, 16384]", f"[{largest.replace(chr(0xD7), ', ')}]")
    assert planned(fitting, budget=room + 200 * MIB).tasks > 1


def test_what_fits_in_passes_over_the_disk_is_not_asked_to_fit_in_one(sparse, planned, flow):
    steps = ["r: {op: fft, of: x, axes: [0]}", "c: {op: fft, of: r, axes: [1]}"]
    text = flow(sparse((20_000, 20_000)), steps, ["c: {to: zarr, of: c, path: OUT/c.zarr, chunks: [500, 500]}"])
    with pytest.raises(FlowError) as caught:
        planned(text, budget=2**30)
    asked = int(caught.value.faults[0].hint.partition("--memory ")[2].partition("MiB")[0]) * MIB
    assert asked < 4 * 2**30  # in one pass it takes 10 GiB
    assert len(planned(text, budget=asked).stages) == 2


@pytest.mark.parametrize(
    ("shape", "dtype", "chunks", "steps", "sink", "more", "says"),
    [
        ((8192, 8192), "uint16", None, "y: {op: astype, of: x, dtype: float64}", NPY, "", "float32 would halve it"),
        (
            (8192, 8192),
            "float32",
            (1024, 1024),
            "y: {op: clip, of: x, min: 0}",
            "y: {to: zarr, of: y, path: OUT/y.zarr, chunks: [700, 700]}",
            "block: [700, 700]",
            "decode every chunk of `x`",
        ),
        (
            (8192, 8192),
            "float32",
            None,
            "y: {op: clip, of: x, min: 0}",
            "y: {to: zarr, of: y, path: OUT/y.zarr, codec: gzip}",
            "",
            "`codec: gzip` binds the run",
        ),
        ((200_000, 64), "float32", None, "y: {op: clip, of: x, min: 0}", NPY, "block: [1]", "too small to be worth"),
        (
            (8192, 8192),
            "float32",
            None,
            "y: {op: clip, of: x, min: 0}",
            "y: {to: zarr, of: y, path: OUT/y.zarr, chunks: [32, 32]}",
            "",
            "65,536 files of 4.0 KiB",
        ),
    ],
)
def test_advice_has_a_place_and_figures(shape, dtype, chunks, steps, sink, more, says, sparse, planned, flow):  # noqa: PLR0917
    plan = planned(flow(sparse(shape, dtype, chunks), [steps], [sink], more))
    (found,) = [one for one in plan.advice if says in one.message]
    assert any(letter.isdigit() for letter in found.message)
    assert found.hint
    assert found.location.line > 0
    assert says in str(plan)
    assert says in json.dumps(plan.to_json()["advice"], ensure_ascii=False)


def test_a_good_flow_needs_no_advice(sparse, planned, flow):
    sink = "y: {to: zarr, of: y, path: OUT/y.zarr}"
    assert planned(flow(sparse((8192, 8192)), ["y: {op: gaussian, of: x, sigma: 2}"], [sink])).advice == ()

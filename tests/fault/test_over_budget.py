"""Ops and documents that take more memory than they said: no run that did so is complete."""

import pytest

MIB = 2**20


def over(one, cluster, memory, names, **more):
    """Run a case that takes too much; then, from where it stopped, with the fault gone."""
    took = more.pop("took")
    assert one.run("--memory", memory, cluster=cluster, FAULTY_BYTES=str(took), **more) == 1, one.log
    assert "Traceback" not in one.log
    assert f"expected the run to hold {memory[:-3]} MiB at most" in one.log
    assert names in one.log
    assert "run it again with `--memory" in one.log
    report = one.report
    assert (report["status"], report["exit_code"]) == ("failed", 1)
    assert report["memory"]["measured_peak"] > report["memory"]["budget"]
    assert one.run("--memory", memory, cluster=cluster) == 0, one.log
    assert one.report["memory"]["measured_peak"] <= one.report["memory"]["budget"]
    return one.report["tasks"]


@pytest.mark.parametrize(
    ("cluster", "memory", "took"), [("threads", "400MiB", 350 * MIB), ("local", "500MiB", 350 * MIB)]
)
def test_a_block_that_takes_too_much_ends_the_run_which_goes_on_from_there(case, cluster, memory, took):
    one = case(kind="swell", at=7.0)
    one.plant(9, 7.0)
    tasks = over(one, cluster, memory, "the stage `both`", took=took)
    assert tasks["reused"] > 4


def test_a_document_that_takes_too_much_is_named(case):
    one = case()
    flow = one.folder / "flow.yaml"
    flow.write_text(flow.read_text() + "  heavy: {to: ballast, of: total, path: out/heavy.txt}\n")
    tasks = over(one, "threads", "400MiB", "the document `heavy`", took=450 * MIB)
    assert tasks["reused"] == one.blocks
    assert (one.folder / "out/heavy.txt").read_text() == "done"

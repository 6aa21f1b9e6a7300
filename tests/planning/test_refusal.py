"""What a refusal names does fit, and not much less does; what fits on fewer threads runs on those."""

import json
import re
import subprocess
import sys

import numpy as np
import pytest

import hpcflow
from hpcflow.errors import FlowError

MIB = 2**20
FLOWS = {
    "one pass": (["y: {op: fft, of: x, axes: [0]}"], 8192),
    "two passes": (["a: {op: fft, of: x, axes: [1]}", "y: {op: fft, of: a, axes: [0]}"], 32768),
    "whole": (["y: {op: fft, of: x}"], 8192),
    "parts": (["y: {op: ifft, of: x, axes: [1, 0], norm: ortho}"], 32768),
    "centred": (["m: {op: mean, of: x, axis: 0}", "y: {op: expr, expr: x - m}"], 8192),
    "matrices": (["y: {op: matmul, of: [x, x]}"], 8192),
}


def flow_of(folder, steps, side):
    np.lib.format.open_memmap(folder / "x.npy", "w+", np.float32, (side, side))
    lines = ["flow: refused", f"sources: {{x: {{from: npy, path: {folder}/x.npy}}}}", "steps:"]
    lines += [f"  {step}" for step in steps] + [f"sinks: {{y: {{to: npy, of: y, path: {folder}/y.npy}}}}"]
    (folder / "f.yaml").write_text("\n".join(lines) + "\n")
    return hpcflow.load(folder / "f.yaml")


def planned(flow, folder, nbytes, threads=2):
    return hpcflow.plan(flow, cluster="threads", threads=threads, memory=nbytes, run_dir=folder / "run")


@pytest.mark.parametrize("share", [0.5, 1.01])
@pytest.mark.parametrize("name", FLOWS)
def test_the_memory_that_is_named_is_the_least_that_would_do(tmp_path, name, share):
    flow = flow_of(tmp_path, *FLOWS[name])
    processes = planned(flow, tmp_path, "64GiB").base.total
    with pytest.raises(FlowError) as caught:
        planned(flow, tmp_path, int(share * processes))
    (fault,) = caught.value.faults
    least = int(re.search(r"`--memory (\d+)MiB`", fault.hint)[1]) * MIB
    assert planned(flow, tmp_path, least).peak_memory <= least
    if least > 1.1 * processes:
        with pytest.raises(FlowError):
            planned(flow, tmp_path, int(0.95 * least))


def test_what_fits_on_one_thread_runs_on_one_and_says_so(tmp_path):
    flow = flow_of(tmp_path, ["y: {op: matmul, of: [x, x]}"], 1024)
    plans = [planned(flow, tmp_path, "16GiB", threads) for threads in (1, 4)]
    least = planned(flow, tmp_path, "16GiB", 1).base.total
    for nbytes in range(least, plans[1].peak_memory + 64 * MIB, 4 * MIB):
        try:
            alone = planned(flow, tmp_path, nbytes, 1)
        except FlowError:
            continue
        tight = planned(flow, tmp_path, nbytes, 4)
        assert tight.peak_memory <= nbytes
        if tight.threads < 4:
            assert any("at once do not fit" in one.message for one in tight.advice)
            break
    assert alone.threads == 1
    command = [sys.executable, "-m", "hpcflow", "run", "f.yaml", "--cluster", "threads", "--threads", "4", "--json"]
    ran = subprocess.run([*command, "--memory", str(nbytes)], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    report = json.loads(ran.stdout)
    assert report["cluster"]["threads"] == tight.threads
    assert report["memory"]["measured_peak"] <= nbytes

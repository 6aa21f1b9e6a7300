"""What a plan says of memory holds: measured ≤ projected ≤ 1.5 times measured.

A few flows by default; all of them, at every size, with ``HPCFLOW_MEMORY=all`` (an hour on two cores).
"""

import os

import pytest
from memory_flows import CASES, SIZES, measured

QUICK = {
    "uniform": "medium",
    "zarr to zarr": "medium",
    "slabs": "medium",
    "mean of a stack": "medium",
    "picture": "medium",
    "netcdf": "medium",
    "tight": "medium",
}
ALL = os.environ.get("HPCFLOW_MEMORY") == "all"
CHOSEN = [(case, size) for case in CASES for size in SIZES if ALL or QUICK.get(case.name) == size]


@pytest.mark.timeout(600)
@pytest.mark.parametrize(("case", "size"), CHOSEN, ids=lambda one: getattr(one, "name", one))
def test_a_run_takes_what_its_plan_said(case, size, tmp_path):
    memory = measured(case, SIZES[size], tmp_path)
    assert memory["measured_peak"] <= memory["projected_peak"] <= memory["budget"]
    assert memory["projected_peak"] <= 1.5 * memory["measured_peak"]

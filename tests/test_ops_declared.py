"""What the ops say of themselves: examples that are right, memory that is held, nothing that is heavy."""

import inspect
import re
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest
import yaml
from cutting import build, metas_of

from hpcflow.operation import call
from hpcflow.parameters import parameter_model, validate
from hpcflow.regions import whole
from hpcflow.registry import get_op

KERNEL = [[0, 1, 0], [1, 5, 1], [0, 1, 0]]
OPS = {
    "uniform": [{}, {"size": 17}, {"axes": [1]}],
    "gaussian": [{"sigma": 2}],
    "median": [{"size": 3}, {"footprint": KERNEL}],
    "minimum": [{"size": 3}, {"footprint": KERNEL}],
    "maximum": [{"size": 3}, {"footprint": KERNEL}],
    **{one: [{"size": 3}, {"footprint": KERNEL}] for one in ("erosion", "opening", "black_tophat")},
    **{one: [{"footprint": {"disk": 3}}] for one in ("dilation", "closing", "white_tophat")},
    "morphological_gradient": [{"size": 3}],
    "broadcast": [{"shape": [3, 600, 500]}],
    "expand_dims": [{}],
    "flip": [{}, {"axis": 0}],
    "pad": [{"pad_width": 9}, {"pad_width": {0: [0, 9]}, "mode": "reflect"}],
    "repeat": [{"repeats": 2, "axis": 1}],
    "roll": [{"shift": 6, "axis": 1}],
    "rot90": [{}],
    "squeeze": [{}],
    "tile": [{"reps": {0: 2}}],
    "diff": [{}, {"axis": 0, "n": 2}],
    "gaussian_laplace": [{"sigma": 2}],
    "gradient": [{}, {"axis": 0, "edge_order": 2}],
    "gradient_magnitude": [{"sigma": 2}],
    "prewitt": [{}],
    "sobel": [{}],
    "laplace": [{}, {"axes": [0]}],
    "correlate": [{"weights": KERNEL}],
    "convolve": [{"weights": KERNEL}],
    "isel": [{"indexers": {0: 3, 1: "::-2"}}, {"indexers": {0: [5, 0, 3], 1: [*range(9)]}}],
    "transpose": [{}],
    "stack": [{}, {"axis": -1}],
    "concatenate": [{}, {"axis": 1}],
    "astype": [{"dtype": "float64"}, {"dtype": "uint8"}],
    "clip": [{"min": 1, "max": 5}, {"min": 0.5}],
    "normalize": [{"mean": 1, "std": 2}],
    "threshold": [{"value": 1}],
    "where": [{}],
    "softmax": [{}, {"axis": 0}],
    "top_k": [{"k": 5}, {"k": 5, "axis": 0}],
}
INPUTS = {"where": 3, "stack": 2, "concatenate": 2}


@pytest.mark.parametrize("name", OPS)
def test_the_example_is_a_step_that_fits(name):
    op = get_op(name)
    text = inspect.getdoc(op.function)
    (line,) = re.search(r"Examples\n-+\n(.*)", text, re.DOTALL)[1].strip().splitlines()
    ((_, step),) = yaml.safe_load(line).items()
    assert step.pop("op") == name
    of = step.pop("of")
    fewest, most = op.arity
    assert fewest <= (len(of) if isinstance(of, list) else 1) <= (most or 99)
    validate(op.function, step)


@pytest.mark.parametrize("name", OPS)
def test_every_parameter_is_described(name):
    fields = parameter_model(get_op(name).function).model_fields
    assert [field.alias for field in fields.values() if not field.description] == []


@pytest.mark.parametrize("dtype", ["uint8", "float32", "float64", ">f4", ">i2", "nan"])
@pytest.mark.parametrize(("name", "given"), [(name, one) for name, all_given in OPS.items() for one in all_given])
def test_an_op_holds_no_more_than_it_says(name, given, dtype):
    values = np.random.default_rng(0).normal(100, 20, (600, 500))
    x = values.astype("f4" if dtype == "nan" else dtype)
    if dtype == "nan":
        x[5, 5] = np.nan
    arrays = {f"x{i}": x for i in range(INPUTS.get(name, 1))}
    held(name, arrays, given)


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int32", "int64", "float32", ">f4"])
def test_a_median_of_a_line_holds_no_more_than_it_says(dtype):
    held("median", {"x0": np.arange(300_000).astype(dtype)}, {"size": 5})


def held(name, arrays, given):
    """Run the op once and hold what it needed against what it declares."""
    program = build(metas_of(arrays), ("out", name, list(arrays), given))
    op, params = program.ops["out"], program.steps[0].params
    metas = list(program.inputs.values())
    factor = op.scratch if isinstance(op.scratch, (int, float)) else call(op.scratch, metas, params)
    with np.errstate(all="ignore"):
        where = {
            "metas": metas,
            "reach": op.reach(whole(program.metas["out"].shape), program.metas["out"], metas, params),
        }
        op(list(arrays.values()), params, np, **where)  # imports are not counted
        tracemalloc.start()
        result = op(list(arrays.values()), params, np, **where)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    inputs = sum(array.nbytes for array in arrays.values())
    assert peak <= factor * inputs + result.nbytes + 200_000  # the buffers of a few lines
    assert factor * inputs <= peak + inputs, "says far more than it needs"


def test_declaring_an_op_imports_nothing_heavy():
    code = (
        "import sys; from hpcflow.registry import get_op, names\n"
        f"for name in {list(OPS)}: get_op(name)\n"
        "print([m for m in ('scipy', 'dask', 'torch', 'cupy') if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert found.stdout.strip() == "[]"


@pytest.mark.parametrize("name", sorted({*OPS} - {"top_k"}))
def test_an_op_does_not_choose_where_it_runs(name):
    # `top_k` alone makes its records with NumPy: CuPy has none.
    assert {"np", "numpy", "scipy"}.isdisjoint(get_op(name).function.__code__.co_names)

"""Every op with parameters and arrays, for namespaces other than NumPy's."""

import numpy as np

from hpcflow.regions import whole
from tests.cutting import metas_of
from tests.test_ops_declared import INPUTS, OPS

FILTERS = ("uniform", "gaussian", "median", "minimum", "maximum", "laplace", "correlate", "convolve")
MORE = {
    **{name: [{**OPS[name][0], "mode": mode} for mode in ("wrap", "constant", "nearest")] for name in FILTERS},
    "fft": [{}, {"axes": [0]}, {"norm": "ortho"}],
    "ifft": [{}],
    "matmul": [{}],
    "sum": [{}, {"axis": 0}, {"axis": 0, "skipna": True}],
    "mean": [{}, {"axis": 0}, {"axis": 0, "skipna": True}],
    "min": [{}, {"axis": 1}, {"axis": 0, "skipna": True}],
    "max": [{}, {"axis": 1}],
    "std": [{}, {"axis": 0}],
    **{name: [{}, {"axis": 0}] for name in ("prod", "var", "ptp", "any", "all", "count", "count_nonzero", "argmin")},
    **{name: [{"axis": 0}, {"axis": 1}] for name in ("first", "last")},
    "argmax": [{}, {"axis": 0}, {"axis": 0, "skipna": True}],
    "histogram": [{"range": [0, 9]}, {"range": [0, 9], "axis": 0}],
    "normalize": [{"mean": [1, 2, 3, 4, 5, 6], "std": 2.0}],
    "gaussian": [{"sigma": 2, "order": 1}, {"sigma": [1, 2], "mode": ["wrap", "reflect"]}],
    "correlate": [{"weights": np.ones((25, 25)).tolist()}],
}
CASES = [(name, one) for name in {**OPS, **MORE} for one in [*OPS.get(name, []), *MORE.get(name, [])]]
ELSEWHERE = {"expr", "infer", "infer_tiled"}
"""Those that have a test of their own."""


def arrays_for(name, dtype):
    """Inputs of an op: small whole numbers, and one NaN for ``"nan"``."""
    x = np.random.default_rng(0).integers(0, 9, (30, 6) if name != "matmul" else (6, 6))
    x = x.astype("float32" if dtype == "nan" else dtype)
    if dtype == "nan":
        x[2, 3] = np.nan
    return {f"x{i}": x for i in range(2 if name == "matmul" else INPUTS.get(name, 1))}


def params_of(name, given):
    """The parameters of a reduction, as the runner gives them."""
    axes = given.get("axis")
    params = {"axis": (0, 1) if axes is None else (axes,), "keepdims": False}
    if name == "histogram":
        return {"axis": params["axis"], "bins": 5, "range": given["range"]}
    return params | ({"skipna": True} if given.get("skipna") else {})


def placed(x):
    """What else the runner tells a reduction: where the piece lies."""
    return {"region": whole(x.shape), "metas": [metas_of({"x": x})["x"]]}

"""Parameters held against signatures."""

from typing import Literal

import pytest

from hpcflow.errors import Mismatch
from hpcflow.meta import Meta
from hpcflow.parameters import Axes, Axis, DType, PerAxis, Positive, parameter_names, resolve_axes, validate
from hpcflow.parameters import ParameterFaults as Faults


def smooth(
    x, /, *, sigma: PerAxis[Positive], mode: Literal["a", "b"] = "a", copy: bool = False, kind: DType = "f4", xp=None
):
    """Smooth.

    Parameters
    ----------
    sigma : float
        How much. In elements.
    """


def flip(x, /, *, axis: Axis, axes: Axes = None, per: dict[Axis, int] | None = None):
    """Flip."""


def faults(**given):
    with pytest.raises(Faults) as caught:
        validate(smooth, given)
    return [(fault.name, fault.kind, fault.message) for fault in caught.value.faults]


def test_defaults_are_filled_in():
    assert validate(smooth, {"sigma": 2}) == {"sigma": 2, "mode": "a", "copy": False, "kind": "f4"}
    assert parameter_names(smooth) == ["sigma", "mode", "copy", "kind"]


def test_all_faults_at_once():
    assert faults(mode="c", copy="yes", colour=1, kind="x") == [
        ("sigma", "missing", "expected `sigma` of `smooth`, found none"),
        ("mode", "wrong", "expected `mode` to be one of `a` or `b`, found `c`"),
        ("copy", "wrong", "expected `copy` to be true or false, found `yes`"),
        ("kind", "wrong", "expected `kind` to be a NumPy dtype such as float32, found `x`"),
        ("colour", "unknown", "expected a parameter of `smooth`, found `colour`"),
    ]


def test_the_item_that_is_wrong():
    with pytest.raises(Faults) as caught:
        validate(smooth, {"sigma": [1, 2, "x"]})
    (fault,) = caught.value.faults
    assert fault.path == (2,)
    assert fault.message == "expected each item of `sigma` to be a number greater than 0, found `x`"


def test_hints():
    with pytest.raises(Faults) as caught:
        validate(smooth, {"sigma": "2", "copy": "no"})
    assert [fault.hint for fault in caught.value.faults] == ["without quotes, 2 is a number", "write `false`"]


META = Meta((4, 5, 6), "f4", ("z", "y", "x"))


def test_axes_become_numbers():
    resolved = resolve_axes(flip, {"axis": "x", "axes": None, "per": {"y": 1, -1: 2}}, META)
    assert resolved == {"axis": 2, "axes": (0, 1, 2), "per": {1: 1, 2: 2}}
    assert resolve_axes(flip, {"axis": -1, "axes": ["z", 2], "per": None}, META)["axes"] == (0, 2)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"axis": "t"}, r"expected `axis` to name one of the input's axes \(`z`, `y`, `x`\), found `t`"),
        ({"axis": 3}, "expected `axis` to be an axis of an array with 3 axes, found 3"),
        ({"axis": 0, "axes": ["z", 0]}, r"expected each axis once in `axes`, found \[z, 0\]"),
    ],
)
def test_axes_that_are_not_there(params, message):
    with pytest.raises(Mismatch, match=message):
        resolve_axes(flip, params, META)

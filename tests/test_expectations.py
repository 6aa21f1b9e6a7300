"""Annotations in words."""

from typing import Annotated, Any, Literal

import pytest
from pydantic import Field

from hpcflow.expectations import choices, describe, element
from hpcflow.parameters import Axes, Axis, Boundary, DType, NonNegativeInt, PerAxis, Positive


@pytest.mark.parametrize(
    ("annotation", "words"),
    [
        (str, "text"),
        (bool, "true or false"),
        (int | float, "a number"),
        (bool | float, "true or false, or a number"),
        (Any, "any value"),
        (Positive, "a number greater than 0"),
        (Annotated[float, Field(ge=0, le=1)], "a number from 0 to 1"),
        (Annotated[float, Field(gt=0, lt=1)], "a number greater than 0 and less than 1"),
        (NonNegativeInt | None, "an integer of at least 0 or null"),
        (PerAxis[Positive], "a number greater than 0, or a list of them"),
        (PerAxis[NonNegativeInt] | None, "an integer of at least 0, a list of them, or null"),
        (Axis, "the name or number of an axis"),
        (Axes, "the name or number of an axis, a list of them, or null"),
        (DType | None, "a NumPy dtype such as float32, or null"),
        (Literal["C"], "`C`"),
        (Literal["C", "F"] | None, "one of `C` or `F`, or null"),
        (Literal["auto"] | list[int], "`auto`, or a list of integers"),
        (list[list[float]], "a list of lists of numbers"),
        (Annotated[list[int], Field(min_length=2)], "a list of at least 2 integers"),
        (Annotated[list[int], Field(min_length=2, max_length=2)], "a list of 2 integers"),
        (Annotated[list[int], Field(min_length=1, max_length=2)], "a list of 1 to 2 integers"),
        (Annotated[list[int], Field(max_length=2)], "a list of at most 2 integers"),
        (Annotated[str, Field(min_length=1)], "text that is not empty"),
        (Annotated[str, Field(pattern="^a$")], "text that matches `^a$`"),
        (tuple[int, int], "a list of 2 integers"),
        (tuple[int, str], "a list of an integer and text"),
        (tuple[int, ...], "a list of integers"),
        (dict[str, Any], "a mapping of text to values"),
        (dict, "a mapping"),
        (list, "a list"),
    ],
)
def test_describe(annotation, words):
    assert describe(annotation) == words


def test_choices():
    assert choices(PerAxis[Boundary] | None)[:2] == ("reflect", "mirror")
    assert choices(int) == ()


def test_element():
    assert element(PerAxis[Positive], (1,)) == Positive
    assert element(dict[str, list[int]], ("a", 0)) is int
    assert element(dict[int, str], (4,)) is str
    assert element(tuple[int, str], (1,)) is str
    assert element(int, (0,)) is Any

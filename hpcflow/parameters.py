"""Parameters of ops, sources, sinks and models: their types, and models of them from signatures.

A function's keyword-only arguments are its parameters. Their annotations say what a flow may
give; nothing is written twice. `xp`, `region` and `metas` are filled in by the runner and are
no parameters.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Annotated, Any, Literal, TypeAlias, TypeVar, get_args

import numpy as np
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, create_model

from hpcflow.errors import Mismatch
from hpcflow.meta import Meta

T = TypeVar("T")
INJECTED = frozenset({"xp", "region", "metas"})


class AxisMarker:
    """Marks a parameter that names axes: resolved to numbers once the input's dims are known."""


def _numeric(name: str) -> str:
    try:
        dtype = np.dtype(name)
    except TypeError:
        raise ValueError(f"a NumPy dtype, for example float32; found {name!r}") from None
    if dtype.kind not in "biufc":
        raise ValueError(f"a dtype of numbers; found {name!r}")
    return name


Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
PositiveInt = Annotated[int, Field(gt=0)]
NonNegativeInt = Annotated[int, Field(ge=0)]
DType = Annotated[str, AfterValidator(_numeric), Field(json_schema_extra={"examples": ["float32", "uint8"]})]
Axis = Annotated[int | str, AxisMarker()]
"""One axis, by number (negative from the end) or by name; ops get a number from 0."""
Axes = Axis | list[Axis] | None
"""One axis, several, or all of them (`null`); ops get a tuple of numbers, never `None`."""
PerAxis: TypeAlias = T | list[T]
"""One value for every axis, or a list of one for each."""
Boundary = Literal["reflect", "mirror", "nearest", "constant", "wrap", "grid-mirror", "grid-constant", "grid-wrap"]
"""What lies beyond an array's ends, as in `scipy.ndimage`."""


@cache
def parameter_model(function: Callable[..., Any]) -> type[BaseModel]:
    """The pydantic model of a function's keyword-only parameters; unknown ones are refused."""
    fields: dict[str, Any] = {}
    documents = _parameter_docs(function)
    for parameter in inspect.signature(function, eval_str=True).parameters.values():
        if parameter.kind is not inspect.Parameter.KEYWORD_ONLY or parameter.name in INJECTED:
            continue
        default = ... if parameter.default is inspect.Parameter.empty else parameter.default
        # The alias keeps names such as `copy` or `json` from shadowing BaseModel's own.
        fields[f"p_{parameter.name}"] = (
            parameter.annotation,
            Field(default, alias=parameter.name, description=documents.get(parameter.name)),
        )
    config = ConfigDict(extra="forbid", strict=True)
    return create_model(function.__name__, __config__=config, __doc__=function.__doc__, **fields)


def _parameter_docs(function: Callable[..., Any]) -> dict[str, str]:
    """Each parameter's text from the numpydoc section of a docstring."""
    section = re.search(r"\nParameters\n-+\n(.*?)(?:\n\n\w+\n-+\n|\Z)", inspect.getdoc(function) or "", re.DOTALL)
    if section is None:
        return {}
    entries = re.findall(r"^(\S[^\n:]*) ?:[^\n]*\n((?:    .*\n?|\n)*)", section[1] + "\n", re.MULTILINE)
    return {
        name.strip(): " ".join(text.split()) for names, text in entries for name in names.split(",") if text.strip()
    }


def parameter_names(function: Callable[..., Any]) -> list[str]:
    """The names that a flow may give."""
    return [str(field.alias) for field in parameter_model(function).model_fields.values()]


def validate(function: Callable[..., Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Hold `given` against the function's signature and fill in its defaults.

    Raises
    ------
    ParameterFaults
        With one `(name, message)` for every parameter that does not fit. `name` is `None`
        where a required one is missing.
    """
    model = parameter_model(function)
    try:
        values = model.model_validate(dict(given))
    except ValidationError as error:
        raise ParameterFaults(_faults(error, given)) from None
    return {str(field.alias): getattr(values, name) for name, field in model.model_fields.items()}


class ParameterFaults(ValueError):
    """Every parameter of one node that does not fit: ``[(name, kind, message), …]``.

    `kind` is ``"missing"``, ``"unknown"`` or ``"wrong"``.
    """

    def __init__(self, faults: list[tuple[str, str, str]]) -> None:
        super().__init__(faults)
        self.faults = faults


def _faults(error: ValidationError, given: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    faults: dict[str, tuple[str, list[str]]] = {}
    for one in error.errors(include_url=False):
        name = str(one["loc"][0])
        kind = {"missing": "missing", "extra_forbidden": "unknown"}.get(one["type"], "wrong")
        faults.setdefault(name, (kind, []))[1].append(_expectation(one["msg"]))
    return [
        (name, kind, "expected " + " or ".join(dict.fromkeys(wants)) + f", found {_show(given.get(name))}")
        for name, (kind, wants) in faults.items()
    ]


def _expectation(message: str) -> str:
    message = re.sub(r"^(Input should be|Value error,) ?", "", message)
    message = re.sub(r"; found .*$", "", message)
    return message.replace("a valid ", "a ").replace("a integer", "an integer")


def _show(value: Any) -> str:
    words = {True: "true", False: "false", None: "null"}
    text = words[value] if value is None or isinstance(value, bool) else repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def resolve_axes(function: Callable[..., Any], params: Mapping[str, Any], meta: Meta) -> dict[str, Any]:
    """Turn every axis that a parameter names into a number, in place of names and negatives.

    Raises
    ------
    Mismatch
        Where there is no such axis; it names the parameter.
    """
    resolved = dict(params)
    for parameter in inspect.signature(function, eval_str=True).parameters.values():
        if parameter.name not in params:
            continue
        several = parameter.annotation == Axes
        if several or _mentions_axis(parameter.annotation):
            resolved[parameter.name] = _resolve(params[parameter.name], meta, parameter.name, several=several)
    return resolved


def _mentions_axis(annotation: Any) -> bool:
    return any(isinstance(part, AxisMarker) or _mentions_axis(part) for part in get_args(annotation))


def _resolve(value: Any, meta: Meta, parameter: str, *, several: bool) -> Any:
    if several:
        listed: Sequence[Any] = range(meta.ndim) if value is None else value if isinstance(value, list) else [value]
        axes = tuple(axis_number(one, meta, parameter) for one in listed)
        if len(set(axes)) < len(axes):
            raise Mismatch(f"expected each axis once, found {value}", parameter=parameter)
        return axes
    if isinstance(value, dict):
        return {axis_number(key, meta, parameter): one for key, one in value.items()}
    if isinstance(value, list):
        return [axis_number(one, meta, parameter) for one in value]
    return None if value is None else axis_number(value, meta, parameter)


def axis_number(axis: int | str, meta: Meta, parameter: str) -> int:
    """The number, from 0, of an axis given by number or by name."""
    if isinstance(axis, str):
        if axis in meta.dims:
            return meta.dims.index(axis)
        named = ", ".join(str(d) for d in meta.dims if d) or "none of them is named: add `dims` to the source"
        raise Mismatch(f"expected one of the input's axes ({named}), found {axis!r}", parameter=parameter)
    if -meta.ndim <= axis < meta.ndim:
        return axis % meta.ndim
    raise Mismatch(f"expected an axis of an array with {meta.ndim} of them, found {axis}", parameter=parameter)

"""Parameters of ops, sources, sinks and models: their types, and models of them from signatures.

A function's keyword-only arguments are its parameters. Their annotations say what a flow may
give; nothing is written twice. `xp`, `region`, `metas`, `reach`, `kept`, `prepared` and `cores` are filled
in by the runner and are no parameters.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, Literal, TypeAlias, TypeVar, get_args, get_origin

import numpy as np
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, create_model
from pydantic.fields import FieldInfo

from hpcflow.errors import Mismatch
from hpcflow.expectations import Says, choices, describe, element
from hpcflow.meta import Meta
from hpcflow.scalars import found, resolve

T = TypeVar("T")
INJECTED = frozenset({"xp", "region", "metas", "reach", "prepared", "cores", "kept"})


class AxisMarker(Says):
    """Marks a parameter that names axes: resolved to numbers once the input's dims are known."""


def _numeric(name: str) -> str:
    try:
        dtype = np.dtype(name)
    except TypeError:
        raise ValueError("a NumPy dtype such as float32") from None
    if dtype.kind not in "biufc":
        raise ValueError("a dtype of numbers such as float32")
    return name


Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
PositiveInt = Annotated[int, Field(gt=0)]
NonNegativeInt = Annotated[int, Field(ge=0)]
Number = int | float
"""An integer stays one: whether it does decides on the dtype of a result."""
DType = Annotated[
    str,
    AfterValidator(_numeric),
    Field(json_schema_extra={"examples": ["float32", "uint8"]}),
    Says("a NumPy dtype such as float32", "NumPy dtypes"),
]
Axis = Annotated[int | str, AxisMarker("the name or number of an axis", "names or numbers of axes")]
"""One axis, by number (negative from the end) or by name; ops get a number from 0."""
Axes = Annotated[Axis | list[Axis] | None, Field(description="The axes, by name or number; all of them by default.")]
"""One axis, several, or all of them (`null`); ops get a tuple of numbers, never `None`."""
KeepDims = Annotated[bool, Field(description="Whether the reduced axes stay, with length 1.")]
SkipNa = Annotated[bool, Field(description="Whether NaN is left out, as by NumPy's nan-functions.")]
PerAxis: TypeAlias = T | list[T]
"""One value for every axis, or a list of one for each."""
Boundary = Literal["reflect", "mirror", "nearest", "constant", "wrap", "grid-mirror", "grid-constant", "grid-wrap"]
"""What lies beyond an array's ends, as in `scipy.ndimage`."""
Cval = Annotated[float, Field(description="The value there, for `mode: constant`.")]
"""What lies there, as a constant."""


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
        said = documents.get(parameter.name) or _said(parameter.annotation)
        fields[f"p_{parameter.name}"] = parameter.annotation, Field(default, alias=parameter.name, description=said)
    config = ConfigDict(extra="forbid", strict=True)
    return create_model(function.__name__, __config__=config, __doc__=function.__doc__, **fields)


def _said(annotation: Any) -> str | None:
    """What an annotated type says of a parameter, which no docstring then has to."""
    own = [one.description for one in get_args(annotation) if isinstance(one, FieldInfo) and one.description]
    return next((said for said in (*own, *map(_said, get_args(annotation))) if said), None)


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
        With one `ParameterFault` for every parameter that does not fit.
    """
    model = parameter_model(function)
    try:
        values = model.model_validate(dict(given))
    except ValidationError as error:
        raise ParameterFaults(_faults(function, error, given)) from None
    return {str(field.alias): getattr(values, name) for name, field in model.model_fields.items()}


@dataclass(frozen=True)
class ParameterFault:
    """One parameter that does not fit."""

    name: str
    kind: Literal["missing", "unknown", "wrong"]
    message: str
    path: tuple[str | int, ...] = ()
    """Where in the value: indices of lists and keys of mappings."""
    choices: tuple[str, ...] = ()
    """What could have been meant."""
    hint: str = ""


class ParameterFaults(ValueError):
    """Every parameter of one node that does not fit, in `faults`."""

    def __init__(self, faults: list[ParameterFault]) -> None:
        super().__init__(faults)
        self.faults = faults

    def __str__(self) -> str:
        return "; ".join(fault.message for fault in self.faults)


def _faults(function: Callable[..., Any], error: ValidationError, given: Mapping[str, Any]) -> list[ParameterFault]:
    """One fault per parameter out of the many that pydantic finds (one per branch of a union)."""
    grouped: dict[str, list[Any]] = {}
    for one in error.errors(include_url=False):
        grouped.setdefault(str(one["loc"][0]), []).append(one)
    fields = {str(field.alias): field for field in parameter_model(function).model_fields.values()}
    annotations = {
        name: parameter.annotation for name, parameter in inspect.signature(function, eval_str=True).parameters.items()
    }
    faults = []
    for name, errors in grouped.items():
        if errors[0]["type"] == "extra_forbidden":
            message = f"expected a parameter of `{function.__name__}`, found `{name}`"
            takes = ", ".join(f"`{one}`" for one in fields)
            hint = f"it takes {takes}" if takes else "it takes no parameters"
            faults.append(ParameterFault(name, "unknown", message, choices=tuple(fields), hint=hint))
        elif errors[0]["type"] == "missing":
            message = f"expected `{name}` of `{function.__name__}`, found none"
            about = (fields[name].description or "").split(". ")[0].rstrip(".")
            hint = f"`{name}` is {describe(annotations[name])}" + (f": {about}" if about else "")
            faults.append(ParameterFault(name, "missing", message, hint=hint))
        else:
            faults.append(_wrong(name, annotations[name], errors, given[name]))
    return faults


SPOKEN = {"yes": "true", "on": "true", "y": "true", "no": "false", "off": "false", "n": "false"}
"""Booleans of older YAML, which are plain text since 1.2."""


def _wrong(name: str, annotation: Any, errors: list[Any], value: Any) -> ParameterFault:
    # Of a union's branches the one that got furthest into the value is the one that was meant.
    paths = [_path(one["loc"][1:], value) for one in errors]
    path = max(paths, key=len)
    own = [str(one["ctx"]["error"]) for one, at in zip(errors, paths, strict=True) if _is_own(one) and at == path]
    inner = element(annotation, path)
    if get_origin(inner) is Annotated and get_args(inner)[0] is bool:
        inner = bool
    wanted = own[0].removeprefix("expected ") if own else describe(inner)
    for step in path:
        value = value[step]
    subject = f"each item of `{name}`" if path else f"`{name}`"
    hint = ""
    if isinstance(value, str) and not isinstance(_number(value), str) and not own:
        hint = f"without quotes, {value} is a number"
    elif inner is bool and str(value).casefold() in SPOKEN:
        hint = f"write `{SPOKEN[str(value).casefold()]}`"
    message = f"expected {subject} to be {wanted}, found {found(value)}"
    return ParameterFault(name, "wrong", message, path, choices(inner), hint)


def _is_own(error: Any) -> bool:
    """Whether a validator of ours (or of a plug-in) words the message."""
    return error["type"] == "value_error" and "error" in error.get("ctx", {})


def _path(loc: Sequence[Any], value: Any) -> tuple[str | int, ...]:
    """Those parts of pydantic's location that lead into the value; the rest names branches of unions."""
    path: list[str | int] = []
    for step in loc:
        inside = isinstance(value, list) and isinstance(step, int) and step < len(value)
        if inside or (isinstance(value, dict) and step in value):
            path.append(step)
            value = value[step]
    return tuple(path)


def _number(text: str) -> Any:
    try:
        return resolve(text)
    except ValueError:
        return text


def resolve_axes(function: Callable[..., Any], params: Mapping[str, Any], meta: Meta) -> dict[str, Any]:
    """Turn every axis that a parameter names into a number, in place of names and negatives.

    Raises
    ------
    Mismatch
        Where there is no such axis; it names the parameter.
    """
    resolved = dict(params)
    for name, several in axis_parameters(function).items():
        value = params.get(name)
        if isinstance(value, dict):
            resolved[name] = _numbered(value, meta, name)
        elif name in params and several is not None:
            resolved[name] = _resolve(value, meta, name, several=several)
    return resolved


@cache
def axis_parameters(function: Callable[..., Any]) -> Mapping[str, bool | None]:
    """The parameters that name axes, and whether each is resolved to a tuple of them; `None` where only keys do."""
    parameters = inspect.signature(function, eval_str=True).parameters.values()
    named = {p.name: p.annotation for p in parameters if _mentions_axis(p.annotation)}
    return {name: one == Axes if _mentions_axis(one, keys=False) else None for name, one in named.items()}


def _mentions_axis(annotation: Any, *, keys: bool = True) -> bool:
    if get_origin(annotation) is dict and not keys:
        return False
    return any(isinstance(part, AxisMarker) or _mentions_axis(part, keys=keys) for part in get_args(annotation))


def _numbered(value: Mapping[Any, Any], meta: Meta, parameter: str) -> dict[int, Any]:
    numbered = {axis_number(key, meta, parameter): one for key, one in value.items()}
    if len(numbered) < len(value):
        raise Mismatch(f"expected each axis once in `{parameter}`, found {found(list(value))}", parameter=parameter)
    return numbered


def _resolve(value: Any, meta: Meta, parameter: str, *, several: bool) -> Any:
    if several:
        listed: Sequence[Any] = range(meta.ndim) if value is None else value if isinstance(value, list) else [value]
        axes = tuple(axis_number(one, meta, parameter) for one in listed)
        if len(set(axes)) < len(axes):
            raise Mismatch(f"expected each axis once in `{parameter}`, found {found(value)}", parameter=parameter)
        return axes
    if isinstance(value, list):
        return [axis_number(one, meta, parameter) for one in value]
    return None if value is None else axis_number(value, meta, parameter)


def axis_number(axis: int | str, meta: Meta, parameter: str) -> int:
    """The number, from 0, of an axis given by number or by name."""
    if isinstance(axis, str):
        if axis in meta.dims:
            return meta.dims.index(axis)
        named = [f"`{d}`" for d in meta.dims if d]
        if not named:
            raise Mismatch(
                f"expected `{parameter}` to be a number, as the input's axes have no names, found {found(axis)}",
                parameter=parameter,
                hint="name them with `dims` at the source",
            )
        raise Mismatch(
            f"expected `{parameter}` to name one of the input's axes ({', '.join(named)}), found {found(axis)}",
            parameter=parameter,
        )
    if -meta.ndim <= axis < meta.ndim:
        return axis % meta.ndim
    count = f"{meta.ndim} axes" if meta.ndim != 1 else "one axis"
    raise Mismatch(
        f"expected `{parameter}` to be an axis of an array with {count}, found {axis}",
        parameter=parameter,
        hint="axes count from 0" if axis == meta.ndim else "",
    )

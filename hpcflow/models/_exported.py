"""What stands in a `torch.export` archive, read without torch and before torch runs any of it."""

from __future__ import annotations

import ast
import io
import json
import re
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from hpcflow.errors import Mismatch
from hpcflow.meta import Meta
from hpcflow.regions import Shape

DTYPES = {
    1: "uint8",
    2: "int8",
    3: "int16",
    4: "int32",
    5: "int64",
    6: "float16",
    7: "float32",
    8: "float64",
    10: "complex64",
    11: "complex128",
    12: "bool",
    28: "uint16",
}
"""NumPy's names for the numbers of `torch._export.serde.schema.ScalarType`."""
OPERATORS = re.compile(
    r"torch\.ops\.(aten|prims|higher_order|torchvision)\.\w+(\.\w+)?|torch\.sym_\w+|math\.(ceil|floor|trunc)"
    r"|_operator\.(add|sub|mul|floordiv|truediv|mod|pow|neg|eq|ne|lt|le|gt|ge|and_|or_|not_|getitem)"
)
FORMULAS = frozenset(
    {"Symbol", "Integer", "Rational", "Float", "Add", "Mul", "Pow", "Mod", "Max", "Min", "Abs", "floor", "ceiling"}
    | {"Eq", "Ne", "Ge", "Gt", "Le", "Lt", "And", "Or", "Not", "FloorDiv", "CeilDiv", "CleanDiv", "PythonMod"}
    | {"Equality", "Unequality", "GreaterThan", "StrictGreaterThan", "LessThan", "StrictLessThan"}
)
"""What the formulas of an archive's shapes may call."""

Sizes = tuple[int | str, ...]
"""Lengths of axes; a formula where one is not fixed."""


@dataclass(frozen=True)
class Signature:
    """The one array that a program takes, and the one that it gives."""

    takes: Sizes
    takes_dtype: str
    gives: Sizes
    gives_dtype: str

    @property
    def batch(self) -> int | None:
        """How many items it must be given at once; `None` if any number."""
        return self.takes[0] if isinstance(self.takes[0], int) else None

    def result(self, path: str, meta: Meta) -> tuple[Shape, str]:
        """Shape (without the batch) and dtype of the result for an input with this meta."""
        known: dict[str, int] = {}
        fits = len(self.takes) == meta.ndim and self.takes_dtype == meta.dtype.name
        for wanted, n in list(zip(self.takes, meta.shape, strict=False))[1:]:
            fits = fits and n == (known.setdefault(wanted, n) if isinstance(wanted, str) else wanted)
        if not fits:
            sizes = ", ".join("any" if isinstance(n, str) else str(n) for n in self.takes[1:])
            raise Mismatch(
                f"expected the input of `{path}`: {self.takes_dtype} of shape (items, {sizes}), found {meta}"
            )
        frame = tuple(known.get(n, 0) if isinstance(n, str) else n for n in self.gives[1:])
        if self.gives[:1] != self.takes[:1] or 0 in frame:
            raise Mismatch(
                f"expected `{path}` to give an array with one item for each that it takes, "
                f"found the shape ({', '.join(map(str, self.gives))}) from ({', '.join(map(str, self.takes))})",
                parameter="model",
            )
        return frame, self.gives_dtype


def inspect(path: str, content: bytes) -> Signature:
    """Look through an archive.

    Raises
    ------
    Mismatch
        If it is none, does not take and give one array, or holds what could run other code.
    """
    try:
        files = _files(path, content)
        program = json.loads(files["models/model.json"])
        _harmless(path, files, program)
        return _described(path, program["graph_module"])
    except (zipfile.BadZipFile, KeyError, ValueError, TypeError, SyntaxError) as error:
        if isinstance(error, Mismatch):
            raise
        raise Mismatch(
            f"expected `{path}` to be written by `torch.export.save` of torch 2.8 or newer, found {error}",
            parameter="model",
        ) from error


def _files(path: str, content: bytes) -> Mapping[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        names = archive.namelist()
        if len({name.split("/")[0] for name in names}) != 1 or len(set(names)) != len(names):
            # What is read here would not be what torch reads.
            raise _refused(path, "files in it have the same name")
        return {name.partition("/")[2]: archive.read(name) for name in names}


def _harmless(path: str, files: Mapping[str, bytes], program: Any) -> None:
    for name, content in files.items():
        if name.startswith(("data/aotinductor/", "data/executorch/")):
            raise _refused(path, "it holds compiled code")
        if name.endswith("_config.json") and any(_values(json.loads(content), {"use_pickle"})):
            raise _refused(path, "it holds pickled objects")
        if re.match(r"data/(weights|constants)/.*(\.pt$|custom_obj|opaque_obj)", name):
            raise _refused(path, "it holds pickled objects")
    for target in _values(program, {"target", "as_operator"}):
        if isinstance(target, str) and not OPERATORS.fullmatch(target):
            raise _refused(path, f"it calls `{target}`")
    for formula in _values(program, {"expr_str"}):
        if not _is_formula(formula):
            raise _refused(path, f"a shape in it is no formula: `{formula}`")


def _is_formula(text: str) -> bool:
    harmless = (ast.Expression, ast.Name, ast.Load, ast.Constant, ast.keyword, ast.operator, ast.unaryop)
    return all(
        isinstance(node, (*harmless, ast.BinOp, ast.UnaryOp))
        or (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in FORMULAS)
        for node in ast.walk(ast.parse(text, mode="eval"))
    )


def _values(node: Any, keys: set[str]) -> Iterator[Any]:
    """Every value that stands under one of `keys`, at any depth."""
    if isinstance(node, dict):
        for key, value in node.items():
            if key in keys:
                yield value
            yield from _values(value, keys)
    elif isinstance(node, list):
        for value in node:
            yield from _values(value, keys)


def _described(path: str, program: Any) -> Signature:
    signature = program["signature"]
    takes = [spec["user_input"]["arg"] for spec in signature["input_specs"] if "user_input" in spec]
    gives = [spec["user_output"]["arg"] for spec in signature["output_specs"] if "user_output" in spec]
    if len(takes) != 1 or len(gives) != 1 or "as_tensor" not in takes[0] or "as_tensor" not in gives[0]:
        raise Mismatch(f"expected `{path}` to take one tensor and give one", parameter="model")
    tensors = program["graph"]["tensor_values"]
    first, last = tensors[takes[0]["as_tensor"]["name"]], tensors[gives[0]["as_tensor"]["name"]]
    return Signature(_sizes(first), DTYPES[first["dtype"]], _sizes(last), DTYPES[last["dtype"]])


def _sizes(tensor: Any) -> Sizes:
    return tuple(n["as_int"] if "as_int" in n else n["as_expr"]["expr_str"] for n in tensor["sizes"])


def _refused(path: str, why: str) -> Mismatch:
    return Mismatch(
        f"expected `{path}` to hold a program of tensor operations and nothing else, found that {why}",
        parameter="model",
        hint="save the model again with `torch.export.save(torch.export.export(model, (example,)), path)`",
    )

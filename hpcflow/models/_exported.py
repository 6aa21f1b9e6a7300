"""What stands in a `torch.export` archive, read without torch and before torch runs any of it.

`torch.export.load` does more than its name says: it unpickles what an archive keeps beside the
program, imports what the trees of its arguments name, writes names into Python code and runs it,
evaluates the formulas of its shapes, and loads compiled code. So torch never sees the file. It
gets an archive written anew, of what was understood here: operators on an allow-list, names,
numbers, and weights as raw bytes.
"""

from __future__ import annotations

import ast
import io
import json
import re
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO

from hpcflow.errors import Mismatch
from hpcflow.meta import Meta
from hpcflow.models._fit import remedy
from hpcflow.models._operators import FILLED, allowed
from hpcflow.models._weights import opened
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
FORMULAS = frozenset(
    {"Symbol", "Integer", "Rational", "Float", "Add", "Mul", "Pow", "Mod", "Max", "Min", "Abs", "floor", "ceiling"}
    | {"Eq", "Ne", "Ge", "Gt", "Le", "Lt", "And", "Or", "Not", "FloorDiv", "CeilDiv", "CleanDiv", "PythonMod"}
    | {"Equality", "Unequality", "GreaterThan", "StrictGreaterThan", "LessThan", "StrictLessThan"}
    | {"FloorToInt", "CeilToInt", "TruncToInt", "IntTrueDiv", "FloatTrueDiv", "ToFloat"}
)
"""What the formulas of an archive's shapes may call."""
LONGEST, STRONGEST = 2000, 8
"""Characters of a formula, and the exponent of a power in it, beyond which its value could take for ever."""
_FIELDS = (
    "graph_module graph signature opset_version range_constraints schema_version verifiers torch_version major minor "
    "min_val max_val inputs outputs nodes target arg name kind tensor_values sym_int_values sym_bool_values "
    "sym_float_values is_single_tensor_return is_hop_single_tensor_return as_none as_tensor as_tensors as_int as_ints "
    "as_float as_floats as_string as_strings as_sym_int as_sym_ints as_scalar_type as_memory_format as_layout "
    "as_device as_bool as_bools as_sym_bool as_sym_bools as_graph as_optional_tensors as_sym_float as_sym_floats "
    "as_optional_tensor as_complex as_nested_tensors as_int_lists as_float_lists as_name as_expr expr_str hint real "
    "imag input_specs output_specs user_input parameter buffer tensor_constant user_output buffer_mutation "
    "parameter_name buffer_name persistent tensor_constant_name dtype sizes requires_grad device strides "
    "storage_offset layout type index config path_name is_param use_pickle tensor_meta"
)
KNOWN = frozenset(_FIELDS.split())
"""The keys of `torch._export.serde.schema` that a program may use."""
UNUSED = frozenset({"metadata", "guards_code", "module_call_graph", "treespec_namedtuple_fields"})
"""What torch would make code or objects of, and what running the program does not need."""
NAME = re.compile(r"([A-Za-z_]\w*)?", re.ASCII)  # none for a result that nothing reads
PATH = re.compile(r"(?!__)[\w-]+(\.(?!__)[\w-]+)*", re.ASCII)
NUMBER, PLAIN = re.compile("-?Infinity|NaN"), re.compile(r'[^"\\\x00-\x1f]*')
TEXTS = {
    **dict.fromkeys(("parameter_name", "buffer_name", "tensor_constant_name"), PATH),
    **dict.fromkeys(("as_float", "as_floats"), NUMBER),
    # Arguments: the name of a mode, or what to say where something is not so.
    **dict.fromkeys(("as_string", "as_strings", "torch_version"), PLAIN),
    # What has another name would be unpickled.
    "path_name": re.compile(r"(weight|tensor)_\d+", re.ASCII),
}
"""What the text under a key must look like: a `NAME` under any other, since torch writes it into code."""
NAMED = {
    **dict.fromkeys(("tensor_values", "sym_int_values", "sym_bool_values", "sym_float_values"), NAME),
    "range_constraints": re.compile(r"[\w +*/(),-]+", re.ASCII),  # of formulas, as text that is only compared
    "opset_version": NAME,
    "config": PATH,
}
"""Mappings by names of the program's own, and what these must look like."""
PROGRAM = "models/model.json"
TABLES = {"data/weights/": "model_weights_config.json", "data/constants/": "model_constants_config.json"}
LEAF: Any = {"type": None, "context": None, "children_spec": []}
ONE: Any = {"type": "builtins.tuple", "context": "null", "children_spec": [LEAF]}
ARGUMENTS = {**ONE, "children_spec": [ONE, {"type": "builtins.dict", "context": "[]", "children_spec": []}]}
CALL = {"inputs": [], "outputs": [], "in_spec": json.dumps([1, ARGUMENTS]), "out_spec": json.dumps([1, LEAF])}
"""How torch is told that a program takes one tensor and gives one."""

Sizes = tuple[int | str, ...]
"""Lengths of axes; a formula where one is not fixed."""


@dataclass(frozen=True)
class Signature:
    """The one array that a program takes, and the one that it gives."""

    takes: Sizes
    takes_dtype: str
    gives: Sizes
    gives_dtype: str
    example: Shape
    """A shape that it takes."""

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
                f"expected the input of `{path}`: {self.takes_dtype} of shape (items, {sizes}), found {meta}",
                hint=remedy(meta, [None if isinstance(n, str) else n for n in self.takes[1:]], self.takes_dtype),
            )
        frame = tuple(known.get(n, 0) if isinstance(n, str) else n for n in self.gives[1:])
        if self.gives[:1] != self.takes[:1] or 0 in frame:
            raise Mismatch(
                f"expected `{path}` to give an array with one item for each that it takes, "
                f"found the shape ({', '.join(map(str, self.gives))}) from ({', '.join(map(str, self.takes))})",
                parameter="model",
            )
        return frame, self.gives_dtype


def inspect(path: str) -> Signature:
    """Look through an archive; reads its program, not its weights.

    Raises
    ------
    Mismatch
        If it is none, does not take and give one array, or holds what could run other code.
    """
    with opened(path, "model") as file, _members(path, file) as read:
        return _described(path, _program(path, read)["graph_module"])


def rewritten(path: str, content: bytes) -> tuple[Signature, io.BytesIO]:
    """The archive with this content, written anew with what `inspect` has understood; raises as that does."""
    found = io.BytesIO()
    with _members(path, io.BytesIO(content)) as read, zipfile.ZipFile(found, "w") as archive:
        program = _program(path, read)
        entries = {"archive_format": b"pt2", "archive_version": b"0", "byteorder": read("byteorder")}
        entries |= {".data/version": b"3", "data/sample_inputs/model.pt": b"", PROGRAM: _text(program)}
        for folder, name in TABLES.items():
            table = _understood(path, json.loads(read(folder + name)))
            entries[folder + name] = _text(table)
            for weight in {one["path_name"] for one in table["config"].values()}:
                archive.writestr(f"archive/{folder}{weight}", read(folder + weight))
        for name, entry in entries.items():
            archive.writestr(f"archive/{name}", entry)
        return _described(path, program["graph_module"]), found


def _text(value: Any) -> bytes:
    return json.dumps(value).encode()


@contextmanager
def _members(path: str, file: BinaryIO) -> Iterator[Callable[[str], bytes]]:
    """A function that reads one of an archive's files; whatever is wrong with them is a `Mismatch`."""
    try:
        with zipfile.ZipFile(file) as archive:
            members = archive.infolist()
            names = {member.filename.partition("/")[2] for member in members}
            if len({member.filename.partition("/")[0] for member in members}) != 1 or len(names) != len(members):
                raise _refused(path, "files in it have the same name")
            if any(member.compress_type != zipfile.ZIP_STORED for member in members):
                raise _refused(path, "files in it are compressed")
            if any(name.startswith(("data/aotinductor/", "data/executorch/")) for name in names):
                raise _refused(path, "it holds compiled code")
            top = members[0].filename.partition("/")[0]
            yield lambda name: archive.read(f"{top}/{name}")
    except Mismatch:
        raise
    except (zipfile.BadZipFile, zlib.error, struct.error, EOFError, MemoryError, RuntimeError) as error:
        raise _unreadable(path, error) from error
    except (LookupError, ValueError, TypeError, AttributeError, SyntaxError) as error:
        raise _unreadable(path, error) from error


def _program(path: str, read: Callable[[str], bytes]) -> Any:
    program = _understood(path, json.loads(read(PROGRAM)))
    program["graph_module"]["module_call_graph"] = [{"fqn": "", "signature": CALL}]
    return program


def _understood(path: str, node: Any, key: str = "") -> Any:
    """A value of an archive that stands under a key, `UNUSED` ones empty; refuses what is not `KNOWN`."""
    if isinstance(node, list):
        return [_understood(path, one, key) for one in node]
    if isinstance(node, str) and not _is_text(key, node):
        what = {"target": "it calls", "expr_str": "a shape in it is no formula:"}.get(key, f"`{key}` in it is no name:")
        raise _refused(path, f"{what} `{node[:80]}`")
    if not isinstance(node, dict):
        return node
    if key in NAMED:
        for name in node:
            if not NAMED[key].fullmatch(name):
                raise _refused(path, f"`{key}` in it holds no name: `{name[:80]}`")
        return {name: _understood(path, value) for name, value in node.items()}
    unknown = [name for name, value in node.items() if value and name not in KNOWN | UNUSED]
    if unknown:
        raise _refused(path, f"it holds `{unknown[0][:80]}`")
    if node.get("use_pickle"):
        raise _refused(path, "it holds pickled objects")
    if node.get("target") in FILLED:
        given = [one for one in node["inputs"] if one["name"] != "memory_format" or "like" in node["target"]]
        node = {**node, "target": FILLED[node["target"]], "inputs": given}
    kept = {name: _understood(path, value, name) for name, value in node.items() if name in KNOWN}
    return kept | {name: type(value)() for name, value in node.items() if name in UNUSED}


def _is_text(key: str, text: str) -> bool:
    """Whether a text may stand under a key."""
    if key == "target":
        return allowed(text)
    return _is_formula(text) if key == "expr_str" else TEXTS.get(key, NAME).fullmatch(text) is not None


def _is_formula(text: str) -> bool:
    return len(text) <= LONGEST and all(map(_is_harmless, ast.walk(ast.parse(text, mode="eval"))))


def _is_harmless(node: ast.AST) -> bool:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return re.fullmatch(r"[A-Za-z_]\w{0,40}|-?\d{1,20}(\.\d{1,40})?(e-?\d{1,2})?", node.value) is not None
    if isinstance(node, ast.Call):
        if not isinstance(node.func, ast.Name) or node.func.id not in FORMULAS:
            return False
        return node.func.id != "Pow" or (len(node.args) == 2 and _is_weak(*node.args))
    if isinstance(node, ast.BinOp):
        return not isinstance(node.op, (ast.Pow, ast.LShift)) or _is_weak(node.left, node.right)
    plain = (ast.Expression, ast.Name, ast.Load, ast.Constant, ast.keyword, ast.operator, ast.unaryop, ast.UnaryOp)
    return isinstance(node, plain)


def _is_weak(base: ast.AST, exponent: ast.AST) -> bool:
    """Whether a power stays small: no power of a power, and by a small number."""
    text = re.sub(r"Integer\((-?\d+)\)", r"\1", ast.unparse(exponent))
    powers = (isinstance(n, ast.Pow) or (isinstance(n, ast.Name) and n.id == "Pow") for n in ast.walk(base))
    return re.fullmatch(r"-?\d", text) is not None and abs(int(text)) <= STRONGEST and not any(powers)


def _described(path: str, program: Any) -> Signature:
    signature = program["signature"]
    takes = [spec["user_input"]["arg"] for spec in signature["input_specs"] if "user_input" in spec]
    gives = [spec["user_output"]["arg"] for spec in signature["output_specs"] if "user_output" in spec]
    if len(takes) != 1 or len(gives) != 1 or "as_tensor" not in takes[0] or "as_tensor" not in gives[0]:
        raise Mismatch(f"expected `{path}` to take one tensor and give one", parameter="model")
    tensors = program["graph"]["tensor_values"]
    first, last = tensors[takes[0]["as_tensor"]["name"]], tensors[gives[0]["as_tensor"]["name"]]
    example = tuple(n["as_int"] if "as_int" in n else n["as_expr"]["hint"]["as_int"] for n in first["sizes"])
    return Signature(_sizes(first), DTYPES[first["dtype"]], _sizes(last), DTYPES[last["dtype"]], example)


def _sizes(tensor: Any) -> Sizes:
    return tuple(n["as_int"] if "as_int" in n else n["as_expr"]["expr_str"] for n in tensor["sizes"])


def _unreadable(path: str, error: Exception) -> Mismatch:
    return Mismatch(
        f"expected `{path}` to be written by `torch.export.save` of torch 2.8 or newer, found {error}",
        parameter="model",
    )


def _refused(path: str, why: str) -> Mismatch:
    return Mismatch(
        f"expected `{path}` to hold a program of tensor operations that hpcflow knows, found that {why}",
        parameter="model",
        hint="save the model again with `torch.export.save(torch.export.export(model, (example,)), path)`",
    )

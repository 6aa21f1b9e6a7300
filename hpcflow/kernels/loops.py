"""Turn traced operations into one compiled loop, kept on disk between processes."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import sys
import tempfile
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from hpcflow.digests import digest
from hpcflow.kernels.trace import OPERATIONS, Node, kinds_of
from hpcflow.namespace import Array, Namespace

LANES = 256
"""Accumulators of a reduction. Elements go to them in turn, so a sum is the same on any processor."""
VERSION = 1
"""Raised when the same operations are written as another loop."""
_lock = threading.Lock()
_loaded: dict[str, Any] = {}


def able(node: Node) -> bool:
    """Whether a loop gives NumPy's very value for all that this is made of."""
    return kinds_of(node) <= {*OPERATIONS, "input", "number", "cast", "bool", "where", "sum", "min", "max"}


@dataclass(frozen=True)
class Loop:
    """A loop that is ready to be compiled."""

    source: str
    scalars: tuple[bool, ...]
    """Which inputs are one value for all elements."""
    outputs: tuple[np.dtype[Any], ...]
    reductions: tuple[tuple[str, np.dtype[Any]], ...]
    operations: int
    """Of one element, loads and stores left out."""

    def run(self, arrays: Sequence[Array], shape: Sequence[int], xp: Namespace) -> tuple[list[Array], list[Array]]:
        """Outputs of this shape, and every reduction's value with all axes of length 1.

        `arrays` broadcast against the shape.
        """
        kernel = compiled(self.source)
        outputs = [xp.empty(shape, dtype) for dtype in self.outputs]
        lanes = [_start(kind, dtype) for kind, dtype in self.reductions]
        views = [np.broadcast_to(a, shape) for a in arrays]
        along = [0 if scalar else 1 for scalar in self.scalars] + [1] * len(outputs)
        for rows, columns, flat in _flattened([*views, *outputs], shape, along):
            kernel(rows, columns, *flat, *lanes)
        values = [
            np.asarray(getattr(lane, kind)(), dtype).reshape((1,) * len(shape))
            for lane, (kind, dtype) in zip(lanes, self.reductions, strict=True)
        ]
        return outputs, values


def _start(kind: str, dtype: np.dtype[Any]) -> Array:
    if kind == "sum":
        return np.zeros(LANES, dtype)
    least, most = (-np.inf, np.inf) if dtype.kind == "f" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    return np.full(LANES, most if kind == "min" else least, dtype)


def _flattened(arrays: list[Array], shape: Sequence[int], along: list[int]) -> Any:
    """Arrays of one shape as rows: the memory that each spans, flat, and its step from row to row.

    Within a row the steps must be `along`: all that has to be compiled is loops over flat arrays.
    """
    if all(a.flags.c_contiguous for a in arrays) and all(along):
        n = arrays[0].size
        yield np.uintp(1), np.uintp(n), [part for a in arrays for part in (a.reshape(-1), np.uintp(0))]
        return
    arrays = [_regular(a) for a in arrays]
    # Axes that follow one another without a gap in every array are one.
    merged: list[tuple[int, list[int]]] = []
    for axis, n in enumerate(shape):
        steps = [a.strides[axis] // a.itemsize for a in arrays]
        if n == 1:
            continue
        if merged and all(before == n * step for before, step in zip(merged[-1][1], steps, strict=True)):
            merged[-1] = merged[-1][0] * n, steps
        else:
            merged.append((n, steps))
    while len(merged) < 2:
        merged.insert(0, (1, [0] * len(arrays)))
    *outer, (rows, down), (columns, found) = merged
    if columns > 1 and found != along:
        arrays = [
            a if a.size == 0 or not step else np.ascontiguousarray(a) for a, step in zip(arrays, along, strict=True)
        ]
        yield from _flattened(arrays, shape, along)
        return
    bases = [np.lib.stride_tricks.as_strided(a, (_extent(a),), (a.itemsize,)) for a in arrays]
    for index in np.ndindex(*(n for n, _ in outer)):
        flat: list[Any] = []
        for i, base in enumerate(bases):
            start = sum(k * steps[i] for k, (_, steps) in zip(index, outer, strict=True))
            flat += [base[start:], np.uintp(down[i])]
        yield np.uintp(rows), np.uintp(columns), flat


def _regular(a: Array) -> Array:
    """The array, copied where its elements do not lie in whole steps forward."""
    fits = a.flags.aligned and all(s >= 0 and s % a.itemsize == 0 for s in a.strides)
    return a if fits else np.ascontiguousarray(a)


def _extent(a: Array) -> int:
    """How many elements of memory an array spans."""
    return 1 + int(sum((n - 1) * (s // a.itemsize) for n, s in zip(a.shape, a.strides, strict=True)))


def write(inputs: Sequence[tuple[np.dtype[Any], bool]], outputs: Sequence[Node], reductions: Sequence[Node]) -> Loop:
    """The loop that makes all outputs and reductions in one pass over its inputs.

    An input is its dtype, and whether it is one value for all elements.
    """
    scalars = tuple(scalar for _, scalar in inputs)
    body = _Body(scalars)
    for i, node in enumerate(outputs):
        body.lines.append(f"o{i}[oi{i} + k] = {body.value(node)}")
    for i, node in enumerate(reductions):
        value = body.value(node.args[0])
        if node.kind == "sum":
            body.lines.append(f"a{i}[l] += {value}")
        else:
            sign = "<" if node.kind == "min" else ">"
            nan = f" | ({value} != {value})" if node.dtype.kind == "f" else ""
            body.lines.append(f"a{i}[l] = {value} if ({value} {sign} a{i}[l]){nan} else a{i}[l]")
    return Loop(
        _module([dtype for dtype, _ in inputs], outputs, reductions, body),
        scalars,
        tuple(node.dtype for node in outputs),
        tuple((node.kind, node.dtype) for node in reductions),
        body.operations,
    )


class _Body:
    """The statements for one element, each value computed once."""

    def __init__(self, scalars: Sequence[bool]) -> None:
        self.lines = [f"x{i} = p{i}[{'ZERO' if scalar else f'pi{i} + k'}]" for i, scalar in enumerate(scalars)]
        self.constants: list[str] = []
        self.names: dict[int, str] = {}
        self.kept: list[Node] = []
        self.operations = 0

    def value(self, node: Node) -> str:
        """The name of a node's value, after the statements that make it."""
        if id(node) in self.names:
            return self.names[id(node)]
        kind = _type(node.dtype)
        if node.kind == "input":
            name = f"x{node.args[0]}"
        elif node.kind == "number":
            name = f"C{len(self.constants)}"
            self.constants.append(f"{name} = {kind}({_literal(node.args[0])})")
        else:
            text = self._written(node, [self.value(arg) for arg in node.args], kind)
            name = f"v{len(self.names)}"
            # NumPy rounds after each operation; so does this, where the language would compute wider.
            self.lines.append(f"{name} = {text}" if node.dtype.kind == "b" else f"{name} = {kind}({text})")
            self.operations += 1
        self.names[id(node)] = name
        self.kept.append(node)
        return name

    @staticmethod
    def _written(node: Node, args: list[str], kind: str) -> str:
        if node.kind == "cast":
            return args[0]
        if node.kind == "bool":
            return f"{args[0]} != 0"
        if node.kind == "where":
            return f"{args[1]} if {args[0]} else {args[2]}"
        computed = node.args[0].dtype.kind
        templates = OPERATIONS[node.kind]
        return next(text for kinds, text in templates.items() if computed in kinds).format(*args, T=kind)


def _type(dtype: np.dtype[Any]) -> str:
    return "np.bool_" if dtype.kind == "b" else f"np.{dtype.name}"


def _literal(value: Any) -> str:
    plain = value.item()
    return f"float('{plain}')" if isinstance(plain, float) else repr(plain)


def _module(inputs: Sequence[np.dtype[Any]], outputs: Sequence[Node], reductions: Sequence[Node], body: _Body) -> str:
    names, kinds = ["rows", "columns"], ["U", "U"]
    for i, dtype in enumerate(inputs):
        names += [f"p{i}", f"pr{i}"]
        kinds += [f"array({dtype.name!r}, True)", "U"]
    for i, node in enumerate(outputs):
        names += [f"o{i}", f"or{i}"]
        kinds += [f"array({node.dtype.name!r}, False)", "U"]
    for i, node in enumerate(reductions):
        names.append(f"a{i}")
        kinds.append(f"array({node.dtype.name!r}, False)")
    starts = [f"pi{i} = row * pr{i}" for i in range(len(inputs))] + [
        f"oi{i} = row * or{i}" for i in range(len(outputs))
    ]
    inner = "\n".join(f"                {line}" for line in body.lines)
    one = "\n".join(f"            {line}" for line in body.lines)
    if reductions:
        loops = f"""\
        at = ZERO
        while at + LANES <= columns:
            for l in range(LANES):
                k = at + l
{inner}
            at += LANES
        for l in range(columns - at):
            k = at + l
{one}"""
    else:
        loops = f"""\
        for k in range(columns):
{one}"""
    return _TEMPLATE.format(
        version=VERSION,
        lanes=LANES,
        constants="\n".join(body.constants),
        kinds=", ".join(kinds),
        names=", ".join(names),
        starts="\n".join(f"        {line}" for line in starts),
        loops=loops,
    )


_TEMPLATE = '''\
"""Written by hpcflow (loop version {version}); safe to delete."""
import numba
import numpy as np

U = numba.uintp
ZERO, LANES = np.uintp(0), np.uintp({lanes})
INF = np.inf
{constants}


def array(name, readonly):
    return numba.types.Array(numba.from_dtype(np.dtype(name)), 1, "C", readonly=readonly)


@numba.njit(numba.void({kinds}), nogil=True, cache=CACHED, error_model="numpy")
def kernel({names}):
    for row in range(rows):
{starts}
{loops}
'''


def compiled(source: str) -> Any:
    """The function `kernel` of this module's text, which compiles it; from the user's cache where it is there."""
    found = _loaded.get(source)
    if found is None:
        with _lock:
            if source not in _loaded:
                _loaded[source] = _load(source)
            found = _loaded[source]
    return found


def _load(source: str) -> Any:
    """The kernel of a module, from the user's cache where that can be written."""
    try:
        return _imported(_stored(source)).kernel
    except OSError:
        module: dict[str, Any] = {"CACHED": False, "__name__": "hpcflow_loop"}
        exec(compile(source, "<hpcflow loop>", "exec"), module)  # noqa: S102  (written above, of checked parts)
        return module["kernel"]


def _stored(source: str) -> Path:
    folder = cache_folder()
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"loop_{digest([source.encode()])}.py"
    if not path.exists():
        handle, temporary = tempfile.mkstemp(dir=folder)
        with os.fdopen(handle, "w") as file:
            file.write("CACHED = True\n" + source)
        # The first to come keeps it: Numba knows its compiled file by the source's time.
        with contextlib.suppress(FileExistsError):
            os.link(temporary, path)
        Path(temporary).unlink()
    return path


def cache_folder() -> Path:
    """Where compiled loops are kept."""
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "hpcflow" / "loops"


def _imported(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # What Numba kept names the module.
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module

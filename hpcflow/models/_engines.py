"""Which engine runs a model, in which precision; what an engine needs is made once and kept."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import threading
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from hpcflow.digests import digest_json
from hpcflow.errors import HpcflowError, Mismatch, MissingPackage, RunError
from hpcflow.files import cache_folder
from hpcflow.models._fitting import fitting
from hpcflow.models._kept import kept
from hpcflow.models.base import Model, Network, loaded, torch_installed
from hpcflow.regions import Shape

Engine = Literal["torch", "compile", "onnxruntime"]
Precision = Literal["float32", "bfloat16", "float16", "int8"]
PRECISIONS: dict[str, tuple[str, ...]] = {
    "torch": ("float32", "bfloat16", "float16"),
    "compile": ("float32", "bfloat16"),
    "onnxruntime": ("float32", "int8"),
}
BASE = {"torch": 220 * 2**20, "compile": 400 * 2**20, "onnxruntime": 110 * 2**20}
"""Bytes that the engine and a small network add to a process, beside its imports; a third more than was measured."""
LIBRARY: dict[str, tuple[str, ...]] = {"torch": ("torch",), "compile": ("torch",), "onnxruntime": ("onnxruntime",)}
"""What it imports."""
MAKING = 1500 * 2**20
"""Bytes of the process that exports or compiles a network: room for small ones, not measured."""
SUFFIX = {"compile": ".pt2", "onnxruntime": ".onnx"}


@dataclass(frozen=True)
class Use:
    """How a model is run, and on what."""

    device: str
    engine: Engine
    precision: Precision
    frame: Shape
    """The shape of one item."""
    dtype: str
    batch: int
    """The most items that it gets at once."""
    ranges: str = ""
    """For int8: the range of every tensor, as JSON."""


def check(engine: str, precision: str) -> None:
    """Refuse a precision that the engine has not."""
    if precision not in PRECISIONS[engine]:
        able = [f"`{name}`" for name, has in PRECISIONS.items() if precision in has]
        raise Mismatch(
            f"expected `precision` to be {' or '.join(PRECISIONS[engine])} for the engine `{engine}`, "
            f"found {precision}",
            parameter="precision",
            hint=f"{precision} is what the engine {' or '.join(able)} has",
        )


def network(model: Model, use: Use) -> Network:
    """The model ready to run: loaded once per process, then shared by its threads."""
    run = _network(model, use)
    return run if use.device == "cpu" else fitting(run, (model.digest, use))


def _network(model: Model, use: Use) -> Network:
    if use.engine == "torch":
        return loaded(model, use.device, use.precision)
    key = (type(model).__name__, model.digest, use)
    with _loading:
        if key not in _networks:
            _networks[key] = _load(model, use)
        return _networks[key]


_networks: dict[tuple[str, str, Use], Network] = {}
_loading = threading.Lock()


def _load(model: Model, use: Use) -> Network:
    if use.engine == "compile":
        torch_installed()
        from hpcflow.models._compiled import load as load_compiled  # noqa: PLC0415

        return load_compiled(artefact(model, use), model.size(use.engine, use.batch), use.device)
    if use.device != "cpu":
        raise Mismatch(
            "expected the engine `torch` or `compile` on a GPU, found `onnxruntime`",
            parameter="engine",
            hint="the package `onnxruntime` computes on the CPU",
        )
    onnx_installed()
    from hpcflow.models import _onnx  # noqa: PLC0415

    path = artefact(model, use)
    return _onnx.load(_onnx.quantised(path, use.ranges) if use.ranges else path)


def artefact(model: Model, use: Use) -> Path:
    """The exported or compiled network, made if it is not there."""
    name = _name(model, use)
    if use.engine == "compile" and not (cache_folder("engines") / name).exists():
        compiler_installed()
    return kept("engines", name, partial(_make_apart, model, use))


def is_kept(model: Model, use: Use) -> bool:
    """Whether the network is exported or compiled already."""
    return (cache_folder("engines") / _name(model, use)).exists()


def _name(model: Model, use: Use) -> str:
    depends: list[object] = [type(model).__name__, model.digest, use.frame, use.dtype, use.engine, _version("torch")]
    if use.engine == "compile":
        depends += [use.device, use.precision, model.size(use.engine, use.batch), _processor()]
    return digest_json(depends) + SUFFIX[use.engine]


def _version(package: str) -> str:
    return version(package) if find_spec(package) else ""


def _processor() -> str:
    """What tells processors apart that cannot run each other's code."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return ""
    return next((line for line in lines if line.startswith(("flags", "Features"))), "")


def _make_apart(model: Model, use: Use, path: Path) -> None:
    """Export or compile in a process of its own, whose memory goes when it ends."""
    torch_installed()
    if use.engine == "onnxruntime":
        onnx_installed()
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(  # noqa: S603  (this interpreter, this package)
        [sys.executable, "-m", "hpcflow.models._export", str(path)],
        input=pickle.dumps((model, use)),
        capture_output=True,
        env={**environment, "TORCHINDUCTOR_CACHE_DIR": str(path.parent / "inductor")},
        check=False,
    )
    if done.returncode == 0:
        return
    try:
        error = pickle.loads(done.stdout)  # noqa: S301  (from the process started above)
    except (pickle.UnpicklingError, EOFError):
        error = None
    if isinstance(error, HpcflowError):
        raise error
    said = done.stderr.decode(errors="replace").strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
    raise RunError(
        f"the network could not be made ready for the engine `{use.engine}`: {said[0]}\n"
        "  hint: `engine: torch` runs every network"
    )


def onnx_installed() -> None:
    """Make sure that ONNX Runtime and what exports to it are installed.

    Raises
    ------
    MissingPackage
    """
    for package in ("onnxruntime", "onnx", "onnxscript"):
        if find_spec(package) is None:
            raise MissingPackage(
                f"the engine `onnxruntime` needs the package `{package}`, which is not installed: "
                '`pip install "hpcflow[onnx]"`'
            )


def compiler_installed() -> None:
    """Make sure that there is a C++ compiler.

    Raises
    ------
    MissingPackage
    """
    from shutil import which  # noqa: PLC0415  (its one use)

    wanted = os.environ.get("CXX", "g++")
    if which(wanted) is None:
        raise MissingPackage(
            f"the engine `compile` needs a C++ compiler, and `{wanted}` is not installed: "
            "`apt install g++`, or name another in the environment variable CXX"
        )

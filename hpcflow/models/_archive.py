"""Models in files: `torch.export` archives (.pt2) and TorchScript (.pt, .ts).

A model file is a program. TorchScript is run by its own interpreter, and an exported program
is a list of tensor operations; but `torch.export.load` also unpickles what an archive holds
beside it, loads compiled code, and evaluates the formulas of its shapes. `inspect` refuses
archives that would make it do so. That is a check and no sandbox: use files that you trust,
and give their `sha256`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from hpcflow.errors import Mismatch
from hpcflow.files import regular_file
from hpcflow.meta import Meta
from hpcflow.models._exported import Signature, inspect
from hpcflow.models._weights import pinned
from hpcflow.models.base import Network, loaded, torch_installed
from hpcflow.regions import Shape

SUFFIXES = (".pt2", ".pt", ".ts")


@dataclass(frozen=True)
class Archive:
    """A model file; it is given arrays as they are, the batch along their first axis."""

    path: str
    sha256: str | None = None
    activations: Mapping[str, float] = field(
        default_factory=lambda: {"torch": 80.0, "compile": 80.0, "onnxruntime": 80.0}, hash=False
    )
    """Not known before it runs: as much as for networks of moderate size."""

    @property
    def digest(self) -> str:
        """The SHA-256 of the file."""
        if self.sha256 is not None:
            return self.sha256.lower()
        status = Path(self.path).stat()
        return _digest(self.path, status.st_size, status.st_mtime_ns)

    def makes(self, meta: Meta) -> Meta:
        """What the archive says of its result; TorchScript is asked with one item of zeros."""
        if meta.ndim == 0:
            raise Mismatch(f"expected an array whose first axis counts items, found {meta}")
        digest = self.digest
        if self.exported:
            frame, dtype = _signature(self.path, digest).result(self.path, meta)
        else:
            frame, dtype = _tried(self, digest, meta.shape[1:], meta.dtype.name)
        dims = ("class",) if len(frame) == 1 else (None,) * len(frame)
        return Meta((meta.shape[0], *frame), np.dtype(dtype), (meta.dims[0], *dims))

    @property
    def exported(self) -> bool:
        """Whether it comes from `torch.export`."""
        return self.path.lower().endswith(".pt2")

    def size(self, engine: str, batch: int) -> int | None:  # noqa: ARG002  (its own, whatever is asked)
        """The batch that it was exported with, if that is fixed."""
        return _signature(self.path, self.digest).batch if self.exported else None

    def check(self, engine: str, precision: str) -> None:
        """Refuse an engine that cannot take this file; raises `Mismatch`."""
        if engine != "torch" and (not self.exported or precision in ("bfloat16", "float16")):
            found = precision if self.exported else "TorchScript"
            raise Mismatch(
                f"expected a `torch.export` archive (.pt2), in float32 or int8, for the engine `{engine}`, "
                f"found {found}",
                parameter="engine",
                hint="`engine: torch` runs every model file in float32, bfloat16 and float16",
            )

    def load(self, device: str, precision: str = "float32") -> Network:
        """The program, on this device."""
        torch_installed()
        from hpcflow.models import _torch  # noqa: PLC0415

        content = pinned(self.path, self.digest)
        if self.exported:
            return _torch.exported(self.path, content, inspect(self.path, content).batch, device, precision)
        return _torch.scripted(self.path, content, device, precision)

    def program(self, device: str, precision: str, frame: Shape, size: int | None) -> Any:  # noqa: ARG002  (its own)
        """The archive as torch reads it."""
        torch_installed()
        from hpcflow.models._torch import read_program  # noqa: PLC0415

        content = pinned(self.path, self.digest)
        inspect(self.path, content)
        return read_program(self.path, content, device)


@lru_cache(maxsize=64)
def _digest(path: str, size: int, changed: int) -> str:  # noqa: ARG001 (a file that changed is another)
    with open(path, "rb", opener=regular_file) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@lru_cache(maxsize=64)
def _signature(path: str, digest: str) -> Signature:
    return inspect(path, pinned(path, digest))


@lru_cache(maxsize=64)
def _tried(archive: Archive, digest: str, frame: Shape, dtype: str) -> tuple[Shape, str]:  # noqa: ARG001 (as above)
    tried = loaded(archive, "cpu")(np.zeros((1, *frame), dtype))
    return tried.shape[1:], tried.dtype.name

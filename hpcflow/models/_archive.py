"""Models in files: `torch.export` archives (.pt2) and TorchScript (.pt, .ts).

An archive is looked through, and torch gets only what was understood of it: see `_exported`. TorchScript
brings an interpreter with functions that write files, which no look at it rules out; so it needs the
word of whoever runs the flow, for the very file: see `hpcflow.trust`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np

from hpcflow.errors import Mismatch
from hpcflow.meta import Meta
from hpcflow.models._exported import Signature, inspect, rewritten
from hpcflow.models._weights import digest_of, pinned
from hpcflow.models.base import Network, loaded, torch_installed
from hpcflow.regions import Shape
from hpcflow.trust import is_trusted

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
        return digest_of(self.path, "model")

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

    def settled(self) -> str | None:
        """The digest that TorchScript must have, once it is vouched for; raises `Mismatch` until then."""
        if self.exported:
            return None
        if not is_trusted(digest := self.digest):
            raise Mismatch(
                f"expected a model file that can be looked through before it runs, found TorchScript in `{self.path}`, "
                "which may read and write files as you may",
                parameter="model",
                hint="export the network with `torch.export` (.pt2); or, if you trust whoever made this file, "
                f"say `--trust-models {digest}`",
            )
        return digest

    def load(self, device: str, precision: str = "float32") -> Network:
        """The program, on this device."""
        torch_installed()
        from hpcflow.models import _torch  # noqa: PLC0415

        content = pinned(self.path, self.digest)
        if self.exported:
            return _torch.exported(self.path, *rewritten(self.path, content), device, precision)
        return _torch.scripted(self.path, content, device, precision)

    def program(self, device: str, precision: str, frame: Shape, size: int | None) -> Any:  # noqa: ARG002  (its own)
        """The archive as torch reads it."""
        torch_installed()
        from hpcflow.models._torch import read_program  # noqa: PLC0415

        return read_program(self.path, *rewritten(self.path, pinned(self.path, self.digest)), device)


@lru_cache(maxsize=64)
def _signature(path: str, digest: str) -> Signature:  # noqa: ARG001 (a file that changed is another)
    return inspect(path)


@lru_cache(maxsize=64)
def _tried(archive: Archive, digest: str, frame: Shape, dtype: str) -> tuple[Shape, str]:  # noqa: ARG001 (as above)
    tried = loaded(archive, "cpu")(np.zeros((1, *frame), dtype))
    return tried.shape[1:], tried.dtype.name

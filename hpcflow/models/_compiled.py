"""Networks that torch has compiled to machine code; imported only when one is loaded."""

from __future__ import annotations

import os
from pathlib import Path

from torch._inductor.package import load_package

from hpcflow.models._torch import array, grouped, inferring, tensor
from hpcflow.models.base import Network
from hpcflow.namespace import Array


def load(path: Path, size: int | None, device: str) -> Network:
    """The compiled network; `size` is its batch, if that is fixed."""
    # It runs for as many threads at once; they share its weights.
    compiled = load_package(str(path), num_runners=os.cpu_count() or 1)

    def run(batch: Array) -> Array:
        with inferring(batch):
            return array(grouped(compiled, tensor(batch, device).contiguous(), size), batch)

    return run

"""Networks that torch has compiled to machine code; imported only when one is loaded."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch._inductor.package import load_package

from hpcflow.clusters._limits import threads_here
from hpcflow.models._torch import array, grouped, inferring, tensor
from hpcflow.models.base import Network
from hpcflow.namespace import Array


def load(path: Path, size: int | None, device: str) -> Network:
    """The compiled network; `size` is its batch, if that is fixed."""
    with _unpacked():
        compiled = load_package(str(path))

    def run(batch: Array) -> Array:
        with inferring(batch), _every_thread():
            return array(grouped(compiled, tensor(batch, device).contiguous(), size), batch)

    return run


@contextmanager
def _unpacked() -> Iterator[None]:
    """Have what torch unpacks gone once it is loaded: torch keeps it to the end of the process, if it comes to that."""
    before = os.environ.get("TMPDIR")
    with tempfile.TemporaryDirectory(prefix="hpcflow-", ignore_cleanup_errors=True) as folder:
        os.environ["TMPDIR"] = folder
        try:
            yield
        finally:
            if before is None:
                del os.environ["TMPDIR"]
            else:
                os.environ["TMPDIR"] = before


@contextmanager
def _every_thread() -> Iterator[None]:
    """Use the cores of the process's other threads: torch holds Python's lock, so that they wait.

    See https://github.com/pytorch/pytorch/issues/197516.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(threads_here())
    try:
        yield
    finally:
        torch.set_num_threads(before)

"""Export or compile one network, in a process of its own: ``python -m hpcflow.models._export PATH``."""

from __future__ import annotations

import os
import pickle
import sys
import warnings
from pathlib import Path

import torch

from hpcflow.errors import HpcflowError
from hpcflow.models._engines import Use
from hpcflow.models.base import Model


def make(model: Model, use: Use, path: Path) -> None:
    """Write what the engine loads."""
    with torch.no_grad():
        program = model.program(use.device, use.precision, use.frame, model.size(use.engine, use.batch))
        if use.engine == "onnxruntime":
            exported = torch.onnx.export(program, dynamo=True, optimize=True, verbose=False)
            assert exported is not None, "it returns a program unless it is given a path"
            exported.save(str(path))
        else:
            # Frozen: weights are constants, laid out for the convolutions that read them.
            settings = {"freezing": True, "compile_threads": 1}
            torch._inductor.aoti_compile_and_package(  # noqa: SLF001  (torch documents it under this name)
                program, package_path=str(path), inductor_configs=settings
            )


def main() -> int:
    """Read the model and how it is used from stdin; an error goes to stdout."""
    answer = os.fdopen(os.dup(1), "wb")
    # What libraries print is no answer.
    os.dup2(2, 1)
    warnings.simplefilter("ignore")
    model, use = pickle.load(sys.stdin.buffer)  # noqa: S301  (from the process that started this one)
    try:
        make(model, use, Path(sys.argv[1]))
    except HpcflowError as error:
        answer.write(pickle.dumps(error))
        answer.flush()
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

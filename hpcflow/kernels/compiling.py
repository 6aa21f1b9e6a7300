"""Compile the text of a loop, kept on disk between processes."""

from __future__ import annotations

import contextlib
import importlib.util
import sys
import threading
from pathlib import Path
from types import ModuleType
from typing import Any

from hpcflow.digests import digest
from hpcflow.files import OWN, private_cache, write

_lock = threading.Lock()
_loaded: dict[str, Any] = {}


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
    folder = private_cache("loops")
    path = folder / f"loop_{digest([source.encode()])}.py"
    if not path.exists():
        with contextlib.suppress(FileExistsError):
            write(path, "CACHED = True\n" + source, mode=OWN, lasting=False, replace=False)
    return path


def _imported(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # What Numba kept names the module.
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module

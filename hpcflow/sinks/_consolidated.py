"""Groups of Zarr around an output: those with consolidated metadata show only what is listed there."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from hpcflow.errors import Mismatch
from hpcflow.files import write


def expect_version_3(path: str) -> None:
    """Refuse a place within a group of version 2: an array of version 3 is seen by nobody there."""
    around = Path(path).parent
    if (around / ".zgroup").is_file():
        raise Mismatch(
            f"expected a folder or a Zarr group of version 3 around the output, found a group of version 2, `{around}`",
            parameter="path",
            hint="arrays are written in version 3, which such a group does not show: give a path outside it",
        )


def listed(path: str) -> None:
    """List a finished output in each group around it that has consolidated metadata; nothing else changes there."""
    for group in Path(path).parents:
        if not (group / "zarr.json").is_file():
            return
        with _locked(group):
            _list(group, Path(path))


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Keep other runs, which list outputs of theirs, from doing so at the same time."""
    handle = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        with suppress(OSError):  # a file system without locks
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _list(group: Path, output: Path) -> None:
    file = group / "zarr.json"
    document = json.loads(file.read_bytes())
    there: Any = (document.get("consolidated_metadata") or {}).get("metadata")
    if not isinstance(there, dict):
        return
    name = output.relative_to(group).as_posix()
    ours = {
        one.parent.relative_to(group).as_posix(): json.loads(one.read_bytes())
        for one in [output / "zarr.json", *sorted(output.glob("*/zarr.json"))]  # a pyramid has levels
    }
    others = {key: one for key, one in there.items() if key != name and not key.startswith(f"{name}/")}
    if there != {**others, **ours}:
        # Zarr takes nodes of one group that others part for two groups: it goes by depth, then by name.
        ordered = sorted({**others, **ours}.items(), key=lambda item: (item[0].count("/"), item[0]))
        document["consolidated_metadata"]["metadata"] = dict(ordered)
        write(file, json.dumps(document, indent=2))

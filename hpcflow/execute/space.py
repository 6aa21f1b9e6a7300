"""Whether the disks have room for what a plan writes, before anything is computed."""

from __future__ import annotations

import os
import shutil
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from hpcflow.errors import RunError
from hpcflow.execute.receipts import folder_of, stage_key
from hpcflow.meta import Target, stored_bytes
from hpcflow.planning.plan import Plan
from hpcflow.planning.stages import Stage
from hpcflow.sizes import show_size as size

RESERVE = 16 * 2**20
"""For receipts, the report and folders."""


def expect_room(plan: Plan) -> list[str]:
    """Refuse a run whose outputs cannot fit; what may not fit, where compression decides, is returned.

    Raises
    ------
    RunError
        With the path, what it needs, and what is free.
    """
    needs: dict[int, list[tuple[Path, int]]] = defaultdict(list)
    doubtful, asked = [], plan.disk_needed()
    for stage in plan.stages:
        known = folder_of(plan.run_dir, stage, stage_key(stage)).is_dir()
        for target in targets(stage):
            folder = _existing(Path(target.path).parent)
            need = asked[target.path] - _taken(target, finished=known)
            if getattr(target, "codec", "none") == "none":
                needs[folder.stat().st_dev].append((Path(target.path), max(need, 0)))
            elif need > (free := shutil.disk_usage(folder).free):
                doubtful.append(f"`{target.path}` takes up to {size(need)} uncompressed, {size(free)} are free there")
    for wanted in needs.values():
        total = sum(need for _, need in wanted)
        largest, _ = max(wanted, key=lambda one: one[1])
        free = shutil.disk_usage(_existing(largest.parent)).free
        if total + RESERVE * (total > 0) > free:
            raise RunError(
                f"expected {size(total + RESERVE)} free on the disk of `{largest}`, found {size(free)}: "
                + ", ".join(f"{size(need)} for `{path}`" for path, need in wanted)
                + f", {size(RESERVE)} for the run itself\n  hint: make room, or write to another disk"
            )
    return doubtful


def targets(stage: Stage) -> Iterable[Target]:
    """All that a stage writes."""
    return [*(write.target for write in stage.writes), *(reduce.target for reduce in stage.reduces)]


def no_room(target: Target, error: OSError) -> RunError:
    """The error for a disk that is full."""
    return RunError(f"could not write to `{target.path}`: {error.strerror}; {room(target)}\n  {HINT}")


HINT = "hint: make room, then run the same command again: what is finished stays"


def room(target: Target) -> str:
    """What an array needs and what is free where it stands, in words."""
    free = shutil.disk_usage(_existing(Path(target.path).parent)).free
    return f"the whole array takes {size(stored_bytes(target))} uncompressed, {size(free)} are free there"


def _existing(folder: Path) -> Path:
    while not folder.exists():
        folder = folder.parent
    return folder


def _taken(target: Target, *, finished: bool) -> int:
    """Bytes of the disk that the target has already, from an earlier run."""
    path = Path(target.path)
    found = list(path.parent.glob(f"{path.name}.part*")) if path.parent.is_dir() else []
    if finished and path.exists():
        found.append(path)
    return sum(_allocated(one) for one in found)


def _allocated(path: Path) -> int:
    if not path.is_dir():
        return path.stat().st_blocks * 512
    return sum(Path(folder, name).stat().st_blocks * 512 for folder, _, files in os.walk(path) for name in files)

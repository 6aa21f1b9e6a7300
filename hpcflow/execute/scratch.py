"""Arrays that only the stages of one run need: removed when it is complete, made again where one is damaged.

What a removed array was stays beside its place, so that the receipts of the stages behind it
still say of what their blocks were made.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from hpcflow.files import OWN, write
from hpcflow.meta import Target
from hpcflow.planning.plan import Plan
from hpcflow.planning.stages import gone_mark


def is_gone(plan: Plan, targets: Iterable[Target]) -> frozenset[str]:
    """Those of some targets that a complete run has removed."""
    known = {target.path for target in plan.scratch}
    paths = (target.path for target in targets)
    return frozenset(p for p in paths if p in known and gone_mark(p).exists() and not Path(p).exists())


def remove(plan: Plan) -> None:
    """Remove them all, and note what they were."""
    for target in plan.scratch:
        path = target.path
        with suppress(FileNotFoundError):
            status = Path(path).stat()
            write(gone_mark(path), json.dumps([status.st_size, status.st_mtime_ns]), mode=OWN, lasting=False)
            Path(path).unlink()


def came_back(path: str) -> None:
    """Let an array that was made again pass for what it was: its bytes are the same."""
    mark = gone_mark(path)
    if mark.exists():
        size, mtime_ns = json.loads(mark.read_bytes())
        if Path(path).stat().st_size == size:
            os.utime(path, ns=(mtime_ns, mtime_ns))
        mark.unlink()

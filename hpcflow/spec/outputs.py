"""Whose the data is that stands where an output is to be written: nothing of anybody else's is ever replaced unasked.

Beside an output NAME stands its manifest, `.NAME.manifest.json`, once it is complete, and `.NAME.unfinished.json`
from before anything of it is touched until then: each says of which flow it is.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from hpcflow.digests import digest_json
from hpcflow.files import mine
from hpcflow.spec.check import around, where_of
from hpcflow.spec.flow import Flow, Sink
from hpcflow.text.faults import Faults

OVERWRITE = "give another path, move it away, or replace it with `--overwrite`"


def manifest_of(output: str | Path) -> Path:
    """Where the manifest of an output stands."""
    path = Path(output)
    return path.with_name(f".{path.name}.manifest.json")


def unfinished_of(output: str | Path) -> Path:
    """Where it is said of which flow an output is until it is complete."""
    path = Path(output)
    return path.with_name(f".{path.name}.unfinished.json")


def parse(text: str) -> dict[str, Any] | None:
    """The content of a manifest; `None` where a byte of it has changed."""
    try:
        body = json.loads(text)
        checksum = body.pop("checksum")
    except (ValueError, KeyError, AttributeError, TypeError):
        return None
    again = json.dumps({**body, "checksum": checksum}, indent=1, sort_keys=True) + "\n"
    return body if checksum == digest_json(body) and again == text else None


def copy_of(run_dir: str | Path, output: str | Path) -> Path:
    """Where the run's folder keeps a copy of an output's manifest."""
    return Path(run_dir, "manifests", f"{Path(output).name}-{digest_json(str(output))[:8]}.json")


def flow_of(output: str, run_dir: Path) -> str | None:
    """The flow whose output this is; `None` where it is nobody's that is known here, or another user's."""
    own = manifest_of(output)
    # The copy is asked where the manifest is there and damaged: without one, somebody may have put other data there.
    for place in (own, unfinished_of(output), *([copy_of(run_dir, output)] if mine(own) else [])):
        with suppress(OSError):
            body = parse(place.read_text(encoding="utf-8", errors="replace")) if mine(place) else None
            if body is not None:
                return str(body["flow"])
    return None


def _holds_data(path: str) -> bool:
    """Whether something stands there that is neither an empty folder nor an empty file: a device, too."""
    if os.path.isdir(path):  # noqa: PTH112  (asked for every output)
        with os.scandir(path) as entries:
            return any(entries)
    # Of a link the path itself, whatever it leads to; a pipe or a device is empty, and no file.
    return os.path.lexists(path) and not (stat.S_ISREG((there := os.lstat(path)).st_mode) and not there.st_size)


def check_outputs(
    sinks: Mapping[str, Sink], flow: str, file: str, run_dir: Path, faults: Faults, *, overwrite: bool
) -> None:
    """Report every output that would replace what is not the flow's to replace.

    Parameters
    ----------
    sinks : mapping
    flow, file : str
        The flow's name, and where it stands.
    run_dir : path
        Where the run keeps what it needs.
    faults : Faults
    overwrite : bool
        Whether data of others may be replaced.
    """
    kept, own = where_of(str(run_dir)), where_of(file) if Path(file).exists() else None
    for sink in sinks.values():
        path, place = sink.sink.path, sink.places.get("path", sink.location)
        where = where_of(path)
        if where is None or "://" in where:
            continue
        if kept in around(where) or where in around(kept or ""):
            found = f"one that meets `{run_dir}`, the folder of the run"
            faults.error(place, f"expected a path of its own for the output, found {found}")
        elif own is not None and where in around(own):
            faults.error(place, "expected a path for the output, found that of the flow itself")
        elif not overwrite and _holds_data(path) and (of := flow_of(path, run_dir)) != flow:
            whose = f"the output of `{of}`" if of else "other data"
            faults.error(
                place, f"expected nothing at `{path}`, or what this flow has written, found {whose}", OVERWRITE
            )


def expect_free(flow: Flow, run_dir: Path, *, overwrite: bool) -> None:
    """Raise `FlowError` where an output would replace what is not the flow's to replace."""
    faults = Faults()
    check_outputs(flow.sinks, flow.name, flow.file, run_dir, faults, overwrite=overwrite)
    faults.check()

"""Where an output came from: enough to run its flow again.

The same flow over the same inputs gives the same text, whenever and wherever it runs: there is no
time in it, and no folder. So outputs that hold it can be compared byte for byte.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from hpcflow.digests import digest_file, digest_json
from hpcflow.meta import ItemSource, Source
from hpcflow.planning.plan import Plan
from hpcflow.report.record import versions
from hpcflow.secrets import redacted
from hpcflow.spec.flow import Node

HASHED = 2**26
"""Bytes up to which an input file is hashed; of a larger one its size must do."""
KEPT = ("size", "offset", "order", "seed", "value", "component", "files")
"""What is kept of a source's identity: not where it stands on this machine, nor when it was written."""


def provenance(plan: Plan) -> dict[str, Any]:
    """What a plan's outputs say of themselves, as JSON values; without credentials."""
    flow = plan.flow
    said = {
        "flow": flow.text,
        "file": Path(flow.file).name,
        "params": dict(flow.params),
        "inputs": {name: _input(node) for name, node in flow.nodes.items() if node.source is not None},
        "versions": versions(),
        "commit": commit(Path(flow.file).absolute().parent),
    }
    made: dict[str, Any] = redacted(json.loads(json.dumps(said, sort_keys=True, default=str)))
    return {**made, "params": redacted(made["params"], options=True)}


def _input(node: Node) -> dict[str, Any]:
    source = node.source
    assert source is not None
    said: dict[str, Any] = {"from": node.use}
    if "path" in node.params:
        said["path"] = node.params["path"]
    said |= {"shape": list(source.meta.shape), "dtype": str(source.meta.dtype)}
    if isinstance(source, ItemSource):
        names = [Path(item).name for item in source.items]
        said |= {"items": len(names), "names": digest_json(names)}
    identity = source.identity
    said |= {key: identity[key] for key in KEPT if key in identity}
    if "metadata" in identity:
        said["metadata"] = digest_json(identity["metadata"])
    return said | _content(source)


def _content(source: Source) -> dict[str, Any]:
    path = source.identity.get("path")
    if not isinstance(path, str) or "://" in path:
        return {}
    try:
        if Path(path).is_file() and Path(path).stat().st_size <= HASHED:
            return {"hash": digest_file(path)}
    except OSError:
        pass  # it is gone: the run will say so
    return {}


def commit(folder: Path) -> str | None:
    """The git commit that a folder is at; `None` outside of a repository, or without git."""
    command = ["git", "-C", str(folder), "rev-parse", "--verify", "--quiet", "HEAD"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=2, check=False)  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None

"""What a run keeps of itself in its folder, so that its outputs can be repaired by name alone.

``flow.yaml`` is the flow as it was read, ``run.json`` its parameters and where it ran. A value
from the environment stands there as ``${env:NAME}``, as in the flow; a password within a URL is
struck out, and the flow's own file is then needed again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hpcflow.digests import digest_json
from hpcflow.errors import RunError
from hpcflow.files import OWN, mine, private, sweep, write
from hpcflow.planning.plan import Plan
from hpcflow.secrets import redact
from hpcflow.spec.flow import Flow
from hpcflow.spec.validate import load, loads


def flow_key(flow: Flow) -> str:
    """Tells whether a flow, with its parameters, is the one that a run had."""
    return digest_json([flow.text, dict(flow.params)])


def remember(plan: Plan, where: Mapping[str, Any]) -> None:
    """Write down what a run is about to do."""
    flow = plan.flow
    text = redact(flow.text)
    kept = {
        "flow": flow.name,
        "file": str(Path(flow.file).absolute()),
        "directory": str(Path.cwd()),
        "key": flow_key(flow),
        "params": json.loads(redact(json.dumps(dict(flow.params), default=str))),
        "budget": plan.budget,
        **where,
    }
    try:
        write(plan.run_dir / "flow.yaml", text, mode=OWN, lasting=False)
        write(plan.run_dir / "run.json", json.dumps(kept, indent=1) + "\n", mode=OWN, lasting=False)
    except OSError as error:
        raise RunError(f"could not write to `{plan.run_dir}`: {error.strerror or error}") from error


def make_folder(run_dir: Path) -> None:
    """Make a run's folder and those in it: for their owner alone, like all that runs keep of themselves.

    Raises
    ------
    RunError
        Where it cannot be made, or somebody else has put something there.
    """
    try:
        shared = mine(run_dir) and any(run_dir.iterdir()) and not (run_dir / "run.json").exists()
        if not shared:  # with other things of the user's, whose mode is as it is meant
            private(run_dir)
        for name in ("receipts", "stages", "manifests"):
            private(run_dir / name)
    except OSError as error:
        raise RunError(f"could not write to `{error.filename}`: {error.strerror or error}") from error
    for folder in (run_dir, run_dir / "stages", run_dir / "manifests"):
        sweep(folder)


@dataclass(frozen=True)
class Kept:
    """A run as it was."""

    text: str
    """The flow."""
    place: str
    """Where that stands."""
    file: str
    directory: str
    key: str
    params: Mapping[str, Any]
    budget: int
    memory: int | None
    """As it was asked for: of the whole run, or of each worker on another machine."""
    cluster: str
    workers: int
    threads: int
    max_bad: float

    def flow(self) -> Flow:
        """The flow with the parameters that the run had.

        Raises
        ------
        RunError
            Where neither the copy nor the flow's own file is what was run.
        """
        flow = loads(self.text, self.place, self.params)
        if flow_key(flow) == self.key:
            # Its outputs say where they came from: the flow's own file, not this copy.
            return replace(flow, file=self.file)
        if Path(self.file).exists():
            flow = load(self.file)
            if flow_key(flow) == self.key:
                return flow
        raise RunError(
            f"expected in `{self.place}` the flow that was run, found another\n"
            f"  hint: run `{self.file}` again with the parameters it had; what is sound is not computed again"
        )


def kept(run_dir: str | Path) -> dict[str, Any]:
    """What a run has kept of itself but for its flow, as JSON values; empty where that is nothing."""
    try:
        found: dict[str, Any] = json.loads(Path(run_dir, "run.json").read_bytes())
    except FileNotFoundError:
        return {}
    return found


def recall(manifest: Mapping[str, Any]) -> Kept:
    """What the run that made an output kept of itself; the runs after it may have had other parameters.

    Raises
    ------
    RunError
        Where it has kept nothing.
    """
    names = ("file", "directory", "key", "params", "budget", "memory", "cluster", "workers", "threads", "max_bad")
    place = f"the manifest of {manifest.get('path')}"
    try:
        said = manifest["run"]
        return Kept(manifest["provenance"]["flow"], place, **{name: said[name] for name in names})
    except (KeyError, TypeError):
        raise RunError(
            f"expected `{place}` to say how the output was made, found that it does not\n"
            "  hint: run the flow again; what is sound is not computed again"
        ) from None


def earlier_budget(flow: Flow, run_dir: Path, workers: int, threads: int) -> int | None:
    """The budget that an earlier run of the same flow had, on as many workers and threads."""
    try:
        said = kept(run_dir)
        same = (said["key"], said["workers"], said["threads"]) == (flow_key(flow), workers, threads)
        budget: int | None = said["budget"] if same else None
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return budget

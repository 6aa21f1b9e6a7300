"""What a run keeps of itself in its folder, so that its outputs can be repaired by name alone.

``flow.yaml`` is the flow as it was read, ``run.json`` its parameters and where it ran. A value
from the environment stands there as ``${env:NAME}``, as in the flow; other credentials are struck out,
and must be given again: by the flow's own file, or as parameters.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hpcflow.digests import digest_json
from hpcflow.errors import FlowError, RunError
from hpcflow.files import OWN, mine, private, sweep, write
from hpcflow.planning.plan import Plan
from hpcflow.secrets import STRUCK, redact, redacted
from hpcflow.spec.flow import Flow, Node, Sink
from hpcflow.spec.validate import load, loads


def flow_key(flow: Flow) -> str:
    """Tells whether a flow, with its parameters, is the one that a run had; credentials aside, which may change."""
    return digest_json([redact(flow.text), _shown(flow)])


def _shown(flow: Flow) -> dict[str, Any]:
    """A flow's parameters as JSON values without credentials."""
    shown: dict[str, Any] = redacted(json.loads(json.dumps(dict(flow.params), default=str)), options=True)
    return shown


def remember(plan: Plan, where: Mapping[str, Any]) -> None:
    """Write down what a run is about to do."""
    flow = plan.flow
    text = redact(flow.text)
    kept = {
        "flow": flow.name,
        "file": str(Path(flow.file).absolute()),
        "directory": str(Path.cwd()),
        "key": flow_key(flow),
        "params": _shown(flow),
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

    def flow(self, given: Mapping[str, Any]) -> Flow:
        """The flow with the parameters that the run had.

        Parameters
        ----------
        given : mapping
            Parameters that are not kept, being secret.

        Raises
        ------
        RunError
            Where some are still missing, or neither the copy nor the flow's own file is what was run.
        """
        params = {name: value for name, value in {**self.params, **given}.items() if name in given or not _lacks(value)}
        struck = sorted(self.params.keys() - params.keys())
        if not struck and self._is_whole(params):
            flow = loads(self.text, self.place, params)
            if flow_key(flow) == self.key:
                # Its outputs say where they came from: the flow's own file, not this copy.
                return replace(flow, file=self.file)
        own = self._own_file(params)
        if own is not None and flow_key(own) == self.key:
            return load(self.file, params)
        if struck:
            # The file may have some of them; in vain, where others were given on the command line.
            missing = [name for name in struck if own is None or not _lacks(_shown(own).get(name))] or struck
            names = ", ".join(f"`{name}`" for name in missing)
            options = " ".join(f"-p {name}=…" for name in missing)
            raise RunError(
                f"expected the values of {names}, which are secret and so not kept, found none\n"
                f"  hint: hpcflow verify OUTPUT --repair {options}"
            )
        raise RunError(
            f"expected in `{self.place}` the flow that was run, found another, or one without credentials\n"
            f"  hint: run `{self.file}` again with the parameters it had; what is sound is not computed again"
        )

    def _is_whole(self, params: Mapping[str, Any]) -> bool:
        """Whether nothing that a source or a sink needs was struck out of the text."""
        try:
            flow = loads(self.text, self.place, params, missing_ok=True)
        except FlowError:
            return False
        nodes: list[Node | Sink] = [*flow.nodes.values(), *flow.sinks.values()]
        return not any(_lacks(dict(node.params)) for node in nodes)

    def _own_file(self, params: Mapping[str, Any]) -> Flow | None:
        """The flow's own file as it is now, without a look at what it reads; `None` where it is none any more."""
        with suppress(FlowError):
            return load(self.file, params, missing_ok=True)
        return None


def _lacks(value: Any) -> bool:
    """Whether something was struck out of a value."""
    return STRUCK in json.dumps(value, default=str)


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

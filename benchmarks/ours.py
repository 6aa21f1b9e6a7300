"""hpcflow as one of those who do a job."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from benchmarks.declare import Case, Once, Row

Flow = Callable[[Case], Mapping[str, Any]]
Answer = Callable[[Case], Any]


def by_hpcflow(
    row: Row, flow: Flow, answer: Answer, *, name: str = "hpcflow", cluster: str = "threads", command: bool = True,
    memory: Callable[[Any], int] | None = None, **options: Any,
) -> None:  # fmt: skip
    """Add `hpcflow.run` as an entry, and the whole command as another.

    The peers of most rows run on threads of the process that times them, and so does
    `hpcflow.run` there; the command starts the cluster that it starts for everyone.
    """

    def run(case: Case) -> Once:
        import hpcflow

        path, budget = write(flow, case), memory(case.size) if memory else None

        def once() -> Any:
            hpcflow.run(path, cluster=cluster, memory=budget, fresh=True, dashboard=False)
            return answer(case)

        return once

    def process(case: Case) -> Once:
        path = write(flow, case)
        words = [sys.executable, "-m", "hpcflow", "run", str(path), "--fresh", "--quiet", "--no-dashboard"]
        words += ["--memory", str(memory(case.size))] if memory else []

        def once() -> Any:
            done = subprocess.run(words, stderr=subprocess.PIPE, text=True, check=False)
            if done.returncode:
                raise RuntimeError(f"exit code {done.returncode}: {done.stderr.strip()}")
            return answer(case)

        return once

    row.entry(name, "hpcflow", **options)(run)
    if command:
        # A process keeps nothing for the next one.
        row.entry(f"{name}, command", "command", **{**options, "keeps": False})(process)


def write(flow: Flow, case: Case) -> Path:
    """Write the flow's file: JSON is YAML."""
    path = case.folder / "flow.yaml"
    path.write_text(json.dumps(flow(case), default=str), encoding="utf-8")
    return path


def number(name: str) -> Answer:
    """The number in a JSON result."""
    return lambda case: float(json.loads((case.out / name).read_bytes()))

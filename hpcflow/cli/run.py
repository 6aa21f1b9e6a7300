"""`hpcflow run`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from hpcflow.cli._shared import (
    Cluster,
    Debug,
    Directory,
    FlowFile,
    Json,
    MaxBad,
    Memory,
    Overwrite,
    Params,
    Quiet,
    RunDir,
    Threads,
    TrustModels,
    Workers,
    app,
    echo,
    errors,
    option,
    parse_params,
    print_json,
    warn,
    work_in,
)
from hpcflow.sizes import parse_share, parse_size

Fresh = Annotated[bool, typer.Option("--fresh", help="Compute everything anew.")]
Dashboard = Annotated[
    str | None, typer.Option(metavar="ADDRESS", help="Where Dask's dashboard listens. [127.0.0.1:8787]")
]
NoDashboard = Annotated[bool, typer.Option("--no-dashboard", help="Start no dashboard.")]
Retries = Annotated[
    int, typer.Option(metavar="N", min=0, help="Tries after the first, where a disk or a server fails.")
]
Deadline = Annotated[
    float | None, typer.Option(metavar="SECONDS", min=0.1, help="The longest that one block may take.")
]


@app.command()
def run(
    flow: FlowFile,
    *,
    param: Params = None,
    cluster: Cluster = "local",
    workers: Workers = None,
    threads: Threads = None,
    memory: Memory = None,
    run_dir: RunDir = None,
    overwrite: Overwrite = False,
    fresh: Fresh = False,
    max_bad: MaxBad = "0",
    dashboard: Dashboard = None,
    no_dashboard: NoDashboard = False,
    retries: Retries = 3,
    deadline: Deadline = None,
    trust_models: TrustModels = None,
    quiet: Quiet = False,
    directory: Directory = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Plan and run a flow; go on where an interrupted run of it stopped."""
    with errors(debug=debug, as_json=as_json):
        given: dict[str, Any] = {
            "cluster": cluster,
            "workers": workers,
            "threads": threads,
            "memory": option("memory", parse_size, memory),
            "run_dir": run_dir,
            "overwrite": overwrite,
            "fresh": fresh,
            "max_bad": option("max-bad", parse_share, max_bad),
            "dashboard": False if no_dashboard else dashboard,
            "retries": retries,
            "deadline": deadline,
        }
        work_in(directory)
        from hpcflow import api  # noqa: PLC0415
        from hpcflow.display import showing, summary  # noqa: PLC0415

        loaded = api.load(flow, parse_params(param), trust_models=trust_models or ())
        warn(loaded.warnings)
        with showing(sys.stderr, quiet=quiet) as progress:
            report = api.run(loaded, progress=progress, **given)
        if as_json:
            print_json(report.to_json())
        else:
            for text in report.printed:
                echo(text)
        if not quiet:
            echo(summary(report.to_json(), str(_report_path(run_dir, report.flow))), err=True)
        raise typer.Exit(report.exit_code)


def _report_path(run_dir: str | None, flow: str) -> Path:
    return (Path(run_dir) if run_dir else Path("runs") / flow) / "report.html"

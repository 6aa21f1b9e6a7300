"""`hpcflow plan`."""

from __future__ import annotations

import typer

from hpcflow.cli._shared import (
    Cluster,
    Debug,
    Directory,
    FlowFile,
    Json,
    Memory,
    Params,
    RunDir,
    Threads,
    Workers,
    app,
    errors,
    option,
    parse_params,
    print_json,
    warn,
    work_in,
)
from hpcflow.sizes import parse_size


@app.command()
def plan(
    flow: FlowFile,
    *,
    param: Params = None,
    cluster: Cluster = "local",
    workers: Workers = None,
    threads: Threads = None,
    memory: Memory = None,
    run_dir: RunDir = None,
    directory: Directory = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Show what would run: stages, tasks, bytes, memory. Starts nothing."""
    with errors(debug=debug):
        size = option("memory", parse_size, memory)
        work_in(directory)
        from hpcflow import api  # noqa: PLC0415

        loaded = api.load(flow, parse_params(param))
        warn(loaded.warnings)
        planned = api.plan(loaded, cluster=cluster, workers=workers, threads=threads, memory=size, run_dir=run_dir)
        if as_json:
            print_json(planned.to_json())
        else:
            typer.echo(str(planned))

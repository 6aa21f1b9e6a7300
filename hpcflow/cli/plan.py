"""`hpcflow plan`."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from hpcflow.cli._shared import (
    Cluster,
    Debug,
    Directory,
    FlowFile,
    Json,
    Memory,
    Overwrite,
    Params,
    RunDir,
    Threads,
    TrustModels,
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
    trust_models: TrustModels = None,
    overwrite: Overwrite = False,
    directory: Directory = None,
    html: Annotated[str | None, typer.Option("--html", metavar="FILE", help="Draw it as a page.")] = None,
    svg: Annotated[str | None, typer.Option("--svg", metavar="FILE", help="Draw it as a picture.")] = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Show what would run: stages, tasks, bytes, memory. Starts nothing."""
    with errors(debug=debug, as_json=as_json):
        size = option("memory", parse_size, memory)
        work_in(directory)
        from hpcflow import api  # noqa: PLC0415

        loaded = api.load(flow, parse_params(param), trust_models=trust_models or ())
        warn(loaded.warnings)
        given: dict[str, Any] = {"memory": size, "run_dir": run_dir, "overwrite": overwrite}
        planned = api.plan(loaded, cluster=cluster, workers=workers, threads=threads, **given)
        if html is not None or svg is not None:
            _draw(planned, html, svg)
        if as_json:
            print_json(planned.to_json())
        elif html is None and svg is None:
            from hpcflow.display import show_plan  # noqa: PLC0415

            show_plan(planned, sys.stdout)


def _draw(planned: Any, html: str | None, svg: str | None) -> None:
    """Write the drawings that are asked for."""
    from hpcflow.files import write  # noqa: PLC0415
    from hpcflow.planning.graph import graph  # noqa: PLC0415
    from hpcflow.report import diagram  # noqa: PLC0415
    from hpcflow.report.html import plan_page  # noqa: PLC0415

    drawn = graph(planned)
    if html is not None:
        write(html, plan_page(drawn, str(planned)), lasting=False)
    if svg is not None:
        write(svg, diagram.svg(drawn, standalone=True) + "\n", lasting=False)

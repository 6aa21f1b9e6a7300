"""`hpcflow ops` and `hpcflow schema`: what a flow may say."""

from __future__ import annotations

from typing import Annotated

import typer

from hpcflow.cli import _complete as complete
from hpcflow.cli._shared import Debug, Json, app, errors, print_json


@app.command()
def ops(
    name: Annotated[
        str | None, typer.Argument(help="One of them, to show with its parameters.", autocompletion=complete.uses)
    ] = None,
    *,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """List ops, sources, sinks and models; or show one."""
    with errors(debug=debug, as_json=as_json):
        from hpcflow.spec import catalog  # noqa: PLC0415

        found = catalog.entries() if name is None else catalog.find(name)
        if as_json:
            print_json([entry.to_json() for entry in found])
        else:
            typer.echo(catalog.render_list(found) if name is None else "\n\n".join(map(catalog.render, found)))


@app.command()
def schema() -> None:
    """Print the JSON Schema of a flow, for editors."""
    with errors(debug=False):
        from hpcflow.spec.schema import flow_schema  # noqa: PLC0415

        print_json(flow_schema())

"""`hpcflow verify`."""

from __future__ import annotations

from typing import Annotated

import typer

from hpcflow.cli._shared import (
    FAILED,
    Debug,
    Directory,
    Json,
    Params,
    TrustModels,
    app,
    echo,
    errors,
    parse_params,
    print_json,
    work_in,
)


@app.command()
def verify(
    output: Annotated[str, typer.Argument(metavar="OUTPUT", help="What a run has written, such as out/edges.zarr.")],
    *,
    repair: Annotated[bool, typer.Option("--repair", help="Compute what is damaged again.")] = False,
    param: Params = None,
    trust_models: TrustModels = None,
    directory: Directory = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Hold an output against its manifest and receipts, byte for byte."""
    with errors(debug=debug, as_json=as_json):
        work_in(directory)
        from hpcflow import api  # noqa: PLC0415

        found = api.verify(output, repair=repair, params=parse_params(param), trust_models=trust_models or ())
        if as_json:
            print_json(found.to_json())
        else:
            echo(str(found))
        raise typer.Exit(0 if found.sound else FAILED)

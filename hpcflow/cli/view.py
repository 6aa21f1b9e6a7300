"""`hpcflow view`."""

from __future__ import annotations

from typing import Annotated

import typer

from hpcflow.cli._shared import Debug, Directory, Json, app, errors, option, print_json, work_in
from hpcflow.errors import Mismatch

SIDE = 640
"""Elements of a picture each way."""


@app.command()
def view(
    output: Annotated[
        str,
        typer.Argument(metavar="OUTPUT", help="A Zarr or OME-Zarr folder, or a .npy, .parquet, .csv, .json or image."),
    ],
    *,
    component: Annotated[str, typer.Option(metavar="NAME", help="The array within a Zarr group.")] = "",
    index: Annotated[
        str | None, typer.Option("--index", "-i", metavar="N,…", help="Which plane of a volume. [the middle]")
    ] = None,
    rows: Annotated[int, typer.Option(metavar="N", min=0, help="Rows of a table.")] = 10,
    png: Annotated[str | None, typer.Option(metavar="FILE", help="Draw it into a PNG, too.")] = None,
    directory: Directory = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Look at an output: a picture and a histogram of an array, the first rows of a table."""
    with errors(debug=debug, as_json=as_json):
        at = option("index", _positions, index)
        work_in(directory)
        from rich.console import Console  # noqa: PLC0415

        from hpcflow.viewing import draw, look  # noqa: PLC0415

        seen = look.look(output, side=SIDE, rows=rows, component=component, index=at)
        if png is not None:
            if not isinstance(seen, look.ArrayView):
                raise Mismatch(f"expected an array to draw, found no picture in `{output}`", parameter="png")
            draw.save(seen, png)
        if as_json:
            print_json(seen.to_json())
        else:
            draw.show(seen, Console(highlight=False))


def _positions(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise ValueError(f"expected positions such as 10 or 3,10, found {text!r}") from None

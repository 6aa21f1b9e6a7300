"""`hpcflow report`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from hpcflow.cli._shared import Debug, Directory, Json, app, errors, print_json, work_in
from hpcflow.errors import Mismatch


@app.command()
def report(
    run_dir: Annotated[str, typer.Argument(metavar="RUN_DIR", help="A run's directory, such as runs/edges.")],
    *,
    directory: Directory = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Show the report of a run."""
    with errors(debug=debug):
        work_in(directory)
        from hpcflow.display import summary  # noqa: PLC0415

        path = Path(run_dir) / "report.json"
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            text = summary(found, str(path))
        except FileNotFoundError:
            raise Mismatch(f"expected the directory of a run, found no `{path}`") from None
        except (KeyError, TypeError, ValueError):
            raise Mismatch(f"expected the report of a run in `{path}`, found something else") from None
        if as_json:
            print_json(found)
        else:
            typer.echo(text)

"""`hpcflow report`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from hpcflow.cli._shared import Debug, Directory, Json, app, echo, errors, print_json, work_in
from hpcflow.errors import Mismatch
from hpcflow.files import regular_file


@app.command()
def report(
    run_dir: Annotated[str, typer.Argument(metavar="RUN_DIR", help="A run's directory, such as runs/edges.")],
    *,
    directory: Directory = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Show the report of a run."""
    with errors(debug=debug, as_json=as_json):
        work_in(directory)
        from hpcflow.display import summary  # noqa: PLC0415

        path = Path(run_dir) / "report.json"
        if not path.exists():
            raise Mismatch(f"expected the directory of a run, found no `{path}` in `{Path.cwd()}`")
        try:
            with open(path, encoding="utf-8", opener=regular_file) as file:
                found = json.load(file)
            text = summary(found, _page(Path(run_dir), found))
        except (KeyError, TypeError, ValueError):
            raise Mismatch(f"expected the report of a run in `{path}`, found something else") from None
        if as_json:
            print_json(found)
        else:
            echo(text)


def _page(run_dir: Path, found: Any) -> str:
    """The page of the run; drawn, where the run has left none."""
    from hpcflow.report.html import draw, is_drawn  # noqa: PLC0415

    try:
        if not is_drawn(run_dir, found):
            draw(run_dir)
    except Exception as error:  # noqa: BLE001  (what there is to say in words is said in any case)
        return f"{run_dir / 'report.json'} (no page: {type(error).__name__}: {error})"
    return str(run_dir / "report.html")

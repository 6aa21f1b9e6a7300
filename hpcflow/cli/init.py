"""`hpcflow init`."""

from __future__ import annotations

import shlex
from importlib.resources import files
from pathlib import Path
from typing import Annotated

import typer

from hpcflow.cli._shared import Debug, Directory, app, errors, work_in
from hpcflow.errors import Mismatch

FILES = ("README.md", "flow.yaml", "make_data.py")
COMMANDS = ("python make_data.py", "python -m hpcflow run flow.yaml", "python -m hpcflow view out/smooth.zarr")


@app.command()
def init(
    folder: Annotated[str, typer.Argument(metavar="DIR", help="Where the project goes; it may be there already.")],
    *,
    directory: Directory = None,
    debug: Debug = False,
) -> None:
    """Write a small project to start from: a flow, and a script that makes its data."""
    with errors(debug=debug):
        work_in(directory)
        write_project(Path(folder))
        typer.echo("\n".join(str(Path(folder, name)) for name in FILES))
        typer.echo("\nNext:\n")
        enter = [f"cd {shlex.quote(folder)}"] if Path(folder).resolve() != Path.cwd() else []
        typer.echo("\n".join(f"  {command}" for command in [*enter, *COMMANDS]))


def write_project(folder: Path) -> None:
    """Write the project's files; nothing where one of them is there already.

    Raises
    ------
    Mismatch
        Where something stands in the way.
    """
    there = [name for name in FILES if (folder / name).exists() or (folder / name).is_symlink()]
    if there:
        raise Mismatch(
            f"expected none of the project's files in `{folder}`, found {', '.join(f'`{name}`' for name in there)}",
            hint="nothing was written; give the name of a new folder",
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name in FILES:
            with (folder / name).open("x", encoding="utf-8") as file:
                file.write((files("hpcflow.cli") / "project" / name).read_text(encoding="utf-8"))
    except (FileExistsError, NotADirectoryError) as error:
        raise Mismatch(f"expected a folder or nothing at `{folder}`, found a file: {error.filename}") from None

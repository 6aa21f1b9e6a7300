"""The commands, one file each; the only place that prints. Results go to stdout, messages to stderr.

A command imports only what `--help` needs, and the rest when it runs.
"""

from __future__ import annotations

import logging
import os
from typing import Annotated

import typer

from hpcflow import stopping
from hpcflow.cli import check, doctor, fetch, init, ops, plan, report, run, verify, view
from hpcflow.cli._shared import app

__all__ = ["app", "main"]
COMMANDS = (init, run, plan, check, view, ops, fetch, verify, report, doctor)
"""Importing a command adds it to `app`."""


def main() -> None:
    """Run the command that the command line names."""
    stopping.listen()
    # A worker is a `python -c`, which would import from the working folder first, whoever else writes there.
    os.environ.setdefault("PYTHONSAFEPATH", "1")
    # Else a `.numba_config.yaml` there says from where Numba unpickles what it has compiled; empty is its default.
    os.environ.setdefault("NUMBA_CACHE_DIR", "")
    # What is cut short, a read that failed among others, would be listed there as the process ends.
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    app(prog_name="hpcflow")


def _version(value: bool) -> None:  # noqa: FBT001  (typer's callback)
    if value:
        from importlib.metadata import PackageNotFoundError, version  # noqa: PLC0415

        try:
            typer.echo(version("hpcflow"))
        except PackageNotFoundError:
            typer.echo("unknown: this checkout is not installed")
        raise typer.Exit


@app.callback()
def options(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Declarative flows over arrays larger than memory: planned, bounded, resumable."""

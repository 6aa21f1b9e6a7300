"""`hpcflow doctor`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

import typer

from hpcflow.cli._shared import FAILED, Debug, Directory, Json, app, errors, print_json, work_in
from hpcflow.errors import FlowError, Mismatch

WORDS = {"ok": "ok", "warning": "warning", "error": "wrong"}


@app.command()
def doctor(
    *,
    cluster: Annotated[
        str | None, typer.Option(metavar="NAME|FILE", help="Look at this cluster too; nothing is run on it.")
    ] = None,
    directory: Directory = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Say what would go wrong here, or on a cluster, and how to mend it."""
    with errors(debug=debug, as_json=as_json):
        work_in(directory)
        checks = list(_checks(cluster))
        bad = any(check.severity == "error" for check in checks)
        if as_json:
            print_json({"ok": not bad, "checks": [check.to_json() for check in checks]})
        else:
            for check in checks:
                typer.echo(_line(check))
        raise typer.Exit(FAILED if bad else 0)


def _checks(cluster: str | None) -> Iterator[Any]:
    from hpcflow.clusters._examine import examine, machine, wrong  # noqa: PLC0415
    from hpcflow.clusters.profiles import profile  # noqa: PLC0415

    yield from machine()
    if cluster is None:
        return
    try:
        found = profile(cluster)
    except FlowError as error:
        yield from (wrong("profile", f"{fault.location}: {fault.message}", fault.hint) for fault in error.faults)
    except Mismatch as error:
        yield wrong("profile", str(error), error.hint)
    else:
        yield from examine(found)


def _line(check: Any) -> str:
    text = ": ".join(filter(None, (check.found, check.problem)))
    hint = f"\n{'':21}hint: {check.hint}" if check.hint else ""
    return f"{WORDS[check.severity]:<8}{check.name:<12} {text}{hint}"

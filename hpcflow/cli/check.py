"""`hpcflow check`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from hpcflow.cli import _complete as complete
from hpcflow.cli._shared import (
    WRONG,
    Debug,
    Directory,
    Json,
    Overwrite,
    Params,
    TrustModels,
    app,
    echo,
    errors,
    fault_json,
    parse_params,
    print_json,
    work_in,
)
from hpcflow.errors import Fault, FlowError
from hpcflow.trust import trusting


@app.command()
def check(
    flows: Annotated[
        list[str], typer.Argument(metavar="FLOW...", help="YAML files of flows.", autocompletion=complete.flows)
    ],
    *,
    param: Params = None,
    trust_models: TrustModels = None,
    overwrite: Overwrite = False,
    directory: Directory = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Validate flows, and report every fault in them."""
    with errors(debug=debug, as_json=as_json):
        work_in(directory)
        params = parse_params(param)
        with trusting(trust_models or ()):
            found = {flow: _faults(flow, params, overwrite=overwrite) for flow in flows}
        if as_json:
            faults = [fault_json(fault) for one in found.values() for fault in one]
            print_json({"valid": not _wrong(found), "flows": list(found), "faults": faults})
        else:
            for flow, one in found.items():
                for fault in one:
                    echo(str(fault), err=True)
                if not any(fault.severity == "error" for fault in one):
                    echo(f"{flow}: valid")
        raise typer.Exit(WRONG if _wrong(found) else 0)


def _faults(flow: str, params: dict[str, Any], *, overwrite: bool) -> tuple[Fault, ...]:
    from hpcflow.planning.trial import doubted  # noqa: PLC0415
    from hpcflow.spec.validate import load  # noqa: PLC0415

    try:
        return doubted(load(flow, params, missing_ok=True, overwrite=overwrite)).warnings
    except FlowError as error:
        return error.faults


def _wrong(found: dict[str, tuple[Fault, ...]]) -> bool:
    return any(fault.severity == "error" for one in found.values() for fault in one)

"""What the commands share: options, what they are parsed to, and errors as messages."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer

from hpcflow import stopping
from hpcflow.cli import _complete as complete
from hpcflow.errors import Fault, FlowError, HpcflowError, Mismatch, MissingPackage

WRONG, FAILED, INTERRUPTED = 2, 1, 130

app = typer.Typer(
    name="hpcflow",
    help="Declarative flows over arrays larger than memory: planned, bounded, resumable.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

FlowFile = Annotated[str, typer.Argument(metavar="FLOW", help="A flow's YAML file.", autocompletion=complete.flows)]
Params = Annotated[
    list[str] | None, typer.Option("--param", "-p", metavar="NAME=VALUE", help="Set a parameter of the flow.")
]
Cluster = Annotated[
    str,
    typer.Option(
        metavar="NAME|FILE",
        help="A kind (local, local-cuda, slurm, …), or cluster/NAME.yaml, or a file.",
        autocompletion=complete.clusters,
    ),
]
Workers = Annotated[int | None, typer.Option(metavar="N", min=1, help="Worker processes.")]
Threads = Annotated[int | None, typer.Option(metavar="N", min=1, help="Threads of each worker.")]
Memory = Annotated[
    str | None,
    typer.Option(metavar="SIZE", help="Budget of the run on this machine, or of each worker on others."),
]
MaxBad = Annotated[
    str, typer.Option(metavar="FRACTION|N", help="Items that may be bad before it fails, such as 5 or 10%.")
]
RunDir = Annotated[
    str | None, typer.Option(metavar="DIR", help="Where the report and what a resumed run needs go. [runs/<flow>]")
]
TrustModels = Annotated[
    list[str] | None,
    typer.Option("--trust-models", metavar="SHA256", help="Run the TorchScript file with this digest, unseen."),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Let outputs replace data of others.")]
Directory = Annotated[str | None, typer.Option("-C", metavar="DIR", help="Work in this directory.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]


def work_in(directory: str | None) -> None:
    if directory is not None:
        try:
            os.chdir(directory)
        except OSError as error:
            raise Mismatch(f"expected a directory, found {directory!r}: {error.strerror}", parameter="C") from None


def option(name: str, parse: Any, text: str | None) -> Any:
    try:
        return None if text is None else parse(text)
    except ValueError as error:
        raise Mismatch(str(error), parameter=name) from None


def parse_params(given: list[str] | None) -> dict[str, Any]:
    from hpcflow.text.document import parse_value  # noqa: PLC0415

    params = {}
    for one in given or []:
        name, equals, text = one.partition("=")
        if not (equals and name.strip()):
            raise Mismatch(f"expected NAME=VALUE, found {one!r}", parameter="p")
        params[name.strip()] = parse_value(text, name.strip())
    return params


def echo(text: str, *, err: bool = False) -> None:
    """Print what may name files and repeat what servers say: nothing of it acts on a terminal, or is no text."""
    shown = "".join(one if one.isprintable() or one in "\n\t" else "\N{REPLACEMENT CHARACTER}" for one in text)
    typer.echo(shown, err=err)


def warn(warnings: tuple[Fault, ...]) -> None:
    from hpcflow.secrets import redact  # noqa: PLC0415

    for fault in warnings:
        echo(redact(str(fault)), err=True)


def print_json(document: Any) -> None:
    from hpcflow.secrets import redacted  # noqa: PLC0415

    echo(json.dumps(redacted(document), indent=2, ensure_ascii=False))


@contextmanager
def errors(*, debug: bool, as_json: bool = False) -> Iterator[None]:
    """Turn what goes wrong into a message and an exit code; and, `as_json`, into a document on standard output."""
    try:
        yield
    except (typer.Exit, BrokenPipeError):
        raise
    except Exception as error:
        if debug:
            raise
        from hpcflow.secrets import redact  # noqa: PLC0415

        echo(redact(_message(error)), err=True)
        if as_json:
            print_json(_error_json(error))
        raise typer.Exit(_code(error)) from None
    except KeyboardInterrupt:
        typer.echo(stopping.told(INTERRUPTED), err=True)
        raise typer.Exit(INTERRUPTED) from None
    except SystemExit as stop:
        if isinstance(stop.code, int) and (text := stopping.told(stop.code)):
            typer.echo(text, err=True)
        raise


def _code(error: Exception) -> int:
    return WRONG if isinstance(error, (FlowError, Mismatch)) else FAILED


PLACE = re.compile(r"(?P<file>.+?):(?P<line>\d+):(?P<column>\d+): error: ")
HINT = "\n  hint: "


def _error_json(error: Exception) -> dict[str, Any]:
    faults = [fault_json(fault) for fault in error.faults] if isinstance(error, FlowError) else []
    first = next((fault for fault in faults if fault["severity"] == "error"), None)
    if first is not None:
        place = {name: first[name] for name in ("file", "line", "column")}
        return {"error": {"message": first["message"], "place": place, "hint": first["hint"]}, "faults": faults}
    text = _message(error)
    at = PLACE.match(text)
    found = at and {"file": at["file"], "line": int(at["line"]), "column": int(at["column"])}
    message, _, hint = text[at.end() if at else len("error: ") :].partition(HINT)
    return {"error": {"message": message, "place": found, "hint": hint}, "faults": faults}


def fault_json(fault: Fault) -> dict[str, Any]:
    at = fault.location
    place = {"file": at.file, "line": at.line, "column": at.column}
    return {**place, "severity": fault.severity, "message": fault.message, "hint": fault.hint}


def _message(error: Exception) -> str:
    text = str(error)
    if isinstance(error, FlowError) or ": error: " in text.partition("\n")[0]:
        return text
    if isinstance(error, Mismatch):
        dashes = "-" if len(error.parameter or "") == 1 else "--"
        option = f"{dashes}{error.parameter}: " if error.parameter else ""
        hint = f"\n  hint: {error.hint}" if error.hint else ""
        return f"error: {option}{text}{hint}"
    if isinstance(error, (HpcflowError, MissingPackage, OSError)):
        return f"error: {text}"
    return f"error: {type(error).__name__}: {text}\n  hint: this is a fault in hpcflow or an add-on; see `--debug`"

"""The commands; the only place that prints. Results go to stdout, messages to stderr."""

from __future__ import annotations

# Only what `--help` needs: each command imports the rest when it runs.
import json
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from hpcflow import stopping
from hpcflow.errors import Fault, FlowError, HpcflowError, Mismatch, MissingPackage
from hpcflow.sizes import parse_share, parse_size

WRONG, FAILED, INTERRUPTED = 2, 1, 130

app = typer.Typer(
    name="hpcflow",
    help="Declarative flows over arrays larger than memory: planned, bounded, resumable.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

FlowFile = Annotated[str, typer.Argument(metavar="FLOW", help="A flow's YAML file.")]
Params = Annotated[
    list[str] | None, typer.Option("--param", "-p", metavar="NAME=VALUE", help="Set a parameter of the flow.")
]
Cluster = Annotated[
    str,
    typer.Option(metavar="NAME|FILE", help="local, threads, synchronous, the NAME of cluster/NAME.yaml, or a file."),
]
Workers = Annotated[int | None, typer.Option(metavar="N", min=1, help="Worker processes.")]
Threads = Annotated[int | None, typer.Option(metavar="N", min=1, help="Threads of each worker.")]
Memory = Annotated[
    str | None, typer.Option(metavar="SIZE", help="Budget of the whole run on one machine, such as 2GiB or 500MB.")
]
RunDir = Annotated[
    str | None, typer.Option(metavar="DIR", help="Where the report and what a resumed run needs go. [runs/<flow>]")
]
Directory = Annotated[str | None, typer.Option("-C", metavar="DIR", help="Work in this directory.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]


def main() -> None:
    """Run the command that the command line names."""
    stopping.listen()
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


@app.command()
def run(
    flow: FlowFile,
    *,
    param: Params = None,
    cluster: Cluster = "local",
    workers: Workers = None,
    threads: Threads = None,
    memory: Memory = None,
    run_dir: RunDir = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Compute everything anew.")] = False,
    max_bad: Annotated[
        str,
        typer.Option(metavar="FRACTION|N", help="Bad items to set apart before the run fails, such as 5 or 10%."),
    ] = "0",
    dashboard: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Where Dask's dashboard listens. [127.0.0.1:8787]")
    ] = None,
    no_dashboard: Annotated[bool, typer.Option("--no-dashboard", help="Start no dashboard.")] = False,
    retries: Annotated[
        int, typer.Option(metavar="N", min=0, help="Tries after the first, where a disk or a server fails.")
    ] = 3,
    deadline: Annotated[
        float | None, typer.Option(metavar="SECONDS", min=0.1, help="The longest that one block may take.")
    ] = None,
    quiet: Quiet = False,
    directory: Directory = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Plan and run a flow; go on where an interrupted run of it stopped."""
    with _errors(debug=debug):
        given: dict[str, Any] = {
            "cluster": cluster,
            "workers": workers,
            "threads": threads,
            "memory": _option("memory", parse_size, memory),
            "run_dir": run_dir,
            "fresh": fresh,
            "max_bad": _option("max-bad", parse_share, max_bad),
            "dashboard": False if no_dashboard else dashboard,
            "retries": retries,
            "deadline": deadline,
        }
        _work_in(directory)
        from hpcflow import api  # noqa: PLC0415
        from hpcflow.display import showing, summary  # noqa: PLC0415

        loaded = api.load(flow, _params(param))
        _warn(loaded.warnings)
        with showing(sys.stderr, quiet=quiet) as progress:
            report = api.run(loaded, progress=progress, **given)
        if as_json:
            _print_json(report.to_json())
        else:
            for text in report.printed:
                typer.echo(text)
        if not quiet:
            typer.echo(summary(report.to_json(), str(_report_path(run_dir, report.flow))), err=True)
        raise typer.Exit(report.exit_code)


def _report_path(run_dir: str | None, flow: str) -> Path:
    return (Path(run_dir) if run_dir else Path("runs") / flow) / "report.json"


@app.command()
def plan(
    flow: FlowFile,
    *,
    param: Params = None,
    cluster: Cluster = "local",
    workers: Workers = None,
    threads: Threads = None,
    memory: Memory = None,
    run_dir: RunDir = None,
    directory: Directory = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Show what would run: stages, tasks, bytes, memory. Starts nothing."""
    with _errors(debug=debug):
        size = _option("memory", parse_size, memory)
        _work_in(directory)
        from hpcflow import api  # noqa: PLC0415

        loaded = api.load(flow, _params(param))
        _warn(loaded.warnings)
        planned = api.plan(loaded, cluster=cluster, workers=workers, threads=threads, memory=size, run_dir=run_dir)
        if as_json:
            _print_json(planned.to_json())
        else:
            typer.echo(str(planned))


@app.command()
def check(
    flows: Annotated[list[str], typer.Argument(metavar="FLOW...", help="YAML files of flows.")],
    *,
    param: Params = None,
    directory: Directory = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Validate flows, and report every fault in them."""
    with _errors(debug=debug):
        _work_in(directory)
        params = _params(param)
        found = {flow: _faults(flow, params) for flow in flows}
        if as_json:
            faults = [_fault_json(fault) for one in found.values() for fault in one]
            _print_json({"valid": not _wrong(found), "flows": list(found), "faults": faults})
        else:
            for flow, one in found.items():
                for fault in one:
                    typer.echo(str(fault), err=True)
                if not any(fault.severity == "error" for fault in one):
                    typer.echo(f"{flow}: valid")
        raise typer.Exit(WRONG if _wrong(found) else 0)


def _faults(flow: str, params: dict[str, Any]) -> tuple[Fault, ...]:
    from hpcflow.spec.validate import load  # noqa: PLC0415

    try:
        return load(flow, params, missing_ok=True).warnings
    except FlowError as error:
        return error.faults


def _wrong(found: dict[str, tuple[Fault, ...]]) -> bool:
    return any(fault.severity == "error" for one in found.values() for fault in one)


def _fault_json(fault: Fault) -> dict[str, Any]:
    at = fault.location
    place = {"file": at.file, "line": at.line, "column": at.column}
    return {**place, "severity": fault.severity, "message": fault.message, "hint": fault.hint}


@app.command()
def ops(
    name: Annotated[str | None, typer.Argument(help="One of them, to show with its parameters.")] = None,
    *,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """List ops, sources, sinks and models; or show one."""
    with _errors(debug=debug):
        from hpcflow.spec import catalog  # noqa: PLC0415

        found = catalog.entries() if name is None else catalog.find(name)
        if as_json:
            _print_json([entry.to_json() for entry in found])
        else:
            typer.echo(catalog.render_list(found) if name is None else "\n\n".join(map(catalog.render, found)))


@app.command()
def schema() -> None:
    """Print the JSON Schema of a flow, for editors."""
    with _errors(debug=False):
        from hpcflow.spec.schema import flow_schema  # noqa: PLC0415

        _print_json(flow_schema())


@app.command()
def verify(
    output: Annotated[str, typer.Argument(metavar="OUTPUT", help="What a run has written, such as out/edges.zarr.")],
    *,
    repair: Annotated[bool, typer.Option("--repair", help="Compute what is damaged again.")] = False,
    directory: Directory = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Hold an output against its manifest and receipts, byte for byte."""
    with _errors(debug=debug):
        _work_in(directory)
        from hpcflow import api  # noqa: PLC0415

        found = api.verify(output, repair=repair)
        if as_json:
            _print_json(found.to_json())
        else:
            typer.echo(str(found))
        raise typer.Exit(0 if found.sound else FAILED)


@app.command()
def report(
    run_dir: Annotated[str, typer.Argument(metavar="RUN_DIR", help="A run's directory, such as runs/edges.")],
    *,
    directory: Directory = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Show the report of a run."""
    with _errors(debug=debug):
        _work_in(directory)
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
            _print_json(found)
        else:
            typer.echo(text)


@app.command()
def fetch(
    urls: Annotated[
        str | None,
        typer.Argument(
            metavar="LIST", help="A text, CSV or Parquet file of URLs; its URL; s3://bucket/*.jpg; one URL."
        ),
    ] = None,
    *,
    to: Annotated[str | None, typer.Option(metavar="DIR", help="Where the files and manifest.parquet go.")] = None,
    retry: Annotated[str | None, typer.Option(metavar="MANIFEST", help="Fetch only what failed before.")] = None,
    concurrency: Annotated[int, typer.Option(metavar="N", min=1, help="Requests at once.")] = 64,
    per_host: Annotated[int, typer.Option(metavar="N", min=1, help="Requests at once to one host.")] = 32,
    timeout: Annotated[float, typer.Option(metavar="SECONDS", min=0.01, help="For one try in all.")] = 60.0,
    retries: Annotated[int, typer.Option(metavar="N", min=0, help="More tries after the first.")] = 4,
    max_bad: Annotated[str, typer.Option(metavar="FRACTION|N", help="Items that may fail, such as 5 or 10%.")] = "0",
    max_bytes: Annotated[str, typer.Option(metavar="SIZE", help="The largest body, also decompressed.")] = "1GiB",
    cache: Annotated[str | None, typer.Option(metavar="DIR", help="The cache. [the user's cache folder]")] = None,
    cache_size: Annotated[str, typer.Option(metavar="SIZE", help="How large the cache may grow.")] = "10GiB",
    allow_private: Annotated[
        bool, typer.Option("--allow-private", help="Follow redirects to private addresses.")
    ] = False,
    quiet: Quiet = False,
    directory: Directory = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Fetch a list of URLs into a folder, but for what is there already."""
    with _errors(debug=debug):
        given: dict[str, Any] = {
            "concurrency": concurrency,
            "per_host": per_host,
            "timeout": timeout,
            "retries": retries,
            "max_bad": _option("max-bad", parse_share, max_bad),
            "max_bytes": _option("max-bytes", parse_size, max_bytes),
            "cache_size": _option("cache-size", parse_size, cache_size),
            "cache": cache or "",
            "allow_private": allow_private,
        }
        _work_in(directory)
        from hpcflow import ingest  # noqa: PLC0415
        from hpcflow.display import fetched, tallying  # noqa: PLC0415

        with tallying(sys.stderr, quiet=quiet) as progress:
            done = ingest.fetch(urls, to, retry=retry, progress=progress, **given)
        if as_json:
            _print_json(done.to_json())
        else:
            typer.echo(done.manifest)
        if not quiet:
            typer.echo(fetched(done.to_json()), err=True)
        raise typer.Exit(done.exit_code)


def _work_in(directory: str | None) -> None:
    if directory is not None:
        try:
            os.chdir(directory)
        except OSError as error:
            raise Mismatch(f"expected a directory, found {directory!r}: {error.strerror}", parameter="C") from None


def _option(name: str, parse: Any, text: str | None) -> Any:
    try:
        return None if text is None else parse(text)
    except ValueError as error:
        raise Mismatch(str(error), parameter=name) from None


def _params(given: list[str] | None) -> dict[str, Any]:
    from hpcflow.spec.document import parse_value  # noqa: PLC0415

    params = {}
    for one in given or []:
        name, equals, text = one.partition("=")
        if not (equals and name.strip()):
            raise Mismatch(f"expected NAME=VALUE, found {one!r}", parameter="p")
        params[name.strip()] = parse_value(text, name.strip())
    return params


def _warn(warnings: tuple[Fault, ...]) -> None:
    for fault in warnings:
        typer.echo(str(fault), err=True)


def _print_json(document: Any) -> None:
    typer.echo(json.dumps(document, indent=2, ensure_ascii=False))


@contextmanager
def _errors(*, debug: bool) -> Iterator[None]:
    """Turn what goes wrong into a message and an exit code."""
    try:
        yield
    except (typer.Exit, BrokenPipeError):
        raise
    except Exception as error:
        if debug:
            raise
        from hpcflow.secrets import redact  # noqa: PLC0415

        typer.echo(redact(_message(error)), err=True)
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

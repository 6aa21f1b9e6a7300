"""`hpcflow fetch`."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from hpcflow.cli._shared import Debug, Directory, Json, MaxBad, Quiet, app, echo, errors, option, print_json, work_in
from hpcflow.errors import Mismatch
from hpcflow.sizes import parse_share, parse_size

Urls = Annotated[
    str | None,
    typer.Argument(metavar="LIST", help="A text, CSV or Parquet file of URLs; its URL; s3://bucket/*.jpg; one URL."),
]
Headers = Annotated[
    list[str] | None,
    typer.Option("--header", metavar="'NAME: VALUE'", help="Send a header; secrets as '${env:NAME}'."),
]
AllowPrivate = Annotated[bool, typer.Option("--allow-private", help="Follow redirects to private addresses.")]


@app.command()
def fetch(
    urls: Urls = None,
    *,
    to: Annotated[str | None, typer.Option(metavar="DIR", help="Where the files and manifest.parquet go.")] = None,
    retry: Annotated[str | None, typer.Option(metavar="MANIFEST", help="Fetch only what failed before.")] = None,
    concurrency: Annotated[int, typer.Option(metavar="N", min=1, help="Requests at once.")] = 64,
    per_host: Annotated[int, typer.Option(metavar="N", min=1, help="Requests at once to one host.")] = 32,
    timeout: Annotated[float, typer.Option(metavar="SECONDS", min=0.01, help="For one try in all.")] = 60.0,
    retries: Annotated[int, typer.Option(metavar="N", min=0, help="More tries after the first.")] = 4,
    max_bad: MaxBad = "0",
    max_bytes: Annotated[str, typer.Option(metavar="SIZE", help="The largest body, also decompressed.")] = "1GiB",
    cache: Annotated[str | None, typer.Option(metavar="DIR", help="The cache. [the user's cache folder]")] = None,
    cache_size: Annotated[str, typer.Option(metavar="SIZE", help="How large the cache may grow.")] = "10GiB",
    header: Headers = None,
    allow_private: AllowPrivate = False,
    quiet: Quiet = False,
    directory: Directory = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Fetch a list of URLs into a folder, but for what is there already."""
    with errors(debug=debug, as_json=as_json):
        given: dict[str, Any] = {
            "concurrency": concurrency,
            "per_host": per_host,
            "timeout": timeout,
            "retries": retries,
            "max_bad": option("max-bad", parse_share, max_bad),
            "max_bytes": option("max-bytes", parse_size, max_bytes),
            "cache_size": option("cache-size", parse_size, cache_size),
            "cache": cache or "",
            "allow_private": allow_private,
            "headers": _headers(header or []),
        }
        work_in(directory)
        from hpcflow import ingest  # noqa: PLC0415
        from hpcflow.display import fetched, tallying  # noqa: PLC0415

        with tallying(sys.stderr, quiet=quiet) as progress:
            done = ingest.fetch(urls, to, retry=retry, progress=progress, **given)
        if as_json:
            print_json(done.to_json())
        else:
            echo(done.manifest)
        if not quiet:
            echo(fetched(done.to_json()), err=True)
        raise typer.Exit(done.exit_code)


def _headers(given: list[str]) -> dict[str, str]:
    pairs = [one.partition(":") for one in given]
    for name, colon, _ in pairs:
        if not (name.strip() and colon):
            raise Mismatch(f"expected 'NAME: VALUE', found {name[:20]!r}", parameter="header")
    return {name.strip(): value.strip() for name, _, value in pairs}

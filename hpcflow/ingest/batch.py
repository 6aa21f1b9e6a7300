"""A list of URLs into a folder of files: what `hpcflow fetch` does."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from os import PathLike, fspath
from pathlib import Path
from time import perf_counter
from typing import Any

from hpcflow.errors import Mismatch, RunError
from hpcflow.ingest.engine import Before, Engine, Got, Wanted
from hpcflow.ingest.items import Item, Result
from hpcflow.ingest.lists import expand, is_list, is_pattern, read_list
from hpcflow.ingest.manifest import Folder, Row, rows
from hpcflow.ingest.settings import settings_of
from hpcflow.ingest.urls import HIDDEN, WEB, Names, is_url, scheme, shown
from hpcflow.sizes import parse_share, share_of

SHOWN = 20
"""Failures that are kept for messages; the manifest has all."""

Source = str | PathLike[str] | Iterable[str]


@dataclass
class Tally:
    """How far a fetch is; what progress is told."""

    total: int | None = None
    """Items in all."""
    ok: int = 0
    cached: int = 0
    failed: int = 0
    bytes: int = 0
    """Of the bodies that came over the network."""

    @property
    def done(self) -> int:
        """Items that are finished."""
        return self.ok + self.cached + self.failed


@dataclass(frozen=True)
class Fetched:
    """What a fetch came to."""

    items: int
    ok: int
    cached: int
    failed: int
    bytes: int
    """Fetched, without those from the cache."""
    seconds: float
    manifest: str
    exit_code: int
    """0 with all of them, 3 with as many failed as were allowed, 1 with more."""
    failures: tuple[tuple[str, str], ...] = field(default=())
    """URL and reason of the first that failed."""
    notes: tuple[tuple[str, str], ...] = field(default=())
    """URL and what to know of the first that are there, but are not what one would expect."""

    def to_json(self) -> dict[str, Any]:
        """As `fetch --json` prints it."""
        counts = {name: getattr(self, name) for name in ("items", "ok", "cached", "failed", "bytes", "seconds")}
        told = {
            name: [{"url": url, "reason": reason} for url, reason in getattr(self, name)]
            for name in ("failures", "notes")
        }
        return {**counts, "manifest": self.manifest, "exit_code": self.exit_code, **told}


def fetch(source: Source | None = None, to: str | PathLike[str] | None = None, **options: Any) -> Fetched:
    """Fetch a list of URLs into a folder; the parameters are those of `fetch_async`."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(fetch_async(source, to, **options))
    # A notebook's own loop is running: one thread has one loop.
    done: list[Fetched | BaseException] = []

    def run() -> None:
        try:
            done.append(asyncio.run(fetch_async(source, to, **options)))
        except BaseException as error:  # noqa: BLE001  (raised again below)
            done.append(error)

    thread = threading.Thread(target=run, name="hpcflow-fetch")
    thread.start()
    thread.join()
    if isinstance(done[0], BaseException):
        raise done[0]
    return done[0]


async def fetch_async(
    source: Source | None = None,
    to: str | PathLike[str] | None = None,
    *,
    retry: str | PathLike[str] | None = None,
    max_bad: float | str = 0,
    column: str | None = None,
    storage_options: Mapping[str, Any] | None = None,
    progress: Callable[[Tally], None] | None = None,
    **settings: Any,
) -> Fetched:
    """Fetch a list of URLs into a folder, with a manifest; what is there already is not fetched again.

    Parameters
    ----------
    source : path, URL or iterable of str
        A text, CSV or Parquet file of URLs; the URL of such a file; a pattern on an object store;
        one URL; or URLs.
    to : path
        The folder.
    retry : path, optional
        The manifest of an earlier fetch, of which only what failed is fetched. `source` is then
        only needed where URLs hold credentials, which manifests do not keep; `to` is the
        manifest's folder where it is left out.
    max_bad : int, float or str
        Items that may fail: an `int` is a number of them, a `float` from 0 to 1 a share of all; or as text, ``"1%"``.
    column : str, optional
        The list's column of URLs, where it is not called `url`.
    storage_options : mapping, optional
        For fsspec.
    progress : callable, optional
        Is told, now and then, how far the fetch is.
    **settings
        The fields of `Settings`: `concurrency`, `per_host`, `timeout`, `retries`, `max_bytes`,
        `allow_private`, `cache`, `cache_size`.

    Raises
    ------
    Mismatch
        Where the list or a setting is wrong; nothing was fetched.
    RunError
        Where the folder belongs to another fetch that is under way.
    """
    begun = perf_counter()
    chosen = settings_of(settings, storage_options)
    share = parse_share(max_bad) if isinstance(max_bad, str) else max_bad
    folder = Path(to) if to is not None else Path(fspath(retry)).parent if retry is not None else None
    if folder is None:
        raise Mismatch("expected a folder for the files, found none", parameter="to")
    async with Engine(chosen) as engine, _listed(engine, source, column, retry, folder) as listed:
        tally = Tally(await asyncio.to_thread(_count, listed))
        failures: list[tuple[str, str]] = []
        notes: list[tuple[str, str]] = []
        with _told(folder), _made(folder) as made:
            async for row in _fetched(engine, made, listed):
                made.add(row)
                _tell(tally, row.result, failures, notes)
                if progress is not None:
                    tally.bytes = engine.received
                    progress(tally)
            tally.bytes = engine.received
            await asyncio.to_thread(made.publish)
    allowed = share_of(share, tally.done)
    code = 0 if not tally.failed else 3 if tally.failed <= allowed else 1
    seconds = perf_counter() - begun
    counts = (tally.done, tally.ok, tally.cached, tally.failed, tally.bytes, seconds)
    return Fetched(*counts, str(made.manifest), code, tuple(failures), tuple(notes))


def _made(folder: Path) -> Folder:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"could not write to `{folder}`: {error.strerror}") from error
    return Folder(folder)


@contextmanager
def _told(folder: Path) -> Iterator[None]:
    """Say of a disk that gives no more, or takes no more, where that was."""
    try:
        yield
    except OSError as error:
        raise RunError(
            f"could not go on at `{error.filename or folder}`: {error.strerror or error}\n"
            "  hint: run the same command again once that is mended: what is there stays"
        ) from error


def _tell(tally: Tally, result: Result, failures: list[tuple[str, str]], notes: list[tuple[str, str]]) -> None:
    setattr(tally, result.status, getattr(tally, result.status) + 1)
    told = failures if result.status == "failed" else notes
    if result.reason and len(told) < SHOWN:
        told.append((result.url, result.reason))


@dataclass(frozen=True)
class Entry:
    """A line of a list: an item to fetch, or the row of one that need not be."""

    name: str
    item: Item | None
    row: Row | None = None


Listed = Callable[[], Iterator[Entry]]
"""Reads the list from its start: once to count it, once to fetch."""


def _count(listed: Listed) -> int:
    return sum(1 for _ in listed())


async def _fetched(engine: Engine, folder: Folder, listed: Listed) -> AsyncIterator[Row]:
    under_way: dict[int, tuple[int, Entry, Item, str, Before | None]] = {}
    kept: list[Row] = []

    def wanted() -> Iterator[Wanted]:
        number = 0
        for index, entry in enumerate(listed()):
            if entry.item is None:
                assert entry.row is not None
                kept.append(Row(index, entry.row.result, entry.name))
                continue
            url = shown(entry.item.url)
            before = folder.before(entry.name, url)
            under_way[number] = (index, entry, entry.item, url, before)
            number += 1
            yield entry.item, folder.path / entry.name, before

    async for number, got in engine.stream(wanted()):
        while kept:
            yield kept.pop()
        index, entry, item, url, old = under_way.pop(number)
        if old is not None and got.path not in (None, old.path):
            old.path.unlink(missing_ok=True)  # what is there now is of another kind
        yield Row(index, _result(url, got), entry.name, item.sha256)
    while kept:
        yield kept.pop()


def _result(url: str, got: Got) -> Result:
    path, size, sha256 = (got.path.name, got.bytes, got.sha256) if got.path is not None else (None, None, None)
    return Result(url, path, got.status, size, sha256, got.tries, round(got.seconds, 6), got.reason)


@asynccontextmanager
async def _listed(
    engine: Engine, source: Source | None, column: str | None, retry: str | PathLike[str] | None, folder: Path
) -> AsyncIterator[Listed]:
    """What to fetch, from wherever it is listed."""
    if retry is not None:
        items = None if source is None else await items_of(engine, source, column)
        yield partial(_again, Path(retry), items, folder)
    elif source is None:
        raise Mismatch("expected a list of URLs, found none")
    else:
        yield partial(_entries, await items_of(engine, source, column))


def _entries(items: Callable[[], Iterator[Item]]) -> Iterator[Entry]:
    names = Names()
    for item in items():
        yield Entry(names.of(item.url, item.label), item)


def _again(manifest: Path, items: Callable[[], Iterator[Item]] | None, folder: Path) -> Iterator[Entry]:
    """The failed items of a manifest, and, where the manifest is to be made anew, the rows of the others."""
    keep = manifest.absolute().parent == folder.absolute()
    whole = {}
    if items is not None:
        # By their names: URLs that differ in what is not shown are not the same.
        failed = {row.name for row in rows(manifest) if row.result.status == "failed"}
        whole = {entry.name: entry.item for entry in _entries(items) if entry.name in failed}
    for row in rows(manifest):
        item = whole.get(row.name)
        if row.result.status == "failed" and item is None and HIDDEN in row.result.url:
            reason = "its credentials are not in the manifest; give the list too: `hpcflow fetch LIST --retry MANIFEST`"
            yield Entry(row.name, None, replace(row, result=replace(row.result, reason=reason)))
        elif row.result.status == "failed":
            yield Entry(row.name, item or Item(row.result.url, sha256=row.expected))
        elif keep:
            yield Entry(row.name, None, row)


async def items_of(engine: Engine, source: Source, column: str | None = None) -> Callable[[], Iterator[Item]]:
    """A function that reads the items of a source from its start.

    Raises
    ------
    Mismatch
        Where there is no such list, or it cannot be fetched.
    """
    if not isinstance(source, (str, PathLike)):
        urls = list(source)
        return lambda: (Item(url) for url in urls)
    path = fspath(source)
    if not is_url(path):
        if not await asyncio.to_thread(os.path.isfile, path):
            raise Mismatch(f"expected a list of URLs, found no file `{path}`")
        return partial(read_list, path, column=column)
    if is_pattern(path) or (scheme(path) not in WEB and path.endswith("/")):
        try:
            urls = await asyncio.to_thread(expand, path, engine.settings.options)
        except FileNotFoundError:
            raise Mismatch(f"expected files that match `{shown(path)}`, found none") from None
        return lambda: (Item(url) for url in urls)
    if is_list(path):
        got = await engine.get(Item(path))
        if got.path is None:
            raise Mismatch(f"expected a list of URLs at `{shown(path)}`: {got.reason}")
        return partial(read_list, str(got.path), elsewhere=path, column=column)
    return lambda: iter([Item(path)])

"""What sources read from elsewhere: which URLs, and how a worker gets at their bodies."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol, TypeVar

from hpcflow.digests import digest_json
from hpcflow.errors import BadItem, Mismatch, RunError
from hpcflow.ingest.failures import Failure
from hpcflow.ingest.items import Item
from hpcflow.ingest.lists import expand, is_list, is_pattern, read_list
from hpcflow.ingest.settings import Settings, settings_of
from hpcflow.ingest.urls import LONGEST_PATH, WEB, is_url, scheme, shown
from hpcflow.meta import Meta
from hpcflow.namespace import Array
from hpcflow.regions import Region, Shape
from hpcflow.secrets import redact
from hpcflow.sources._flat import FlatSource

if TYPE_CHECKING:
    from hpcflow.ingest.engine import Got
    from hpcflow.ingest.local import Fetcher
    from hpcflow.ingest.part import Start

T = TypeVar("T")
Fetch = dict[str, str | int | float | bool | dict[str, str]] | None
"""`{timeout: 10, per_host: 4, headers: {Authorization: "Bearer ${env:TOKEN}"}}`: the fields of `Settings`."""
AHEAD = 16
"""The fewest items that are fetched before they are asked for."""
START = 2**14
"""Bytes in which the header of a file is looked for; NumPy reads none that is longer than 10,000."""
WHOLE = 2**40
"""Bytes of the largest array that is fetched whole, unless `max_bytes` says so."""
ATTEMPTS = 3
"""A body may leave the cache between its coming and its being read."""


@dataclass(frozen=True)
class Fetching:
    """How URLs are fetched; pickles, and holds references to credentials."""

    settings: Settings
    run: str
    """What failed is asked for once in each run."""

    def ahead(self, items: Sequence[Item]) -> None:
        """Have items fetched that will soon be read."""
        _fetcher(self.settings).ask(self.run, items)

    def got(self, items: Sequence[Item]) -> Iterator[Got]:
        """Each item as it comes, in their order; all of them are under way when this returns."""
        there = _fetcher(self.settings)
        asked = there.ask(self.run, items)

        def each() -> Iterator[Got]:
            for item, future in zip(items, asked, strict=True):
                got = future.result()
                if got.path is not None:
                    there.forget(self.run, item)
                yield got

        return each()

    def read(self, item: Item, got: Got, use: Callable[[Path], T]) -> T:
        """Use the body of an item; fetch it again where it has left the cache meanwhile.

        Raises
        ------
        BadItem
            Where it cannot be had.
        """
        for attempt in range(ATTEMPTS):
            if got.path is None:
                raise BadItem(shown(item.url), got.reason or "could not be fetched")
            try:
                return use(got.path)
            except (BadItem, FileNotFoundError):
                if got.path.exists() or attempt == ATTEMPTS - 1:
                    raise
            (got,) = self.got([item])
        raise AssertionError

    def file(self, url: str) -> tuple[Path, str]:
        """A URL's body, as a file that may leave the cache once it is closed; and its SHA-256.

        Raises
        ------
        RunError
            Where it cannot be had.
        """
        known = _known.get((self.run, url))
        if known is not None and known[0].exists():
            return known
        (got,) = self.got([Item(url)])
        if got.path is None or got.sha256 is None:
            raise RunError(f"could not fetch `{shown(url)}`: {got.reason}")
        _known[self.run, url] = got.path, got.sha256
        return got.path, got.sha256

    def start(self, url: str) -> Start:
        """How a URL's body begins; the rest is not fetched.

        Raises
        ------
        Failure
        """
        there = _fetcher(self.settings)
        found: Start = there.wait(there.engine.start(Item(url), START))
        return found


_known: dict[tuple[str, str], tuple[Path, str]] = {}
"""Bodies that this process has held against their hash, in the run that it did so."""


def _fetcher(settings: Settings) -> Fetcher:
    from hpcflow.ingest.local import fetcher  # noqa: PLC0415  (aiohttp: only where something is fetched)

    return fetcher(settings)


def fetching(
    fetch: Mapping[str, Any] | None, storage_options: Mapping[str, Any] | None = None, **defaults: Any
) -> Fetching:
    """How a source fetches, from its parameters."""
    return Fetching(settings_of(fetch, storage_options, **defaults), uuid.uuid4().hex)


def there(url: str, how: Fetching) -> Path:
    """The body of a URL that the flow names, when the flow is opened.

    Raises
    ------
    FileNotFoundError
        Where there is none.
    Mismatch
        Where it cannot be had.
    """
    (got,) = how.got([Item(url)])
    if got.path is None:
        raise _unavailable(url, got.reason or "")
    return got.path


class Opener(Protocol):
    """Says how a flat array lies in a file, from its name, how it begins and its size."""

    def __call__(self, given: str, file: BinaryIO, size: int) -> FlatSource:
        """Open it; the result has no path yet."""


def flat(url: str, how: Fetching, opened: Opener) -> RemoteFlat:
    """A flat array in one file behind a URL, of which only the start is fetched for now."""
    try:
        start = how.start(url)
    except Failure as failure:
        raise _unavailable(url, redact(failure.reason)) from None
    content, total = start.content, start.total
    if total is None:
        content = there(url, how).read_bytes()
        total = len(content)
    found = opened(shown(url), BytesIO(content), total)
    return RemoteFlat(url, found.meta, found, how, content[: found.offset])


@dataclass(frozen=True)
class RemoteFlat:
    """A flat array in one file elsewhere, which comes as a whole into the cache of whoever reads it."""

    url: str
    meta: Meta
    flat: FlatSource
    """How it lies in its file."""
    how: Fetching
    header: bytes = field(repr=False)
    """What stands before the array, by which a file that was replaced meanwhile is seen."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What a user is told."""
        return self.flat.notes

    @property
    def chunks(self) -> Shape | None:
        """None: any region is read directly."""
        return None

    @property
    def identity(self) -> dict[str, Any]:
        """Where it is, and how it lies there."""
        # Every copy has a time of change of its own.
        return {**self.flat.identity, "path": shown(self.url), "mtime_ns": 0}

    def maps(self, region: Region) -> bool:  # noqa: ARG002  (its file is looked up once for a block)
        """Whether the block of a region is read once, rather than each of its tiles."""
        return not self.flat.copied

    def resident(self, region: Region) -> int:
        """Bytes of memory that reading a region takes."""
        return self.flat.resident(region)

    def state(self, region: Region) -> str:  # noqa: ARG002  (the file as a whole)
        """The hash of the file."""
        return digest_json([self.identity, self.how.file(self.url)[1]])

    def read(self, region: Region) -> Array:
        """A read-only view of the pages of this machine's copy."""
        path, _ = self.how.file(self.url)
        with path.open("rb") as file:
            if file.read(len(self.header)) != self.header:
                raise RunError(f"expected `{shown(self.url)}` to stay as it was, found another file there")
        return replace(self.flat, path=str(path), mtime_ns=path.stat().st_mtime_ns).read(region)


def _unavailable(url: str, reason: str) -> Exception:
    if reason.startswith(("answered 404", "answered 410", "no such file")):
        return FileNotFoundError(2, reason, shown(url))
    return Mismatch(f"expected to fetch `{shown(url)}`, found that it {reason}", parameter="path")


def listed(path: str, how: Fetching, keep: Callable[[str], bool]) -> list[Item]:
    """What a path stands for: the lines of a list, what matches a pattern, or the one thing itself.

    Parameters
    ----------
    path : str
        A URL, or a local list file.
    how : Fetching
    keep : callable
        Which names are taken from a folder or a pattern.
    """
    if not is_url(path):
        here = Path(path).parent
        items = list(read_list(path))
        return [one if is_url(one.url) else Item(_beside(here, one.url), one.label, one.sha256) for one in items]
    if is_pattern(path) or (scheme(path) not in WEB and not is_list(path) and not keep(path)):
        return [Item(url) for url in expand(path, how.settings.options, keep)]
    if is_list(path):
        return list(read_list(str(there(path, how)), elsewhere=path))
    return [Item(path)]


def _beside(folder: Path, line: str) -> str:
    """The path that a line of a list stands for; what is too long for one is cut, for it leads nowhere."""
    return str(folder / line) if len(line) <= LONGEST_PATH else shown(line)

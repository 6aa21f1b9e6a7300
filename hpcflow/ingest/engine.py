"""Fetch many URLs at once: turns, tries, deadlines, the cache. Knows neither lists nor manifests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter, time
from types import TracebackType
from typing import Any, Self, TypeVar

from hpcflow.errors import HpcflowError
from hpcflow.files import write
from hpcflow.ingest import elsewhere
from hpcflow.ingest.cache import Cache, Entry, copy_to, first_of, hash_of
from hpcflow.ingest.failures import Failure, pause
from hpcflow.ingest.hosts import Host, Hosts, owning
from hpcflow.ingest.items import Item
from hpcflow.ingest.kinds import HEAD, named, note, told
from hpcflow.ingest.part import Part, Start
from hpcflow.ingest.settings import Settings
from hpcflow.ingest.urls import WEB, is_url, key, origin, scheme
from hpcflow.ingest.web import Closed, NotModified, Target, Web
from hpcflow.secrets import redact, reveal

T = TypeVar("T")
DISK_THREADS = 8
"""They mostly wait, for a body to be on disk; more of them would only contend for the interpreter."""
AHEAD = 2048
"""Items under way or waiting for their turn, a host's gate or their next try."""


@dataclass(frozen=True)
class Before:
    """What an earlier run has put somewhere."""

    path: Path
    sha256: str
    note: str | None = None


Wanted = tuple[Item, Path | None, Before | None]
"""An item, where it goes, and what an earlier run has put there."""


@dataclass
class Got:
    """What became of one URL."""

    status: str = "failed"
    bytes: int | None = None
    sha256: str | None = None
    """Of the body, also where another was expected."""
    tries: int = 0
    seconds: float = 0.0
    reason: str | None = None
    """Why it failed; of a body that is there, what to know of it."""
    path: Path | None = None
    """The body: where it was asked for, with the ending for what is in it, else in the cache."""


class Engine:
    """Fetches; open it with `async with`, on the event loop that uses it."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.cache = Cache(settings.cache_dir, settings.cache_size)
        self._hosts = Hosts(self.cache.root / "hosts", settings.per_host)
        self._turns = asyncio.Semaphore(settings.concurrency)
        # Bodies in memory: on their way in, or waiting for the disk.
        self._room = asyncio.Semaphore(2 * settings.concurrency)
        self._threads = ThreadPoolExecutor(DISK_THREADS, "hpcflow-disk")
        self.received = 0
        """Bytes of bodies that came whole."""

    async def __aenter__(self) -> Self:
        self._web = Web(self.settings)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
        await self._disk(self.cache.clear)
        self._threads.shutdown(cancel_futures=True)
        self.cache.close()

    async def close(self) -> None:
        """Close every connection."""
        await self._web.close()

    def _disk(self, call: Callable[..., T], *args: Any) -> Awaitable[T]:
        """Run what waits for the disk on a thread."""
        return asyncio.get_running_loop().run_in_executor(self._threads, call, *args)

    async def stream(self, wanted: Iterable[Wanted]) -> AsyncIterator[tuple[int, Got]]:
        """Fetch items as they come; give each one's number and what became of it, in the order they end."""
        done: asyncio.Queue[tuple[int, Got | BaseException]] = asyncio.Queue()
        tasks: set[asyncio.Task[None]] = set()

        async def one(number: int, wish: Wanted) -> None:
            try:
                done.put_nowait((number, await self.get(*wish)))
            except BaseException as error:  # noqa: BLE001  (raised again by whoever takes it)
                done.put_nowait((number, error))

        items = enumerate(wanted)
        waiting = 0
        try:
            while True:
                while waiting < AHEAD and (following := next(items, None)) is not None:
                    task = asyncio.create_task(one(*following))
                    tasks.add(task)
                    task.add_done_callback(tasks.discard)
                    waiting += 1
                    if waiting % 8 == 0:
                        await asyncio.sleep(0)  # the first requests leave before the whole list is read
                if not waiting:
                    return
                waiting -= 1
                number, got = await done.get()
                if isinstance(got, BaseException):
                    raise got
                yield number, got
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def get(self, item: Item, to: Path | None = None, before: Before | None = None) -> Got:
        """Fetch one item; a failure is a value.

        Parameters
        ----------
        item : Item
        to : path, optional
            Where it goes; it is left in the cache alone where there is none.
        before : Before, optional
            What an earlier run has put there: if it is there still, that is it.
        """
        begun = perf_counter()
        got = Got()
        try:
            if not (before and item.sha256 in (None, before.sha256) and await self._there(before, got)):
                await self._get(item, to, got)
        except (Failure, HpcflowError) as error:
            got.reason = redact(str(error))
        except OSError as error:
            got.reason = redact(f"could not be written: {error.strerror or error}")
        got.seconds = perf_counter() - begun
        if self.cache.over():
            await self._disk(self.cache.clear)
        return got

    async def start(self, item: Item, length: int) -> Start:
        """The first bytes of a body, and how many it has in all; the rest is not fetched.

        They are those of the cache's copy where it is fresh, so that they fit what `get` gives.

        Raises
        ------
        Failure
        """
        url = _url_of(item)
        known = self.cache.entry(key(url, self.settings.headers))
        if known and known.fresh:
            with suppress(FileNotFoundError):
                return Start(await self._disk(first_of, self.cache.object(known.sha256), length), known.bytes)

        async def ask(target: Target, host: Host) -> Target | Start:
            if scheme(target.url) in WEB:
                return await self._web.start(target, length, host)
            return await elsewhere.start(url, length, self.settings)

        got = Got()
        while True:
            try:
                found = await self._led(item, got, ask)
            except Failure as failure:
                if not failure.again or got.tries > self.settings.retries:
                    raise
                if failure.wait is None:
                    await asyncio.sleep(pause(got.tries))
            else:
                self._room.release()
                return found

    async def _get(self, item: Item, to: Path | None, got: Got) -> None:
        name = key(_url_of(item), self.settings.headers)
        async with owning(self.cache.locks, int(name[:15], 16)):
            known = self.cache.entry(name)
            if known and item.sha256 not in (None, known.sha256):
                known = None  # what was not wanted is not asked about
            sha256 = item.sha256 or (known.sha256 if known and known.fresh else None)
            coding = known.coding if known and known.sha256 == sha256 else ""
            if sha256 is not None and await self._deliver(sha256, coding, to, got):
                return
            part = Part(self.cache.part(name), self.settings.buffer)
            if part.left():
                await self._disk(part.resume)
            try:
                await self._try(item, part, known, to, got)
            except BaseException:
                with suppress(OSError):
                    part.rest()
                raise

    async def _there(self, before: Before, got: Got) -> bool:
        try:
            size, found = await self._disk(hash_of, before.path)
        except FileNotFoundError:
            return False
        if found == before.sha256:
            got.status, got.sha256, got.bytes, got.path, got.reason = "cached", found, size, before.path, before.note
        return found == before.sha256

    async def _deliver(self, sha256: str, coding: str, to: Path | None, got: Got) -> bool:
        try:
            size, found, path, known = await self._disk(_brought, self.cache.object(sha256), coding, to, sha256)
        except FileNotFoundError:
            return False
        if found != sha256:
            self.cache.forget(sha256)
            return False
        got.status, got.sha256, got.bytes, got.path, got.reason = "cached", sha256, size, path, known
        return True

    async def _try(self, item: Item, part: Part, known: Entry | None, to: Path | None, got: Got) -> None:
        """Try until the body is whole and right, or no other try would help."""
        failures = 0
        while True:
            before = part.size
            try:
                if await self._once(item, part, known, got):
                    try:
                        # All that a body asks of the disk in one go: each change of threads costs.
                        size = await self._disk(self._store, item.sha256, part, to, got)
                    finally:
                        self._room.release()
                    self.received += size
                    return
                assert known is not None
                if await self._deliver(known.sha256, known.coding, to, got):
                    await self._disk(self.cache.remember, part.key, replace(known, asked=time()))
                    return
                known = None
            except Failure as failure:
                if not failure.again or got.tries > self.settings.retries:
                    raise
                # A try that got on is as good as a success for how soon the next may follow.
                failures = 1 if part.size >= before + 2**16 else failures + 1
                # While it waits for its next try, nothing of it stays in memory.
                await self._disk(part.rest)
                if failure.wait is None:
                    await asyncio.sleep(pause(failures))

    async def _once(self, item: Item, part: Part, known: Entry | None, got: Got) -> bool:
        """One try; `False` if what the cache has is still right.

        After `True` the body holds a share of the room for bodies.
        """
        url: str = reveal(item.url)

        async def ask(target: Target, host: Host) -> Target | None:
            if scheme(target.url) in WEB:
                return await self._web.receive(target, part, known, host)
            await elsewhere.receive(url, part, self.settings)
            return None

        try:
            await self._led(item, got, ask)
        except NotModified:
            return False
        return True

    async def _led(self, item: Item, got: Got, ask: Callable[[Target, Host], Coroutine[Any, Any, Target | T]]) -> T:
        """One try, over as many hosts as redirects lead to: what the last of them gives.

        It then holds a share of the room for bodies.
        """
        trusted = item.trusted or self.settings.allow_private
        target = Target.of(reveal(item.url), trusted=trusted, named=item.trusted)
        left = self.settings.timeout
        while True:
            host = self._hosts.of(origin(target.url))
            async with host.slot():
                await host.opened()
                async with self._turns:
                    await self._room.acquire()
                    found: Target | T = target
                    begun = perf_counter()
                    try:
                        if host.closed():
                            continue
                        hops = target.hops
                        got.tries += hops == 0
                        found = await self._within(left, ask(target, host))
                    except Closed:
                        got.tries -= hops == 0
                    except Failure as failure:
                        if failure.wait is not None:
                            await host.close(failure.wait)
                        raise
                    finally:
                        left -= perf_counter() - begun
                        if isinstance(found, Target):
                            self._room.release()
            if not isinstance(found, Target):
                return found
            target = found

    async def _within(self, seconds: float, asking: Coroutine[Any, Any, T]) -> T:
        try:
            async with asyncio.timeout(seconds):
                return await asking
        except TimeoutError:
            raise Failure(f"not done after {self.settings.timeout:g} s", again=True) from None

    def _store(self, expected: str | None, part: Part, to: Path | None, got: Got) -> int:
        """Put a whole body where it belongs, take note of what its URL gave, and return its size; blocking.

        Raises
        ------
        Failure
            Where it is not the one that the list says.
        """
        body, sha256 = part.whole()
        if expected is not None and sha256 != expected:
            part.drop()
            got.sha256 = sha256
            raise Failure(f"its SHA-256 is {sha256}, expected {expected}", again=got.tries == 1)
        size, version, known = part.size, part.version, None
        if to is None:
            kept = self.cache.add(body, sha256) if body is not None else self.cache.take(part.path, sha256, size)
            if not kept:
                raise Failure("larger than the whole cache; raise it with `cache_size`", again=False)
        else:
            kind = told(bytes(body[:HEAD]) if body is not None else first_of(part.path, HEAD))
            known = note(to.name, kind, version.coding)
            to = _placed(to, kind)
            if body is not None:
                write(to, body)
            elif copy_to(part.path, to, sha256)[1] != sha256:
                part.drop()
                raise Failure("what was written to disk is not what came", again=True)
            self.cache.share(to, sha256, size)
        entry = Entry(sha256, size, version.etag, version.modified, time(), version.coding)
        self.cache.remember(part.key, entry)
        if part.in_file:
            part.drop()
        got.status, got.bytes, got.sha256, got.reason = "ok", size, sha256, known
        got.path = to or self.cache.object(sha256)
        return size


def _brought(source: Path, coding: str, to: Path | None, sha256: str) -> tuple[int, str, Path, str | None]:
    """Bring a body from the cache to where it is wanted: its size and hash, where it is, what to know of it."""
    if to is None:
        return *hash_of(source), source, None
    kind = told(first_of(source, HEAD))
    path = _placed(to, kind)
    return *copy_to(source, path, sha256), path, note(to.name, kind, coding)


def _placed(to: Path, kind: str) -> Path:
    name = named(to.name, kind)
    return to if name == to.name else to.with_name(name)


def _url_of(item: Item) -> str:
    """The URL that an item is asked for by, if it may be asked for at all."""
    url: str = reveal(item.url)
    if not is_url(url):
        raise Failure("is no URL", again=False)
    if not item.trusted and scheme(url) not in WEB:
        raise Failure(f"a list from elsewhere may not name `{scheme(url)}://`", again=False)
    if "::" in url and scheme(url) not in WEB:
        raise Failure("chains of file systems are not followed", again=False)
    return url

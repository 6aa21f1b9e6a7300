"""One try over HTTP: ask, follow, take the body in, and be sure that it is whole."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Iterator, Mapping
from contextlib import AbstractAsyncContextManager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import unquote

import aiohttp
from aiohttp.connector import Connection
from aiohttp.http_exceptions import HttpProcessingError
from multidict import CIMultiDict
from yarl import URL

from hpcflow.errors import HpcflowError
from hpcflow.ingest.cache import Entry
from hpcflow.ingest.codings import CODINGS, decoded
from hpcflow.ingest.failures import AGAIN, Failure, answered, too_large
from hpcflow.ingest.guard import PrivateAddress, private_address, public_socket, redirected, refuse_private, same_host
from hpcflow.ingest.hosts import Host
from hpcflow.ingest.kinds import ENDINGS, HEAD, PROGRAMS, told
from hpcflow.ingest.part import Part, Start, Version
from hpcflow.ingest.proxies import Proxies
from hpcflow.ingest.settings import Settings
from hpcflow.ingest.urls import WEB, extension, origin, scheme
from hpcflow.ingest.wire import wire
from hpcflow.sizes import show_size

REDIRECTS = {301, 302, 303, 307, 308}
MOST_REDIRECTS = 5
LONGEST_LINE = 2**16
"""Bytes of a header; some servers send long ones (policies, cookies)."""
TEXTS = {"", ".txt", ".csv", ".tsv", ".json", ".xml", ".md", ".yaml", ".yml", ".svg"}
"""Endings of URLs whose content a server may well call a web page."""
WEB_PAGES = {*ENDINGS[".html"], *PROGRAMS}


class NotModified(Exception):
    """The server has what the cache has."""


class Closed(Exception):
    """The host has closed its gate while a connection to it came about."""


@dataclass(frozen=True)
class Target:
    """Where to ask, after some redirects."""

    url: str
    """As it is sent; with credentials where it is of another scheme: never shown."""
    trusted: bool = True
    """Whether it may have a private address."""
    auth: str = field(default="", repr=False)
    """For `Authorization`."""
    named: bool = True
    """Whether it is what the user has named, or of its origin: only that gets the headers of the settings."""
    hops: int = 0

    @classmethod
    def of(cls, url: str, *, trusted: bool, named: bool = True) -> Target:
        """A URL as it is sent, its credentials taken out.

        Raises
        ------
        Failure
        """
        if scheme(url) not in WEB:
            return cls(url, trusted)
        try:
            sent = wire(url)
        except ValueError as error:
            why = f": its {len(url):,} characters are too many" if str(error) == "too long" else ""
            raise Failure(f"is no valid URL{why}", again=False) from None
        return cls(sent, trusted, _basic(url) if "@" in url else "", named)

    def follow(self, location: str, *, allow_private: bool) -> Target:
        """Where a redirect leads; credentials and headers stay with the origin that they were given for."""
        if self.hops == MOST_REDIRECTS:
            raise Failure(f"redirects more than {MOST_REDIRECTS} times", again=False)
        url = redirected(self.url, location)
        same = origin(url) == origin(self.url)
        trusted = allow_private or (self.trusted and same_host(self.url, url))
        return Target(url, trusted, self.auth if same else "", self.named and same, self.hops + 1)


def _basic(url: str) -> str:
    """User and password of a URL, as a header has them."""
    user, at, _ = re.split("[/?#]", url.partition("://")[2], maxsplit=1)[0].rpartition("@")
    if not at:
        return ""
    name, _, word = user.partition(":")
    plain = ":".join(unquote(one, errors="surrogateescape") for one in (name, word))
    return "Basic " + b64encode(plain.encode("utf-8", "surrogateescape")).decode()


class Web:
    """Connections that are kept alive: one pool for where the user points, one for public addresses only."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._headers = settings.revealed
        self._proxies = Proxies()
        deadlines = aiohttp.ClientTimeout(total=None, sock_connect=settings.connect, sock_read=settings.stall)
        self._sessions = {
            trusted: aiohttp.ClientSession(
                connector=_Gated(
                    limit=0,
                    ttl_dns_cache=300,
                    socket_factory=None if trusted else public_socket,
                ),
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=deadlines,
                auto_decompress=False,
                max_line_size=LONGEST_LINE,
                max_field_size=LONGEST_LINE,
                # What one answer may pile up before it is taken.
                read_bufsize=2**17,
                # Encoded bodies cannot be taken up in the middle.
                headers={"Accept-Encoding": "identity", "User-Agent": "hpcflow"},
            )
            for trusted in (True, False)
        }

    async def close(self) -> None:
        """Close every connection."""
        for session in self._sessions.values():
            await session.close()

    async def receive(self, target: Target, part: Part, known: Entry | None, host: Host) -> Target | None:
        """Ask once, and take the body in.

        Returns
        -------
        Target or None
            Where the server says to ask instead; `None` when the body is whole.

        Raises
        ------
        Failure, NotModified, Closed
        """
        with _translated(target.url):
            async with await self._asking(target, _conditions(part, known), host) as answer:
                if (led := self._led(target, answer)) is not None:
                    return led
                await self._body(answer, part, known, target.url)
        return None

    async def start(self, target: Target, length: int, host: Host) -> Target | Start:
        """Ask for the first bytes of a body; a server that sends more is not listened to.

        Raises
        ------
        Failure, Closed
        """
        with _translated(target.url):
            async with await self._asking(target, {"Range": f"bytes=0-{length - 1}"}, host) as answer:
                if (led := self._led(target, answer)) is not None:
                    return led
                total = _total(answer)
                _refuse_page(answer.headers.get("Content-Type", ""), target.url)
                found = bytearray()
                async for piece in decoded(answer.content.iter_any(), _encoding(answer)):
                    found += piece
                    if len(found) >= length:
                        break
                if found:
                    _sniff(bytes(found[:length]), target.url)
                return Start(bytes(found[:length]), total)

    async def _asking(
        self, target: Target, headers: dict[str, str], host: Host
    ) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        sent: Mapping[str, str] = headers
        if target.auth:
            headers["Authorization"] = target.auth
        if self._headers and target.named:
            sent = CIMultiDict(self._headers)
            sent.update(headers)
        proxy = self._proxies.of(target.url)
        if proxy is not None and not target.trusted:
            await refuse_private(target.url)
        _asked.set(host)
        session = self._sessions[target.trusted or proxy is not None]
        return session.get(URL(target.url, encoded=True), headers=sent, proxy=proxy, allow_redirects=False)

    def _led(self, target: Target, answer: aiohttp.ClientResponse) -> Target | None:
        """Where an answer says to ask instead."""
        location = answer.headers.get("Location")
        if answer.status not in REDIRECTS or not location:
            return None
        return target.follow(location, allow_private=self._settings.allow_private)

    async def _body(self, answer: aiohttp.ClientResponse, part: Part, known: Entry | None, url: str) -> None:
        if answer.status == 304 and known is not None and not part.size:
            raise NotModified
        encoding = _encoding(answer)
        _place(answer, part, encoding)
        most = self._settings.max_bytes
        if (answer.content_length or 0) + part.size > most:
            raise too_large(most)
        _refuse_page(answer.headers.get("Content-Type", ""), url)
        start = part.size
        # The connection goes back to its pool with the last byte; what it gets after that is excess.
        protocol = getattr(answer, "_protocol", None)
        async for piece in decoded(answer.content.iter_any(), encoding):
            if part.size == 0:
                _sniff(piece, url)
            if part.size + len(piece) > most:
                raise too_large(most)
            await part.add(piece)
        _complete(answer, part, start, encoding)
        if protocol is not None and isinstance(protocol.exception(), HttpProcessingError):
            raise _afresh(part, f"more came than the {part.size:,} bytes that the server announced")


_asked: ContextVar[Host] = ContextVar("asked")
"""Of the try that a task makes."""


class _Gated(aiohttp.TCPConnector):
    """Between asking for a turn and sending lies the time that a connection takes."""

    async def connect(self, req: Any, traces: Any, timeout: Any) -> Connection:  # noqa: ASYNC109  (aiohttp's own)
        connection = await super().connect(req, traces, timeout)
        if _asked.get().closed():
            connection.release()
            raise Closed
        return connection


def _conditions(part: Part, known: Entry | None) -> dict[str, str]:
    if part.size and part.version.validator:
        return {"Range": f"bytes={part.size}-", "If-Range": part.version.validator}
    if known is None:
        return {}
    given = {"If-None-Match": known.etag, "If-Modified-Since": "" if known.etag else known.modified}
    return {name: value for name, value in given.items() if value}


def _place(answer: aiohttp.ClientResponse, part: Part, encoding: str) -> None:
    """Make sure that what comes now belongs behind what is there; start over where it does not."""
    version = _version(answer, encoding)
    if answer.status in (200, 203):
        part.begin(version)
    elif answer.status == 206 and part.size:
        found = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+|\*)", answer.headers.get("Content-Range", "").strip())
        old = part.version
        fits = found and int(found[1]) == part.size and found[3] in ("*", str(old.total or found[3]))
        same = version.etag in ("", old.etag) and (old.etag or version.modified in ("", old.modified))
        if not fits or not same or encoding:
            raise _afresh(part, "the file changed while it was being fetched")
    elif answer.status == 416 and part.size:
        raise _afresh(part, "the file changed while it was being fetched")
    else:
        raise answered(answer.status, answer.headers)


def _coding(answer: aiohttp.ClientResponse) -> str:
    found = answer.headers.get("Content-Encoding", "").strip().lower()
    return "" if found == "identity" else found


def _encoding(answer: aiohttp.ClientResponse) -> str:
    """The coding that is to be undone."""
    found = _coding(answer)
    return found if found in CODINGS else ""


def _total(answer: aiohttp.ClientResponse) -> int | None:
    """How many bytes the body has of which the first were asked for, if the server says so."""
    if _encoding(answer):
        return None
    found = re.fullmatch(r"bytes (?:0-\d+|\*)/(\d+)", answer.headers.get("Content-Range", "").strip())
    if answer.status == 206 and found:
        return int(found[1])
    if answer.status == 416 and found and found[1] == "0":
        return 0
    if answer.status in (200, 203):
        return answer.content_length
    raise answered(answer.status, answer.headers)


def _afresh(part: Part, reason: str) -> Failure:
    part.begin(Version())
    return Failure(reason, again=True)


def _version(answer: aiohttp.ClientResponse, encoding: str) -> Version:
    headers = answer.headers
    if encoding:
        return Version()
    modified, etag = _sendable(headers.get("Last-Modified", "")), _sendable(headers.get("ETag", ""))
    weak = not etag or etag.startswith("W/")
    # Dates take a while to read: only where they are all that there is.
    dated = weak and bool(modified) and _before(modified, headers.get("Date", ""))
    return Version(etag, modified, answer.content_length, dated, _coding(answer))


def _sendable(validator: str) -> str:
    """A validator that can be sent back as it came; else it is none."""
    return validator if validator.isascii() and validator.isprintable() else ""


def _before(modified: str, date: str) -> bool:
    """Whether a time of change lies so far before the answer that no second change shares it (RFC 9110, 8.8.2.2)."""
    try:
        return (parsedate_to_datetime(date) - parsedate_to_datetime(modified)).total_seconds() >= 1
    except (ValueError, TypeError, OverflowError):
        return False


def _complete(answer: aiohttp.ClientResponse, part: Part, start: int, encoding: str) -> None:
    if encoding:
        return
    length, total = answer.content_length, part.version.total
    # A body that goes on until the connection closes, or in chunks, announces no length.
    wanted = start + length if length is not None else total if start else None
    if total is not None and start:
        wanted = total
    if wanted is not None and part.size < wanted:
        raise Failure(f"broke off after {part.size:,} of {wanted:,} bytes", again=True)
    if wanted is not None and part.size > wanted:
        raise _afresh(part, f"expected {wanted:,} bytes, found {part.size:,}")


def _refuse_page(kind: str, url: str) -> None:
    page = kind.partition(";")[0].strip().lower() in ("text/html", "application/xhtml+xml")
    if page and extension(url) not in TEXTS | WEB_PAGES:
        raise Failure(f"expected a `{extension(url)}` file, found a web page (`{kind[:80]}`)", again=False)


def _sniff(piece: bytes, url: str) -> None:
    if told(piece[:HEAD]) == ".html" and extension(url) not in WEB_PAGES:
        raise Failure(f"expected a `{extension(url)}` file, found a web page", again=False)


@contextmanager
def _translated(url: str) -> Iterator[None]:
    """Turn what aiohttp raises into a failure; its own messages may quote the whole URL."""
    try:
        yield
    except aiohttp.ClientConnectorDNSError:
        raise Failure("its host's name is not known", again=True) from None
    except aiohttp.ClientConnectorError as error:
        if isinstance(error.os_error, PrivateAddress):
            raise private_address(url) from None
        raise Failure(_unconnected(error), again=not isinstance(error, aiohttp.ClientSSLError)) from None
    except aiohttp.ClientPayloadError as error:
        raise Failure(_broken(error), again=True) from None
    except (HpcflowError, NotModified, Closed):
        raise
    except aiohttp.ClientHttpProxyError as error:
        raise Failure(f"its proxy answered {error.status}", again=error.status in AGAIN) from None
    except Exception as error:  # noqa: BLE001  (a hostile server may bring any library to its limits)
        if "Got more than" in str(error):
            raise Failure(f"sends a header of more than {show_size(LONGEST_LINE)}", again=False) from None
        again = not isinstance(error, (UnicodeError, aiohttp.InvalidURL))
        raise Failure(next(text for kind, text in REASONS if isinstance(error, kind)), again=again) from None


REASONS: tuple[tuple[type[Exception], str], ...] = (
    (aiohttp.ConnectionTimeoutError, "no connection in time"),
    (aiohttp.SocketTimeoutError, "stalled"),
    (aiohttp.ServerDisconnectedError, "closed the connection without an answer"),
    (ConnectionResetError, "the connection was reset"),
    (UnicodeError, "is no valid URL"),
    (aiohttp.InvalidURL, "is no valid URL"),
    (OSError, "the connection broke"),
    (Exception, "does not speak HTTP properly"),
)


def _unconnected(error: aiohttp.ClientConnectorError) -> str:
    if isinstance(error, aiohttp.ClientSSLError):
        return "no secure connection"
    whom = " to its proxy" if isinstance(error, aiohttp.ClientProxyConnectionError) else ""
    return f"no connection{whom}: {error.os_error.strerror or 'refused'}"


def _broken(error: aiohttp.ClientPayloadError) -> str:
    cause = type(error.__cause__).__name__
    if "TransferEncoding" in str(error) + cause:
        return "its chunked encoding is broken"
    return "broke off before its end"

"""What really goes over the wire for a URL as it is written: ASCII, byte by byte, to a host of one spelling.

A URL is brought to this form once. What is judged is then what is connected to, and what is sent is
what the list says: percent-escapes as they are, every other byte that a URL may not hold as `%XX`.
"""

from __future__ import annotations

import re
from functools import lru_cache
from urllib.parse import quote, urljoin

from yarl import URL

from hpcflow.ingest.urls import WEB

PLAIN = re.compile(r"https?://[a-z0-9.-]+(?::[0-9]{1,4})?/(?:[A-Za-z0-9._~!$&'()*+,;=:@/?\[\]-]++|%[0-9A-Fa-f]{2})*+")
"""Most URLs are as they go over the wire."""
PARTS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):[/]{2}([^/?#\\]*)(/[^?#]*)?(\?[^#]*)?(?:#.*)?", re.DOTALL)
HOST = re.compile(r"[a-z0-9._-]+")
LEGAL = "%!$&'()*+,;=:@/?[]~"
STRAY = re.compile(rb"%(?![0-9A-Fa-f]{2})")
MOST = 2**16
"""Bytes of a URL; servers take an eighth of it."""


def wire(url: str) -> str:
    """A web URL as it is sent, without user information and fragment.

    Raises
    ------
    ValueError
        Where it is none.
    """
    if len(url) > MOST:
        raise ValueError("too long")
    if PLAIN.fullmatch(url):
        return url
    parts = PARTS.fullmatch(url)
    if parts is None or parts[1].lower() not in WEB:
        raise ValueError("no web URL")
    return f"{parts[1].lower()}://{_place(parts[2])}{_quoted(parts[3] or '/')}{_quoted(parts[4] or '')}"


def led(url: str, location: str) -> str:
    """The URL that a `Location` names, seen from a URL in the form of `wire`; in that form where it is a web URL.

    Raises
    ------
    ValueError
        Where it is none.
    """
    location = location.strip(" \t")
    if location.startswith("//"):
        location = url.partition("//")[0] + location
    parts = PARTS.fullmatch(location)
    if parts is None:
        return wire(urljoin(url, _quoted(location)))
    return wire(location) if parts[1].lower() in WEB else location


def _quoted(text: str) -> str:
    """Text with the bytes that a URL may not hold as ``%XX``; those that were no UTF-8 in a list or header too."""
    return quote(STRAY.sub(b"%25", text.encode("utf-8", "surrogateescape")), safe=LEGAL)


@lru_cache(1024)
def _place(netloc: str) -> str:
    """Host and port: IDNA done, wide forms folded, addresses in the one way that they are written."""
    found = URL(f"http://{netloc.rpartition('@')[2]}/")
    host, port = found.raw_host or "", found.explicit_port
    if ":" in host:
        host = f"[{host}]"
    elif not HOST.fullmatch(host):
        raise ValueError("no host")
    return host if port is None else f"{host}:{port}"

"""What may be asked for: whom a redirect, or a list from elsewhere, may lead to.

The address that is judged is the one that a socket is about to be connected to: however a host is spelled, and
whatever its name server answers the second time (DNS rebinding), nothing comes between.
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
import socket
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from hpcflow.ingest.failures import Failure
from hpcflow.ingest.urls import origin, scheme, shown
from hpcflow.ingest.wire import led

GLOBAL = ipaddress.ip_network("2000::/3")
"""All of IPv6 that is given out for the public internet."""
TRANSLATED = (ipaddress.ip_network("64:ff9b::/96"), ipaddress.ip_network("::/96"))
"""IPv4 in the last four bytes: NAT64, and the old way."""
METADATA = "168.63.129.16"
"""A public address at which a cloud answers its own machines."""


def is_private(address: str) -> bool:
    """Whether an IP address is not one of the public internet: loopback, local networks, metadata services."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv4Address):
        return not ip.is_global or ip.is_multicast or str(ip) == METADATA
    inner = ip.ipv4_mapped or ip.sixtofour
    if inner is None and any(ip in one for one in TRANSLATED):
        inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
    if inner is not None:
        return is_private(str(inner))
    return ip not in GLOBAL or not ip.is_global


class PrivateAddress(OSError):
    """A host leads to an address that is not allowed."""


def public_socket(info: Any) -> socket.socket:
    """A socket for what `getaddrinfo` has found, if that is public: aiohttp connects it to this very address.

    Raises
    ------
    PrivateAddress
    """
    family, kind, protocol, _, address = info
    if is_private(address[0]):
        raise PrivateAddress("a private address")
    return socket.socket(family, kind, protocol)


def socket_for(judged: Callable[[], bool]) -> Callable[[Any], socket.socket]:
    """Sockets for public addresses alone whenever the request at hand is to be judged."""
    return lambda info: public_socket(info) if judged() else socket.socket(*info[:3])


async def refuse_private(url: str) -> None:
    """Refuse a URL whose host has a private address as far as this machine knows it: a proxy looks it up for itself.

    Raises
    ------
    Failure
    """
    host = urlsplit(url).hostname or ""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return
    if any(is_private(str(info[4][0])) for info in found):
        raise private_address(url)


def private_address(url: str) -> Failure:
    """The failure that a private address is."""
    return Failure(
        f"leads to a private address, `{shown(origin_only(url))}`; allow it with `--allow-private`", again=False
    )


def origin_only(url: str) -> str:
    """Scheme, host and port as they stand in the URL."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def redirected(url: str, location: str) -> str:
    """Where a redirect leads, without the credentials that it may name.

    Raises
    ------
    Failure
        Where that is no place to go.
    """
    try:
        target = led(url, location)
    except ValueError:
        raise Failure("redirects to something that is no URL", again=False) from None
    before, after = scheme(url), scheme(target)
    if after not in (before, "https"):
        plain = ", which is not encrypted" if after == "http" else ""
        raise Failure(f"redirects from {before} to another scheme, `{after[:20]}`{plain}", again=False)
    return target


def same_host(before: str, after: str) -> bool:
    """Whether a redirect stays with the host and port that were named, or goes on from plain HTTP to TLS there."""
    upgraded = re.sub(r"^http:(.*):80$", r"https:\1:443", origin(before))
    return origin(after) in (origin(before), upgraded)

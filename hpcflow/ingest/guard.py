"""What may be asked for: whom a redirect, or a list from elsewhere, may lead to.

A name is looked up once and connected to at the very addresses that were looked at, so that no
second answer of the name server can lead elsewhere (DNS rebinding).
"""

from __future__ import annotations

import ipaddress
import socket
from urllib.parse import urljoin, urlsplit

from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver

from hpcflow.ingest.failures import Failure
from hpcflow.ingest.urls import scheme, shown


def is_private(address: str) -> bool:
    """Whether an IP address is not one of the public internet: loopback, local networks, metadata services."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        # IPv4 within IPv6: mapped, 6to4, and NAT64.
        inner = ip.ipv4_mapped or ip.sixtofour
        if inner is None and ip in ipaddress.ip_network("64:ff9b::/96"):
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if inner is not None:
            return is_private(str(inner))
    return not ip.is_global or ip.is_multicast


class PrivateAddress(OSError):
    """A name leads to an address that is not allowed."""


class PublicResolver(AbstractResolver):
    """Looks names up, and knows only public addresses, but for one host that the user named."""

    def __init__(self, trusted: str | None = None) -> None:
        self._trusted = trusted
        self._names = ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """The addresses of a name.

        Raises
        ------
        PrivateAddress
            Where one of them is private.
        """
        found = await self._names.resolve(host, port, family)
        if host != self._trusted and any(is_private(one["host"]) for one in found):
            raise PrivateAddress(f"{host} has a private address")
        return found

    async def close(self) -> None:
        """Nothing is open."""


def refuse_literal(url: str) -> None:
    """Refuse a URL that names a private address by its number; names are looked at when they are resolved."""
    try:
        private = is_private(urlsplit(url).hostname or "")
    except ValueError:
        return
    if private:
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
        parts = urlsplit(urljoin(url, location))
        target = parts._replace(netloc=parts.netloc.rpartition("@")[2], fragment="").geturl()
        valid = bool(parts.hostname) or parts.port is not None
    except ValueError:
        valid, target = False, location
    if scheme(target) != scheme(url):
        found = scheme(target) or "nothing"
        hint = f"; list it as `{shown(target)}`" if scheme(target) == "https" else ""
        raise Failure(f"redirects from {scheme(url)} to another scheme, `{found}`{hint}", again=False)
    if not valid:
        raise Failure("redirects to something that is no URL", again=False)
    return target

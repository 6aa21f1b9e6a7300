"""Proxies, as `HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY` name them, in capitals or not."""

from __future__ import annotations

from urllib.parse import urlsplit
from urllib.request import getproxies_environment, proxy_bypass_environment  # type: ignore[attr-defined]

from yarl import URL

from hpcflow.errors import Mismatch
from hpcflow.ingest.urls import WEB, scheme


class Proxies:
    """Those of the environment."""

    def __init__(self) -> None:
        self._texts = getproxies_environment()
        self._known = {name: _proxy(name, text) for name, text in self._texts.items() if name in (*WEB, "all") and text}

    def of(self, url: str) -> URL | None:
        """The proxy through which a web URL is asked for, if any."""
        if not self._known:
            return None
        found = self._known.get(scheme(url)) or self._known.get("all")
        return None if found is None or proxy_bypass_environment(urlsplit(url).netloc, self._texts) else found


def _proxy(name: str, text: str) -> URL:
    """Where a proxy is; raises `Mismatch` where it is of a kind that is not spoken to."""
    try:
        found = URL(text if "://" in text else f"http://{text}")
    except ValueError:
        found = URL()
    if found.scheme not in WEB or not found.host:
        raise Mismatch(
            f"expected `{name.upper()}_PROXY` to be `http://HOST:PORT`, found the scheme `{found.scheme}`",
            hint="SOCKS is not spoken; unset it, or list the hosts that need none in `NO_PROXY`",
        )
    return found

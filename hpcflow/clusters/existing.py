"""Workers that are there already: a scheduler's address, and the certificates that open it.

Whoever can reach a scheduler can run code as the user who started it. So one beyond this machine
is spoken to over TLS, or the profile says `insecure: true`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import dask
from distributed import Client, Security

from hpcflow.clusters._dashboard import loopback
from hpcflow.clusters._dask import CONFIG, DaskPool, Settle, known, pool_of, started
from hpcflow.clusters.profiles import Profile
from hpcflow.errors import Mismatch, RunError
from hpcflow.files import regular_file

FILES = ("tls_ca_file", "tls_client_cert", "tls_client_key")
REACH = 10.0
"""Seconds for the scheduler to answer."""
WAIT = 30.0
"""Seconds for the first worker to come."""


@contextmanager
def existing(profile: Profile) -> Iterator[DaskPool]:
    """Join a scheduler; its workers stay when the run is over."""
    options = client_options(profile)
    with (
        dask.config.set(CONFIG),
        started(profile, Client, {"set_as_default": False, "timeout": REACH, **options}) as client,
    ):
        pool = pool_of(profile, client, client.dashboard_link if profile.dashboard is not False else None)
        try:
            yield known(pool, _workers(profile, client))
        finally:
            for name in (*pool.plugins, Settle.name):
                client.unregister_worker_plugin(name)


def client_options(profile: Profile) -> dict[str, Any]:
    """What Dask's `Client` gets.

    Raises
    ------
    Mismatch
        Where there is no address, or one that the profile does not make safe.
    """
    options = dict(profile.options)
    address = str(options.get("address") or "")
    url = urlsplit(address if "://" in address else f"tcp://{address}")
    if not url.hostname:
        raise _wrong(f"expected `options: {{address: tls://HOST:8786}}`, found {address or 'no address'}")
    security = _security(options.pop("security", None))
    encrypted = url.scheme in ("tls", "wss", "ucxs")
    if encrypted:
        for name in FILES:
            expect_readable(name, getattr(security, name))
    elif not (loopback(url.hostname) or profile.insecure):
        hint = "give it certificates (docs/clusters.md), or say `insecure: true` in the profile of a private network"
        raise _wrong(f"expected a scheduler beyond this machine to be spoken to over TLS, found `{address}`", hint)
    return {**options, **({"security": security} if encrypted else {})}


def _security(given: Mapping[str, Any] | None) -> Security:
    # What is not given comes from Dask's own configuration.
    said = {key: value for key, value in (given or {}).items() if value is not None}
    files = {key: os.path.expanduser(value) for key, value in said.items() if key in FILES}  # noqa: PTH111  (a text)
    try:
        return Security(**{"require_encryption": True, **said, **files})
    except (TypeError, ValueError) as error:
        raise _wrong(f"expected `security` to hold what Dask's Security takes: {error}") from None


def expect_readable(name: str, path: str | None) -> None:
    """Refuse a certificate or key that is not given, or cannot be read."""
    if not path:
        hint = "`security: {tls_ca_file: ca.pem, tls_client_cert: cert.pem, tls_client_key: key.pem}` below `options`"
        raise _wrong(f"expected `{name}` for a scheduler over TLS, found none", hint)
    if "\n" in path:
        return  # the certificate itself
    try:
        os.close(regular_file(path))
    except OSError as error:
        raise _wrong(f"expected `{name}` to be a file that can be read, found `{path}`: {error.strerror}") from None


def _wrong(message: str, hint: str = "") -> Mismatch:
    return Mismatch(message, parameter="cluster", hint=hint)


def _workers(profile: Profile, client: Client) -> int:
    """How many workers there are; each must run as many tasks at once as was planned for, or fewer."""
    try:
        client.wait_for_workers(1, timeout=WAIT)
    except TimeoutError:
        raise RunError(f"the scheduler at {client.scheduler.address} has no workers; start some") from None
    workers = client.scheduler_info(n_workers=-1)["workers"]
    most = max(worker["nthreads"] for worker in workers.values())
    if most > profile.threads:
        hint = f"say `threads: {most}` in the profile, so that the plan counts the memory of as many tasks"
        raise _wrong(f"expected workers of at most {profile.threads} threads, found {most}", hint)
    return len(workers)

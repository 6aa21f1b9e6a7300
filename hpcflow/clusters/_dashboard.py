"""The dashboard of a run: where it listens, and what it shows.

It has those of Dask's pages that show what happens, and can do nothing. Dask loads this module
into a run's scheduler (`distributed.scheduler.preload`). Its own dashboard has more: pages that
ask the workers for what they are at, that show what a task raised, that ask another server.
Whoever else is on the machine can open a page on loopback.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from getpass import getuser
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

import dask
from tornado.ioloop import IOLoop
from tornado.web import RedirectHandler

from hpcflow.clusters.profiles import Profile
from hpcflow.errors import Mismatch

LOOPBACK = "127.0.0.1"
PORT = 8787
PAGES = ("status", "workers", "tasks", "system", "groups")
"""None of them has a callback on the server."""
WANTED = "hpcflow.dashboard"
"""The key of Dask's configuration that says whether there is to be one."""


def dask_setup(scheduler: Any) -> None:
    """Put the pages on the scheduler's HTTP server, or stop that where none is wanted."""
    if not dask.config.get(WANTED, default=False):
        scheduler.http_server.stop()
        return
    from distributed.dashboard.core import BokehApplication  # noqa: PLC0415  (takes half a second)
    from distributed.dashboard.scheduler import applications  # noqa: PLC0415
    from distributed.diagnostics.nvml import device_get_count  # noqa: PLC0415

    names = (*PAGES, "gpu") if device_get_count() else PAGES
    shown = {f"/{page}": applications[f"/{page}"] for page in names}
    # A browser says which page a script came from: those of other sites are not let in.
    hosts = {"localhost", "127.0.0.1", scheduler.http_server.address, socket.gethostname(), socket.getfqdn()}
    origins = [f"{host}:{scheduler.http_server.port}" for host in sorted(hosts) if ":" not in host]
    with dask.config.set({"distributed.scheduler.dashboard.bokeh-application.allow_websocket_origin": origins}):
        pages = BokehApplication(shown, scheduler, template_variables={"pages": names, "plots": [], "jupyter": False})
    scheduler.http_application.add_application(pages)
    pages.initialize(IOLoop.current())
    pages.add_handlers(".*", [("/", RedirectHandler, {"url": f"/{PAGES[0]}"})])
    pages.start()


def tunnel(link: str, environment: Mapping[str, str] = os.environ) -> str | None:
    """The command that brings a dashboard home, for whoever sits before another machine.

    Parameters
    ----------
    link : str
        The dashboard's address.
    environment : mapping
        Of this process: whether it was started over SSH, or by Slurm.

    Returns
    -------
    str or None
        `None` where the link opens as it is.
    """
    host, port = urlsplit(link).hostname or LOOPBACK, urlsplit(link).port or 80
    if loopback(host):
        if not {"SSH_CONNECTION", "SLURM_JOB_ID"} & environment.keys():
            return None
        return f"ssh -N -L {port}:{host}:{port} {getuser()}@{socket.getfqdn()}"
    return f"ssh -N -L {port}:{LOOPBACK}:{port} {getuser()}@{host}"


def loopback(host: str) -> bool:
    """Whether a host's name or address is this machine itself."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def dashboard(profile: Profile) -> str | None:
    """Where Dask's dashboard is to listen on this machine; `None` for none."""
    wanted = profile.dashboard
    if wanted is False:
        return None
    if wanted is None or wanted is True:
        return f"{LOOPBACK}:{PORT if free(LOOPBACK, PORT) else 0}"
    host, _, port = wanted.rpartition(":")
    if not port.isdecimal() or int(port) > 65535:
        raise Mismatch(f"expected HOST:PORT or a port, found {wanted!r}", parameter="dashboard")
    # Dask takes an address without a host as all interfaces.
    host = host or LOOPBACK
    if not free(host, int(port)):
        raise Mismatch(f"expected an address that is free, found {host}:{port} in use", parameter="dashboard")
    return f"{host}:{port}"


def free(host: str, port: int) -> bool:
    """Whether a server could listen there now."""
    with socket.socket() as probe:
        # As the server will: an old connection that lingers does not take the port.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def watched(address: str | None) -> dict[str, Any]:
    """What a scheduler gets for its dashboard to be ours, at an address, or to be none."""
    return {"dashboard": False, "dashboard_address": address or f"{LOOPBACK}:0"}

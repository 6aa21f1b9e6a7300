"""What another user of the machine can never bring about, nor learn."""

import http.client
import json
import os
import stat
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest
from bokeh.client import pull_session
from bokeh.models import ColumnDataSource
from distributed import LocalCluster
from tornado.httpclient import HTTPClientError, HTTPRequest
from tornado.ioloop import IOLoop
from tornado.websocket import websocket_connect

from hpcflow.clusters import _dashboard
from hpcflow.clusters.profiles import Profile, open_pool

ROOT = Path(__file__).parents[2]
STRANGER = Path(__file__).parent / "stranger.py"
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


def listeners():
    """Where the processes of this family listen: address of each, by process."""
    family = [psutil.Process(), *psutil.Process().children(recursive=True)]
    found = [
        (one.pid, c.laddr) for one in family for c in one.net_connections("inet") if c.status == psutil.CONN_LISTEN
    ]
    return {f"{address.ip}:{address.port}": pid for pid, address in found}


@contextmanager
def a_run(**options):
    """The pool of a run, and where it listens; what listened before is left out."""
    before = listeners()
    with open_pool(Profile("local", 2, 1, **options)) as pool:
        assert pool.submit("abs-0", abs, -1).result(30) == 1
        yield pool, {place: pid for place, pid in listeners().items() if place not in before}


@pytest.fixture(scope="module")
def run():
    """The pool of a run with its dashboard."""
    with open_pool(Profile("local", 1, 1)) as pool:
        yield pool


def attacked(canary, *places):
    """What a stranger was answered at each place."""
    done = subprocess.run(
        [sys.executable, str(STRANGER), str(canary), *places], capture_output=True, text=True, timeout=250, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_another_user_gets_nothing_from_scheduler_workers_and_nannies(tmp_path):
    canary = tmp_path / "canary"
    with a_run(dashboard=False) as (pool, places):
        # The scheduler, two nannies and two workers; nothing else listens.
        assert len(places) == 5
        told = pool.client.scheduler_info(n_workers=-1)
        workers = told["workers"].values()
        known = {told["address"], *told["workers"], *(one["nanny"] for one in workers)}
        assert {f"tls://{place}" for place in places} == known
        assert attacked(canary, *places) == {place: {} for place in places}
        assert pool.submit("abs-1", abs, -1).result(30) == 1
    assert not canary.exists()


def test_the_same_attack_opens_a_cluster_that_is_not_closed(tmp_path):
    canary = tmp_path / "canary"
    with LocalCluster(n_workers=1, threads_per_worker=1, host="127.0.0.1", dashboard_address="127.0.0.1:0") as cluster:
        place = cluster.scheduler_address.removeprefix("tcp://")
        got = attacked(canary, place)[place]
    assert "tcp identity" in got
    assert canary.exists()


def test_keys_stand_in_no_file_no_argument_and_no_environment(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with a_run() as (_, places):
        shown = [
            Path(f"/proc/{pid}/{name}").read_bytes() for pid in set(places.values()) for name in ("cmdline", "environ")
        ]
        written = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
        folders = [path for path in tmp_path.iterdir() if path.is_dir()]
        assert folders
        assert {stat.S_IMODE(path.stat().st_mode) for path in folders} == {0o700}
    assert not [one for one in (*shown, *written) if b"PRIVATE KEY" in one or b"BEGIN CERTIFICATE" in one]
    assert not list(tmp_path.iterdir())


def where_modules_come_from():
    return list(sys.path)


def test_a_folder_that_another_user_has_made_is_not_worked_in(tmp_path, monkeypatch):
    # Dask puts the folder its servers work in first on sys.path.
    planted = tmp_path / "dask-scratch-space"
    planted.mkdir()
    planted.chmod(0o777)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    for options in ({}, {"local_directory": str(tmp_path)}):
        with a_run(options=options, dashboard=False) as (pool, _):
            paths = [*sys.path, *pool.submit("where-0", where_modules_come_from).result(30)]
        assert not [path for path in paths if Path(path).is_relative_to(planted)]
    assert not list(planted.iterdir())


def test_modules_planted_in_the_working_folder_are_not_imported(tmp_path):
    canary, shared = tmp_path / "canary", tmp_path / "shared"
    shared.mkdir()
    for name in ("multiprocessing", "random", "hpcflow", "numpy"):
        (shared / f"{name}.py").write_text(f"open({str(canary)!r}, 'a').write({name!r})\n")
    (shared / "flow.yaml").write_text(
        "flow: sum\nsources: {x: {from: full, shape: [8, 8], value: 1}}\n"
        "steps: {y: {op: sum, of: x}}\nsinks: {y: {to: json, of: y, path: y.json}}\n"
    )
    # As the installed command `hpcflow` starts; `python -m` itself imports from the working folder.
    command = tmp_path / "hpcflow"
    command.write_text("from hpcflow.cli import main\n\nif __name__ == '__main__':\n    main()\n")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    run = [sys.executable, str(command), "run", "flow.yaml", "--workers", "1", "--no-dashboard"]
    done = subprocess.run(run, cwd=shared, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert not canary.exists()


def routes(router):
    """Every path of a router and those below it, with what answers there."""
    rules = [*router.rules]
    for rule in rules:
        if hasattr(rule.target, "rules"):
            yield from routes(rule.target)
        else:
            yield rule.matcher.regex.pattern, rule.target


def asked(link, method, path):
    """The status of a request."""
    connection = http.client.HTTPConnection(urlsplit(link).netloc, timeout=30)
    connection.request(method, path)
    status = connection.getresponse().status
    connection.close()
    return status


def test_the_dashboard_has_no_route_that_does_anything(run):
    scheduler, link = run.client.cluster.scheduler, run.info.dashboard
    main = scheduler.http_application
    found = [
        one
        for app in (main, *main.applications)
        for r in (app.default_router, app.wildcard_router)
        for one in routes(r)
    ]
    tops = {pattern.strip("/^$?").split("/")[0] for pattern, target in found if isinstance(target, type)}
    assert tops == {*_dashboard.PAGES, "health", "statics", "static", "sitemap.json", "favicon.ico", ""}
    for pattern, target in found:
        if isinstance(target, type):
            path = "/" + pattern.strip("/^$?").replace("(.*)", "x").replace("(?P<path>.*)", "x")
            for method in ("POST", "PUT", "PATCH", "DELETE"):
                assert asked(link, method, path) in (404, 405), (method, path)


DASKS_OWN = """
/api/v1 /api/v1/retire_workers /api/v1/get_workers /api/v1/adaptive_target /json/counts.json /json/identity.json
/info /info/main/workers.html /info/main/exceptions.html /info/main/logs.html /info/call-stacks/x.html
/info/task/x.html /individual-plots.json /eventstream /metrics /proxy/1/127.0.0.1/status /profile /profile-server
/profile/ws /exceptions /events /graph /individual-profile /individual-profile-server /jupyter/api/shutdown
"""


def test_pages_of_dask_that_ask_or_tell_more_are_not_there(run):
    for path in DASKS_OWN.split():
        for method in METHODS:
            assert asked(run.info.dashboard, method, path) in (404, 405), (method, path)
    assert {asked(run.info.dashboard, "GET", f"/{page}") for page in _dashboard.PAGES} == {200}


@pytest.mark.filterwarnings("ignore:There is no current event loop:DeprecationWarning")  # Bokeh's client
def test_the_dashboard_shows_each_stage_by_its_steps_and_takes_no_order(run):
    with pull_session(url=run.info.dashboard) as session:
        until = time.monotonic() + 30
        while not any("smooth" in data.get("name", ()) for data in shown(session.document)):
            assert time.monotonic() < until
            run.submit(f"smooth-{time.monotonic_ns()}", time.sleep, 0.1).result(30)
            session.pull()
    pages = run.client.cluster.scheduler.http_application.applications[0]
    for page in _dashboard.PAGES:
        document = pages._applications[f"/{page}"].application.create_document()
        heard = [one for model in document.models for one in (model._callbacks, model._event_callbacks)]
        assert not [one for by_name in heard for callbacks in by_name.values() for one in _on_the_server(callbacks)]


def shown(document):
    """The data of a page's charts."""
    return [model.data for model in document.models if isinstance(model, ColumnDataSource)]


def _on_the_server(callbacks):
    """Those that a message from the browser would call, beside Bokeh's own bookkeeping."""
    return [one for one in callbacks if "distributed" in str(getattr(one, "__module__", ""))]


@pytest.mark.filterwarnings("ignore:There is no current event loop:DeprecationWarning")  # Bokeh's client
@pytest.mark.parametrize(("origin", "let_in"), [("http://evil.example", False), ("http://127.0.0.1:{}", True)])
def test_a_page_of_another_site_may_not_look(run, origin, let_in):
    link = urlsplit(run.info.dashboard)
    session = pull_session(url=run.info.dashboard)
    headers = {"Origin": origin.format(link.port), "Sec-WebSocket-Protocol": f"bokeh, {session.token}"}
    session.close()
    request = HTTPRequest(f"ws://{link.netloc}/status/ws", headers=headers)

    async def knock():
        connection = await websocket_connect(request)
        connection.close()

    loop = IOLoop(make_current=False)
    try:
        if let_in:
            loop.run_sync(knock)
        else:
            with pytest.raises(HTTPClientError, match="403"):
                loop.run_sync(knock)
    finally:
        loop.close()


@pytest.mark.parametrize("kind", ["threads", "synchronous"])
def test_without_processes_nothing_listens(kind):
    before = listeners()
    with open_pool(Profile(kind, 1, 1)) as pool:
        assert pool.submit("abs-0", abs, -1).result(30) == 1
        assert listeners() == before

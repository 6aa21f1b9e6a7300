"""What every test starts from."""

import psutil
import pytest

from hpcflow import api, secrets
from hpcflow.execute.watch import MemoryWatch
from hpcflow.planning import processes
from hpcflow.report.record import versions

USUAL = 100 * 2**20
"""Bytes of a driver."""


def pytest_report_header():
    """What was tested with what."""
    return "packages: " + ", ".join(f"{name} {number}" for name, number in versions().items())


@pytest.fixture(autouse=True)
def nothing_revealed(monkeypatch):
    """Credentials that one test reveals are no secrets of the next."""
    monkeypatch.setattr(secrets, "_revealed", {})


@pytest.fixture(scope="module")
def own_cache(tmp_path_factory):
    """A cache folder of a test file's own: nothing is compiled or exported before its first test."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(autouse=True)
def driver_of_usual_size(monkeypatch):
    """Plan and watch as for a driver of the usual size: the process of a long test session is none."""
    beyond = max(psutil.Process().memory_info().rss - USUAL, 0)

    class Watch(MemoryWatch):
        def __init__(self, *args, limit=None, **more):
            super().__init__(*args, limit=limit and limit + beyond, **more)

    monkeypatch.setattr(processes, "_own", lambda driver: driver)
    monkeypatch.setattr(api, "MemoryWatch", Watch)

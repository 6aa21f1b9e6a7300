"""What every test starts from."""

import pytest

from hpcflow import secrets
from hpcflow.planning import processes


@pytest.fixture(autouse=True)
def nothing_revealed(monkeypatch):
    """Credentials that one test reveals are no secrets of the next."""
    monkeypatch.setattr(secrets, "_revealed", {})


@pytest.fixture(autouse=True)
def driver_of_usual_size(monkeypatch):
    """Plan as for a driver of the usual size: the process of a long test session is none."""
    monkeypatch.setattr(processes, "_own", lambda driver: driver * processes.MIB)

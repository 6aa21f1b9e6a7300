"""What the fault tests share: their seed, a clean run to hold others against, and a place for figures."""

import json
import os
import random
import signal
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from harness import ADDON, FULL, Case

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as for a background job, which its processes would inherit
    signal.signal(signal.SIGINT, signal.default_int_handler)

SEED = int(os.environ.get("HPCFLOW_SEED", random.SystemRandom().randrange(2**32)))


def pytest_report_header():
    """Say which faults these will be."""
    return f"faults: {'full' if FULL else 'quick'} profile, HPCFLOW_SEED={SEED}"


@pytest.fixture
def rng(request):
    """Random numbers that the printed seed gives again."""
    print(f"HPCFLOW_SEED={SEED}")
    return random.Random(f"{SEED} {request.node.nodeid}")


@pytest.fixture
def figures(request):
    """Notes what was measured: printed, and one line of JSON where HPCFLOW_FAULT_LOG says."""

    def note(**values):
        line = {"test": request.node.name, "seed": SEED, **values}
        print(line)
        if path := os.environ.get("HPCFLOW_FAULT_LOG"):
            with Path(path).open("a") as file:
                file.write(json.dumps(line) + "\n")

    return note


@pytest.fixture
def case(tmp_path):
    """Makes cases, and ends whatever they leave running."""
    made = []

    def make(name="case", **options):
        made.append(Case(tmp_path / name, **options))
        return made[-1]

    yield make
    for one in made:
        one.kill()


@pytest.fixture(scope="session")
def clean(tmp_path_factory):
    """A run that nothing happened to: its outputs, and the seconds it took."""
    one = Case(tmp_path_factory.mktemp("clean") / "case")
    assert one.run() == 0, one.log
    return one


@pytest.fixture
def addon(monkeypatch):
    """Let this process know the op that makes trouble."""
    monkeypatch.syspath_prepend(str(ADDON))

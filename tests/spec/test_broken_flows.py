"""Every flow in `tests/broken` says exactly what stands beside it; adding a check means adding a pair."""

from pathlib import Path

import pytest
from snapshots import said

BROKEN = Path(__file__).parent.parent / "broken"
FLOWS = sorted(BROKEN.glob("*.yaml"))


@pytest.mark.timeout(10)
@pytest.mark.parametrize("path", FLOWS, ids=lambda path: path.stem)
def test_message(path, monkeypatch):
    monkeypatch.chdir(BROKEN)
    monkeypatch.delenv("HPCFLOW_UNSET", raising=False)
    assert said(path) + "\n" == path.with_suffix(".txt").read_text(encoding="utf-8")


def test_each_pair_is_whole():
    assert len(FLOWS) > 100
    assert {path.stem for path in FLOWS} == {path.stem for path in BROKEN.glob("*.txt")}

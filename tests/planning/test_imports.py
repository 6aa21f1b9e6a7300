"""What imports hold is measured on this machine, once, and again when a package changes."""

import sys

import pytest

from hpcflow.planning import imports
from hpcflow.planning.imports import MIB, measured
from hpcflow.planning.processes import DRIVER, WORKER


@pytest.fixture
def hog(tmp_path, monkeypatch):
    """A package that holds 100 MiB once it is imported."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.syspath_prepend(tmp_path)
    imports._version.cache_clear()
    file = tmp_path / "hog_of_memory.py"
    file.write_text("held = bytearray(100 * 2**20)\n")
    return file


def test_a_package_that_holds_much_is_known_to(hog, monkeypatch):
    name = (hog.stem,)
    assert 98 * MIB <= measured((), [name])[name] <= 108 * MIB
    with monkeypatch.context() as patch:
        patch.setattr(imports.subprocess, "run", lambda *_, **__: pytest.fail("measured twice"))
        imports._measured.cache_clear()
        assert measured((), [name])[name] >= 98 * MIB
    hog.write_text("held = bytearray(40 * 2**20)  # less\n")
    imports._version.cache_clear()
    imports._measured.cache_clear()
    assert 38 * MIB <= measured((), [name])[name] <= 48 * MIB


def test_a_package_that_is_not_there_holds_nothing(hog):
    assert measured((), [("no_such_package",)])["no_such_package",] <= imports.ROUND


def test_without_a_process_to_ask_a_table_with_a_margin_is_taken(hog, monkeypatch):
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    imports._measured.cache_clear()
    assert measured([DRIVER, WORKER], [("torch",)]) == {DRIVER: None, WORKER: None, ("torch",): int(1.25 * 540 * MIB)}
    imports._measured.cache_clear()

"""Credentials stay references."""

import pytest

from hpcflow.errors import Mismatch
from hpcflow.secrets import redact, references, reveal


def test_reveal(monkeypatch):
    monkeypatch.setenv("HPCFLOW_TEST_KEY", "hunter2/é+x")
    options = {"key": "${env:HPCFLOW_TEST_KEY}", "list": ["a-${env:HPCFLOW_TEST_KEY}"], "n": 3}
    assert references(options) == {"HPCFLOW_TEST_KEY"}
    assert reveal(options) == {"key": "hunter2/é+x", "list": ["a-hunter2/é+x"], "n": 3}
    shown = redact("no access with hunter2/é+x or hunter2%2F%C3%A9%2Bx or hunter2/%C3%A9%2Bx")
    assert "hunter2" not in shown
    assert shown.count("${env:HPCFLOW_TEST_KEY}") == 3


def test_a_missing_variable(monkeypatch):
    monkeypatch.delenv("HPCFLOW_TEST_KEY", raising=False)
    with pytest.raises(Mismatch, match="`HPCFLOW_TEST_KEY` to be set"):
        reveal("${env:HPCFLOW_TEST_KEY}")


def test_what_holds_no_reference_stays():
    assert reveal({"a": (1, None, "${name}")}) == {"a": (1, None, "${name}")}
    assert references(3) == set()


def test_passwords_within_urls_are_struck_out():
    assert (
        redact("no `https://me:pass@word.org/x` or s3://key@bucket") == "no `https://***@word.org/x` or s3://***@bucket"
    )
    assert redact("http://me:${env:WORD}@host/") == "http://me:${env:WORD}@host/"
    assert redact("mail me@host.org") == "mail me@host.org"

"""`hpcflow fetch` as a user runs it."""

import errno
import json

import pyarrow.parquet as pq
import pytest
from faulty import SIZE, Faulty, serving
from typer.testing import CliRunner

from hpcflow.cli import app


@pytest.fixture
def server():
    with serving(Faulty()) as one:
        yield one


@pytest.fixture
def fetch(tmp_path):
    def run(*arguments):
        return CliRunner().invoke(app, ["fetch", *map(str, arguments), "--cache", str(tmp_path / "cache")])

    return run


@pytest.fixture
def urls(tmp_path, server):
    path = tmp_path / "list.txt"
    kinds = ["ok/1.bin", "missing/2.bin", "ok/3.bin", "twice/4.bin"]
    path.write_text("# three that are there\n\n" + "\n".join(map(server.url, kinds)))
    return path


@pytest.mark.parametrize(("allowed", "code"), [("0", 1), ("1", 3), ("10%", 1), ("25%", 3), ("1.0", 3)])
def test_the_exit_code_says_whether_the_losses_were_allowed(fetch, urls, tmp_path, allowed, code):
    result = fetch(urls, "--to", tmp_path / "out", "--max-bad", allowed)
    assert result.exit_code == code
    assert result.stdout == f"{tmp_path / 'out' / 'manifest.parquet'}\n"
    assert "4 items: 3 fetched, 0 there already, 1 failed" in result.stderr
    assert "missing/2.bin: answered 404 Not Found" in result.stderr
    assert f"hpcflow fetch --retry {tmp_path / 'out' / 'manifest.parquet'}" in result.stderr
    assert pq.read_metadata(tmp_path / "out" / "manifest.parquet").num_rows == 4


def test_json_is_one_document(fetch, urls, tmp_path, server):
    result = fetch(urls, "--to", tmp_path / "out", "--json", "-q")
    done = json.loads(result.stdout)
    assert (done["items"], done["ok"], done["failed"], done["bytes"]) == (4, 3, 1, 3 * SIZE)
    assert done["failures"] == [{"url": server.url("missing/2.bin"), "reason": "answered 404 Not Found"}]
    assert result.stderr == ""


def test_a_retry_needs_the_manifest_alone(fetch, urls, tmp_path, server):
    fetch(urls, "--to", tmp_path / "out")
    asked = server.asked.total()
    result = fetch("--retry", tmp_path / "out" / "manifest.parquet")
    assert (result.exit_code, server.asked.total() - asked) == (1, 1)
    assert "4 items: 3 fetched" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--to: expected a folder for the files, found none"),
        (["none.txt", "--to", "out"], "expected a list of URLs, found no file `none.txt`"),
        (["none.txt", "--to", "out", "--max-bytes", "lots"], "--max-bytes: expected a size such as 2GiB or 500MB"),
        (["--to", "out"], "expected a list of URLs, found none"),
        (["--retry", "none.parquet"], "--retry: expected the manifest of a fetch, found no `none.parquet`"),
    ],
)
def test_a_wrong_command_line_is_said_to_be_so(fetch, tmp_path, arguments, message, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = fetch(*arguments)
    assert result.exit_code == 2
    assert message in result.stderr
    assert "Traceback" not in result.stderr


def test_a_csv_without_urls_is_said_to_be_so(fetch, tmp_path):
    (tmp_path / "list.csv").write_text("a,b\n1,2\n")
    result = fetch(tmp_path / "list.csv", "--to", tmp_path / "out")
    assert result.exit_code == 2
    assert f"expected a column `url` in `{tmp_path / 'list.csv'}`, found `a`, `b`" in result.stderr
    assert not (tmp_path / "out").exists()


def test_a_disk_that_takes_no_more_is_named_and_the_fetch_taken_up(fetch, urls, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("hpcflow.ingest.manifest._write", full)
        result = fetch(urls, "--to", tmp_path / "out", "--max-bad", "1")
    assert result.exit_code == 1
    assert f"error: could not go on at `{tmp_path / 'out'}`: No space left on device\n  hint: run" in result.stderr
    assert fetch(urls, "--to", tmp_path / "out", "--max-bad", "1").exit_code == 3

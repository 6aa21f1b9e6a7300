"""Lists as other programs write them: every byte of a line counts, and a bad line is one loss."""

import codecs
import os
import socket

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from faulty import Faulty, serving
from typer.testing import CliRunner

import hpcflow
from hpcflow.cli import app
from hpcflow.errors import Mismatch
from hpcflow.ingest.lists import read_list

LINES = ["http://h/a b.jpg", "# no", "", "  http://h/caf\N{LATIN SMALL LETTER E WITH ACUTE}.jpg\t"]
URLS = [LINES[0], LINES[3].strip()]
MARKED = {"utf-8-sig": b"", "utf-16-le": codecs.BOM_UTF16_LE, "utf-16-be": codecs.BOM_UTF16_BE}
MARKED |= {"utf-32-le": codecs.BOM_UTF32_LE, "utf-32-be": codecs.BOM_UTF32_BE, "utf-8": b"", "latin-1": b""}


@pytest.fixture(scope="module")
def server():
    with serving(Faulty()) as one:
        yield one


def urls_of(path):
    return [item.url for item in read_list(str(path))]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("encoding", MARKED)
def test_texts_and_tables_in_any_usual_encoding(tmp_path, encoding, end):
    text = tmp_path / "list.txt"
    text.write_bytes(MARKED[encoding] + end.join(LINES).encode(encoding))
    table = tmp_path / "list.csv"
    table.write_bytes(
        MARKED[encoding] + end.join(["id,url", *(f"{i},{url}" for i, url in enumerate(URLS))]).encode(encoding)
    )
    expected = [URLS[0], "http://h/caf\udce9.jpg"] if encoding == "latin-1" else URLS
    assert urls_of(text) == expected
    assert urls_of(table) == expected


def test_bytes_that_are_no_utf_8_are_sent_as_they_are(tmp_path, server):
    line = server.url("ok/caf").encode() + b"\xe9 1.jpg"
    (tmp_path / "list.txt").write_bytes(line)
    (tmp_path / "list.csv").write_bytes(b"id,url\nz,%s" % line)
    column = pa.array([line]).cast(pa.binary()).view(pa.string())
    pq.write_table(pa.table({"url": column}), tmp_path / "list.parquet")
    for name in ("list.txt", "list.csv", "list.parquet"):
        cache, to = tmp_path / f"cache-{name}", tmp_path / f"out-{name}"
        done = hpcflow.fetch(tmp_path / name, to, cache=str(cache), retries=0)
        assert done.ok == 1, done.failures
        assert server.targets[-1] == "/ok/caf%E9%201.jpg"
        assert pq.read_table(done.manifest)["url"].to_pylist() == [server.url("ok/caf%E9 1.jpg")]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("http://h/a\nhttp://h/b\n".encode("utf-16-le"), "found a NUL in line 1 of `LIST`, at byte 1"),
        (b"http://h/a\nhttp://h/b\0\n", "found a NUL in line 2 of `LIST`, at byte 21"),
        ("http://h/a\n\0".encode("utf-16"), "found a NUL in line 2 of `LIST`, at byte 24"),
        ("http://h/a\nh".encode("utf-16")[:-1], "found what is no UTF-16 in line 2 of `LIST`, at byte 24"),
    ],
)
@pytest.mark.parametrize("name", ["list.txt", "list.csv"])
def test_what_is_no_text_is_refused_with_its_place(tmp_path, content, message, name):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(Mismatch) as found:
        urls_of(path)
    assert message.replace("LIST", str(path)) in str(found.value)


def odd(tmp_path):
    """Lines that lead nowhere, or to what is no file."""
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to("loop")
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(tmp_path / "socket"))
    lines = [
        "data:image/png;base64," + "A" * 400_000,
        "mailto:a@b",
        "nosuch://x/y",
        "gopher://h/x",
        "javascript:alert(1)",
    ]
    lines += ["x" * 5000, "http://h/" + "y" * 300_000, "http://[", "//h/x", "?", "file://", "http:/one/slash"]
    places = [tmp_path / "file" / "below", tmp_path / "loop", tmp_path / "pipe", tmp_path / "socket", "/dev/zero", "."]
    return lines + [str(place) for place in places] + [f"file://{place}" for place in places]


@pytest.mark.parametrize("name", ["list.txt", "list.csv"])
def test_lines_that_lead_nowhere_are_losses_of_their_own(tmp_path, server, name):
    lines = odd(tmp_path)
    good = [server.url(f"ok/{i}.bin") for i in range(len(lines))]
    (tmp_path / name).write_text("\n".join(["url"] * (name == "list.csv") + good + lines))
    command = ["fetch", tmp_path / name, "--to", tmp_path / "out", "--cache", tmp_path / "cache", "--retries", 0]
    result = CliRunner().invoke(app, [str(one) for one in [*command, "--max-bad", "50%", "--timeout", 5]])
    assert result.exit_code == 3, result.stderr
    assert max(map(len, result.stderr.splitlines())) < 500
    rows = pq.read_table(tmp_path / "out" / "manifest.parquet").to_pylist()
    assert [row["status"] for row in rows] == ["ok"] * len(good) + ["failed"] * len(lines)
    assert all(row["reason"] for row in rows[len(good) :])
    assert (tmp_path / "out" / "manifest.parquet").stat().st_size < 2**19


def test_a_source_of_files_sets_such_lines_apart(tmp_path, server):
    lines = [one for one in odd(tmp_path) if not one.startswith("http://[")]
    (tmp_path / "list.txt").write_text("\n".join([server.url("ok/1.bin"), *lines]))
    flow = f"""
    flow: counted
    sources:
      files:
        from: remote
        path: "{tmp_path}/list.txt"
        content: counts
        fetch: {{cache: "{tmp_path}/cache", retries: 0, timeout: 5}}
    sinks:
      files: {{to: npy, of: files, path: {tmp_path}/files.npy}}
    """
    (tmp_path / "flow.yaml").write_text(flow)
    report = hpcflow.run(tmp_path / "flow.yaml", cluster="synchronous", dashboard=False, max_bad=len(lines))
    assert report.exit_code == 3
    assert len(report.quarantine) == len(lines)
    assert np.load(tmp_path / "files.npy")[0].sum() == 20_000

"""Lists into folders, against a server that misbehaves."""

import asyncio
import hashlib
import os
import random
import subprocess
import sys
import time

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from aiohttp import web
from faulty import SIZE, Faulty, body_of, serving

from hpcflow.errors import Mismatch, RunError
from hpcflow.ingest import fetch
from hpcflow.ingest.manifest import Folder
from hpcflow.ingest.urls import key


@pytest.fixture(scope="module")
def server():
    with serving(Faulty()) as one:
        yield one


@pytest.fixture
def get(tmp_path):
    def run(urls, to="out", **options):
        given = {"cache": str(tmp_path / "cache"), "timeout": 3, "retries": 3, **options}
        done = fetch(urls, tmp_path / to, **given)
        return done, pq.read_table(done.manifest).to_pylist()

    return run


def one(get, server, path, **options):
    done, (row,) = get([server.url(path)], **options)
    assert done.items == 1
    assert (row["status"] == "failed") == (row["path"] is None) == (row["reason"] is not None)
    return row


def content(tmp_path, row, to="out"):
    return (tmp_path / to / row["path"]).read_bytes()


GOOD = {
    "ok/a.bin": 1,
    "reset/a.bin": 2,
    "twice/a.bin": 3,
    "busy_429s/a.bin": 2,
    "busy_503s/a.bin": 2,
    "busy_429d/a.bin": 2,
    "busy_503d/a.bin": 2,
    "norange/a.bin": 2,
    "changed/a.bin": 2,
    "changed/lying.bin": 3,
    "gzipped/a.bin": 1,
}
BAD = {
    "long/a.bin": "broke off",
    "short/later.bin": "more came than the 19,900 bytes",
    "short/a.bin": "does not speak HTTP properly",
    "chunks/a.bin": "does not speak HTTP properly",
    "unfinished/a.bin": "chunked encoding is broken",
    "stall/a.bin": "stalled",
    "gzip-lies/a.bin": "gzip encoding is damaged",
    "gzip-torn/a.bin": "gzip encoding is damaged",
}
FINAL = {
    "missing/a.bin": "answered 404 Not Found",
    "page/a.bin": "expected a `.bin` file, found a web page",
    "page/honest.jpg": "expected a `.jpg` file, found a web page (`text/html",
    "bomb/a.bin": "larger than 1.0 MiB",
    "busy-long/a.bin": "asks for 86400 s without requests",
    "busy-long/ever.bin": "asks for 31622400 s without requests",
}


@pytest.mark.parametrize("path", GOOD)
def test_what_can_be_had_is_right(get, server, tmp_path, path):
    row = one(get, server, path)
    right = body_of(path)
    assert content(tmp_path, row) == right
    assert (row["status"], row["bytes"], row["tries"]) == ("ok", SIZE, GOOD[path])
    assert row["sha256"] == hashlib.sha256(right).hexdigest()
    assert server.asked[path] == GOOD[path]
    if path in server.closed:
        assert server.times[path][1] >= server.closed[path]


@pytest.mark.parametrize("path", BAD)
def test_what_never_comes_whole_is_tried_again_and_given_up(get, server, tmp_path, path):
    row = one(get, server, path, retries=1, timeout=2)
    assert (row["status"], row["tries"]) == ("failed", 2)
    assert BAD[path] in row["reason"]
    assert row["bytes"] is row["sha256"] is None
    assert sorted(one.name for one in (tmp_path / "out").iterdir()) == [".fetch", "manifest.parquet"]


@pytest.mark.parametrize("path", FINAL)
def test_what_will_not_change_is_not_tried_again(get, server, path):
    row = one(get, server, path, max_bytes="1MiB")
    assert (row["status"], row["tries"]) == ("failed", 1)
    assert FINAL[path] in row["reason"]


def test_a_try_has_a_deadline_of_its_own_however_steadily_bytes_come(get, server):
    begun = time.monotonic()
    row = one(get, server, "drip/fast.bin", retries=0, timeout=1)
    assert row["reason"] == "not done after 1 s"
    assert 0.9 < time.monotonic() - begun < 5  # all of it takes 9 s


def test_retry_after_closes_the_host_to_every_url(get):
    with serving(Faulty(delay=0.02)) as host:
        urls = [host.url(f"busy_503s/{i}.bin") for i in range(2)] + [host.url(f"ok/{i}.bin") for i in range(40)]
        done, _ = get(urls, concurrency=4)
        assert done.ok == 42
        first = host.times["busy_503s/0.bin"][0]
        asked = sorted(t for times in host.times.values() for t in times)
        # The others that were under way when the answer came are not to blame.
        assert [t for t in asked if first + 0.2 < t < first + 0.99] == []


def test_the_cap_of_a_host_holds_over_processes(tmp_path):
    code = (
        "import sys; from hpcflow.ingest import fetch; fetch(sys.argv[3:], sys.argv[1], cache=sys.argv[2], per_host=3)"
    )
    with serving(Faulty(delay=0.05)) as host:
        runs = [
            subprocess.Popen(
                [sys.executable, "-c", code, tmp_path / str(i), tmp_path / "cache"]
                + [host.url(f"ok/{i}-{j}.bin") for j in range(15)]
            )
            for i in range(3)
        ]
        assert [run.wait(60) for run in runs] == [0, 0, 0]
        assert host.asked.total() == 45
        assert 1 <= host.most_at_once <= 3


def test_a_second_run_fetches_only_what_is_missing(get, server, tmp_path):
    urls = [server.url(f"ok/second-{i}.bin") for i in range(6)]
    get(urls[:4])
    before = server.asked.total()
    (tmp_path / "out" / pq.read_table(tmp_path / "out" / "manifest.parquet")["path"][1].as_py()).write_bytes(b"x")
    done, rows = get(urls, cache=str(tmp_path / "another"))
    assert (done.ok, done.cached, done.bytes) == (3, 3, 3 * SIZE)
    assert server.asked.total() - before == 3
    assert [row["status"] for row in rows] == ["cached", "ok", "cached", "cached", "ok", "ok"]
    assert [row["url"] for row in rows] == urls
    assert all(content(tmp_path, row) == body_of(f"ok/second-{i}.bin") for i, row in enumerate(rows))


def test_another_folder_takes_from_the_cache_and_shares_nothing_with_it(get, server, tmp_path):
    url = [server.url("ok/shared.bin")]
    get(url, "one")
    _, (row,) = get(url, "two")
    assert (row["status"], row["tries"], server.asked["ok/shared.bin"]) == ("cached", 0, 1)
    (tmp_path / "one" / row["path"]).write_bytes(b"edited")
    assert content(tmp_path, row, "two") == body_of("ok/shared.bin")
    _, (again,) = get(url, "three")
    assert (again["status"], content(tmp_path, again, "three")) == ("ok", body_of("ok/shared.bin"))


def test_what_is_stale_is_asked_for_and_not_sent_again(get, server, tmp_path, monkeypatch):
    monkeypatch.setattr("hpcflow.ingest.cache.FRESH", 0.0)
    url = [server.url("ok/stale.bin")]
    get(url, "one")
    sent = server.sent["ok/stale.bin"]
    _, (row,) = get(url, "two")
    assert (row["status"], server.asked["ok/stale.bin"], server.sent["ok/stale.bin"]) == ("cached", 2, sent)


def test_the_cache_stays_within_its_limit(get, server, tmp_path):
    for start in range(0, 40, 10):
        get([server.url(f"ok/limit-{i}.bin") for i in range(start, start + 10)], f"out{start}", cache_size=5 * SIZE)
        kept = [one for one in (tmp_path / "cache" / "objects").rglob("*") if one.is_file()]
        assert 0 < sum(one.stat().st_size for one in kept) <= 5 * SIZE


@pytest.mark.parametrize("first", [0, 1, 2])
def test_breaks_cost_little_and_nothing_is_spliced(get, tmp_path, monkeypatch, first):
    monkeypatch.setattr("hpcflow.ingest.failures.BASE", 0.01)
    size = 4_000_000
    chance = random.Random(first)
    with serving(Faulty(size=size)) as host:
        path = "ok/large.bin"
        host.cuts[path] = sorted(chance.sample(range(1, size), 34))
        row = one(get, host, path, retries=40)
        assert content(tmp_path, row) == body_of(path, size)
        assert host.sent[path] - size <= 34 * 2**20
        assert host.sent[path] < 3 * size


def test_a_killed_fetch_is_taken_up_in_the_middle_of_a_file(get, tmp_path):
    size = 6_000_000
    with serving(Faulty(size=size)) as host:
        path = "ok/killed.bin"
        host.cuts[path] = [5_000_000]
        one(get, host, path, retries=0)
        row = one(get, host, path)
        assert content(tmp_path, row) == body_of(path, size)
        assert host.sent[path] - size <= 2**20
        assert "Range" in host.headers[path][1]


def test_an_encoded_body_is_never_taken_up_in_the_middle(get, server, tmp_path):
    one(get, server, "gzip-torn/b.bin", retries=2)
    assert all("Range" not in headers for headers in server.headers["gzip-torn/b.bin"])


def test_redirects(get, server):
    other = server.url("ok/target.bin", "localhost")
    path = f"to/x.bin?url={other}"
    assert "leads to a private address" in one(get, server, path)["reason"]
    assert server.asked["ok/target.bin"] == 0
    same = f"to/y.bin?url={server.url('ok/target.bin')}"
    assert one(get, server, same)["status"] == "ok"
    assert one(get, server, path, allow_private=True)["status"] == "ok"
    assert one(get, server, "loop/a.bin")["reason"] == "redirects more than 5 times"
    assert server.asked["loop/a.bin"] == 6
    for scheme in ("file:///etc/passwd", "ftp://127.0.0.1/x", "data:text/plain,x"):
        row = one(get, server, f"to/{scheme[:3]}?url={scheme}", allow_private=True)
        assert row["reason"].startswith(("redirects from http to another scheme", "redirects to something"))


def test_credentials_stay_with_their_origin_and_are_shown_nowhere(get, server, tmp_path, monkeypatch):
    monkeypatch.setenv("WORD", "s3cr3t")
    to = server.url("ok/landed.bin", "localhost")
    url = f"http://me:${{env:WORD}}@127.0.0.1:{server.port}/to/cred.bin?url={to}"
    literal = f"http://me:s3cr3t@127.0.0.1:{server.port}/missing/cred.bin?token=s3cr3t"
    _, rows = get([url, literal], allow_private=True)
    assert "Authorization" in server.headers["to/cred.bin"][0]
    assert "Authorization" not in server.headers["ok/landed.bin"][0]
    assert rows[0]["status"] == "ok"
    assert rows[0]["url"] == url
    for path in tmp_path.rglob("*"):
        if path.is_file():
            assert b"s3cr3t" not in path.read_bytes(), path
    assert rows[1]["url"] == f"http://***@127.0.0.1:{server.port}/missing/cred.bin?token=***"


def test_names_on_disk_come_from_hashes_and_harmless_ids(get, server, tmp_path):
    paths = ["ok/..%2f..%2fevil.sh", "ok/a.b%00c", "ok/n1.jpg", "ok/n2.jpg", "ok/n3.jpg", "ok/n4.JPG", "ok/n5.jpg"]
    ids = ["", "", "cat", "CAT", "../../up", "dog.jpg", "manifest.parquet"]
    (tmp_path / "list.csv").write_text(
        "id,url\n" + "".join(f"{i},{server.url(p)}\n" for i, p in zip(ids, paths, strict=True))
    )
    _, rows = get(str(tmp_path / "list.csv"))
    assert all(row["status"] == "ok" for row in rows)
    names = [row["path"] for row in rows]
    assert len({name.lower() for name in names}) == 7
    assert names[2] == "cat.jpg"
    assert names[5] == "dog.jpg"
    assert all("/" not in name and not name.startswith(".") for name in names)
    assert sorted([*names, "manifest.parquet", ".fetch"]) == sorted(one.name for one in (tmp_path / "out").iterdir())


def test_a_lists_checksums_are_held_against_what_comes(get, server, tmp_path):
    right = hashlib.sha256(body_of("ok/sum.bin")).hexdigest()
    table = pa.table({"URL": [server.url("ok/sum.bin"), server.url("ok/sum2.bin")], "sha256": [right.upper(), right]})
    pq.write_table(table, tmp_path / "list.parquet")
    done, rows = get(str(tmp_path / "list.parquet"), retries=1, max_bad=0.5, cache=str(tmp_path / "c1"))
    assert [row["status"] for row in rows] == ["ok", "failed"]
    assert rows[1]["tries"] == 2
    assert rows[1]["reason"].startswith("its SHA-256 is ")
    assert done.exit_code == 3
    (tmp_path / "bad.csv").write_text("url,sha256\nhttp://a/b,xyz\n")
    with pytest.raises(Mismatch, match="expected a SHA-256 of 64 hex digits"):
        get(str(tmp_path / "bad.csv"))


def test_only_what_failed_is_tried_again(get, server, tmp_path, monkeypatch):
    monkeypatch.setattr(server, "missing", server.missing, raising=False)
    urls = [server.url("ok/r1.bin"), server.url("missing/r2.bin"), server.url("ok/r3.bin")]
    done, before = get(urls)
    assert (done.exit_code, done.failures) == (1, ((urls[1], "answered 404 Not Found"),))
    monkeypatch.setattr(server, "missing", server.ok)
    asked = server.asked.total()
    again = fetch(retry=done.manifest, cache=str(tmp_path / "cache"))
    rows = pq.read_table(again.manifest).to_pylist()
    assert (again.exit_code, again.items, server.asked.total() - asked) == (0, 3, 1)
    assert [rows[0], rows[2]] == [before[0], before[2]]
    assert (rows[1]["status"], content(tmp_path, rows[1])) == ("ok", body_of("missing/r2.bin"))


@pytest.mark.parametrize("notes", [b'{"failed": {"0": ["../evil.bin", null]}}', b'{"failed": []}', b"{", b"1"])
def test_a_manifest_that_someone_else_has_made_leads_nowhere(get, server, tmp_path, notes):
    done, _ = get([server.url("missing/a.bin")])
    table = pq.read_table(done.manifest).replace_schema_metadata({b"hpcflow": notes})
    table = table.set_column(0, "url", pa.array([server.url("ok/evil.bin")]))
    pq.write_table(table, done.manifest)
    with pytest.raises(Mismatch, match="expected the manifest of a fetch, found something else"):
        fetch(retry=done.manifest, cache=str(tmp_path / "cache"))
    assert not server.asked["ok/evil.bin"]
    assert not list(tmp_path.rglob("evil*"))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_manifest_of_somebody_else_does_not_say_what_has_been_fetched(get, server, tmp_path):
    done, (row,) = get([server.url("ok/planted.bin")])
    (tmp_path / "out" / row["path"]).write_bytes(b"planted")
    table = pq.read_table(done.manifest)
    digest = pa.array([hashlib.sha256(b"planted").hexdigest()])
    pq.write_table(table.set_column(table.schema.get_field_index("sha256"), "sha256", digest), done.manifest)
    os.chown(done.manifest, 12345, 12345)
    again, (row,) = get([server.url("ok/planted.bin")], cache=str(tmp_path / "another"))
    assert (again.ok, content(tmp_path, row)) == (1, body_of("ok/planted.bin"))


def test_the_manifest_has_these_columns(get, server):
    done, _ = get([server.url("ok/columns.bin")])
    schema = pq.read_schema(done.manifest)
    assert schema.names == ["url", "path", "status", "bytes", "sha256", "tries", "seconds", "reason"]


def test_a_list_from_elsewhere_may_name_its_own_host_alone(get, tmp_path, monkeypatch):
    with serving(Faulty()) as host, serving(Faulty()) as other:
        lines = [host.url("ok/mine.bin"), other.url("ok/other.bin"), "file:///etc/hostname", "memory://x"]
        host.bodies["ok/list.txt"] = "\n".join(lines).encode()
        _, rows = get(host.url("ok/list.txt"))
        assert [row["status"] for row in rows] == ["ok", "failed", "failed", "failed"]
        assert "private address" in rows[1]["reason"]
        assert "may not name `file://`" in rows[2]["reason"]
        assert other.asked.total() == 0


def test_only_what_a_fetch_has_left_is_cleared_away(get, server, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / ".film.part").touch()
    (tmp_path / "out" / ".hpcflow-abc.partial").touch()
    get([server.url("ok/clear.bin")])
    assert [path.name for path in (tmp_path / "out").glob(".*.part*")] == [".film.part"]


def test_a_folder_belongs_to_one_fetch(get, server, tmp_path):
    (tmp_path / "out").mkdir()
    with Folder(tmp_path / "out"), pytest.raises(RunError, match="being written by another fetch"):
        get([server.url("ok/owned.bin")])


@pytest.mark.parametrize(
    ("urls", "reason"),
    [
        ("nothing", "is no URL"),
        ("http://", "is no valid URL"),
        ("http://[bad/x.jpg", "is no valid URL"),
        ("http://127.0.0.1:99999/x.jpg", "is no valid URL"),
        ("http://user:pa:ss@[::1/x", "is no valid URL"),
        ("http://127.0.0.1:1/x", "no connection: "),
        ("http://no-such-host.invalid/x", "its host's name is not known"),
        ("simplecache::http://127.0.0.1/x", "is no URL"),
        ("zip://a.txt::http://127.0.0.1/x.zip", "chains of file systems are not followed"),
        ("http://[::1]:1/x.jpg", "no connection: "),
        ("nosuch://x/y", "expected a URL of `file`"),
        ("ftp://user:half/word@127.0.0.1:1/x", "expected a URL of `file`"),
    ],
)
def test_what_is_no_address_is_a_loss_with_its_reason(get, urls, reason):
    _, (row,) = get([urls], retries=0)
    assert row["status"] == "failed"
    assert row["reason"].startswith(reason)


def test_lists_of_other_programs_are_read(get, server, tmp_path):
    urls, right = [server.url(f"ok/l{i}.bin") for i in range(2)], hashlib.sha256(body_of("ok/l0.bin"))
    table = pa.table({"URL": [url.encode() for url in urls], "id": [b"a", b"b"], "sha256": [right.digest(), None]})
    pq.write_table(table, tmp_path / "bytes.parquet")
    (tmp_path / "blank.csv").write_text(f'\n,\n"url",id\n"{urls[0]}","a"\n\n{urls[1]},b\n')
    for name in ("bytes.parquet", "blank.csv"):
        done, rows = get(str(tmp_path / name))
        assert (done.items, done.failed) == (2, 0), done.failures
        assert [row["path"] for row in rows] == ["a.bin", "b.bin"]


@pytest.mark.parametrize("rows", [1, 10_000])
def test_a_list_that_is_damaged_loses_nothing_in_silence(get, tmp_path, rows):
    (tmp_path / "open.csv").write_text('id,url\n1,"http://127.0.0.1:1/x\n' + "2,http://127.0.0.1:1/y\n" * rows)
    with pytest.raises(Mismatch, match="expected a row of a table in line 2 of"):
        get(str(tmp_path / "open.csv"))
    (tmp_path / "torn.parquet").write_bytes(b"PAR1" + bytes(rows))
    with pytest.raises(Mismatch, match="expected a Parquet file, found something else"):
        get(str(tmp_path / "torn.parquet"))


def test_a_line_that_is_no_text_is_a_loss_of_its_own(get, server, tmp_path):
    (tmp_path / "list.txt").write_bytes(b"http://127.0.0.1:1/caf\xe9.jpg\n" + server.url("ok/text.bin").encode())
    done, rows = get(str(tmp_path / "list.txt"), retries=0)
    assert (done.ok, done.failed) == (1, 1)
    assert rows[0]["url"] == "http://127.0.0.1:1/caf%E9.jpg"


KILLED = """
import sys
from hpcflow.ingest import fetch
fetch([sys.argv[1]], sys.argv[2], cache=sys.argv[3], timeout=20)
"""


def test_a_fetch_that_is_killed_outright_is_taken_up(get, tmp_path):
    size = 8_000_000
    with serving(Slow(size=size)) as host:
        path = "slowly/killed.bin"
        process = subprocess.Popen([sys.executable, "-c", KILLED, host.url(path), tmp_path / "out", tmp_path / "cache"])
        part = tmp_path / "cache" / "parts" / key(host.url(path))
        deadline = time.monotonic() + 30
        while not (part.exists() and part.stat().st_size >= 2**21) and time.monotonic() < deadline:
            time.sleep(0.01)
        process.kill()
        process.wait()
        sent = host.sent[path]
        row = one(get, host, path, timeout=20)
        assert content(tmp_path, row) == body_of(path, size)
        again = next(headers for headers in host.headers[path][1:] if "Range" in headers)
        assert int(again["Range"].removeprefix("bytes=").rstrip("-")) >= min(sent, 2**22) - 2**21


class Slow(Faulty):
    """Sends a little at a time."""

    async def slowly(self, request, path, body):
        if "Range" in request.headers:
            return await self.ok(request, path, body)
        etag = '"' + hashlib.md5(body).hexdigest() + '"'
        response = web.StreamResponse(headers={"Content-Length": str(len(body)), "ETag": etag})
        await response.prepare(request)
        for start in range(0, len(body), 2**18):
            await response.write(body[start : start + 2**18])
            self.sent[path] += 2**18
            await asyncio.sleep(0.1)
        return response


def test_other_schemes_go_through_fsspec(get, tmp_path):
    system = fsspec.filesystem("memory")
    system.pipe({"/bucket/a.txt": b"alpha", "/bucket/b.txt": b"beta", "/bucket/c.bin": bytes(20_000_000)})
    (tmp_path / "here.txt").write_text("here")
    urls = ["memory://bucket/a.txt", (tmp_path / "here.txt").as_uri(), "memory://bucket/none", "memory://bucket/c.bin"]
    _, rows = get(urls)
    assert [row["status"] for row in rows] == ["ok", "ok", "failed", "ok"]
    assert [row["bytes"] for row in rows] == [5, 4, None, 20_000_000]
    assert rows[2]["reason"] == "no such file"
    _, rows = get("memory://bucket/*.txt", "matches")
    assert [content(tmp_path, row, "matches") for row in rows] == [b"alpha", b"beta"]
    with pytest.raises(Mismatch, match="expected files that match"):
        get("memory://bucket/*.jpg")


def test_a_body_that_the_list_does_not_want_is_not_taken_because_it_is_unchanged(get, server, tmp_path, monkeypatch):
    """What the cache has of a URL is asked about only where it is what the list says."""
    monkeypatch.setattr("hpcflow.ingest.cache.FRESH", 0.0)
    url = server.url("ok/unwanted.bin")
    get([url])
    (tmp_path / "list.csv").write_text(f"url,sha256\n{url},{'a' * 64}\n")
    _, (row,) = get(str(tmp_path / "list.csv"), "out2")
    assert row["status"] == "failed"
    assert row["tries"] == 2

"""What comes is told by its first bytes, kept as it came, and asked for once however its URL is signed."""

import gzip
import io

import numpy as np
import pyarrow.parquet as pq
import pytest
from aiohttp import web
from faulty import Faulty, serving
from PIL import Image

from hpcflow.ingest import fetch
from hpcflow.ingest.urls import unsigned

PAGE = b"\n<!DOCTYPE html><html>Too many requests</html>"


class Kinds(Faulty):
    """Bodies with a coding, where the query asks for one."""

    async def ok(self, request, path, body):
        coding = request.query.get("coding")
        if coding is None:
            return await super().ok(request, path, body)
        return web.Response(body=body, headers={"Content-Encoding": coding, "ETag": '"c"'})


@pytest.fixture
def server():
    with serving(Kinds()) as one:
        yield one


@pytest.fixture
def get(tmp_path):
    def run(urls, to="out", **options):
        return fetch(urls, tmp_path / to, **{"cache": str(tmp_path / "cache"), "timeout": 3, "retries": 0, **options})

    return run


def rows_of(done):
    return pq.read_table(done.manifest).to_pylist()


def picture(kind):
    file = io.BytesIO()
    Image.new("RGB", (9, 7), "red").save(file, kind)
    return file.getvalue()


KINDS = {"JPEG": ".jpg", "PNG": ".png", "GIF": ".gif", "WEBP": ".webp", "TIFF": ".tif", "BMP": ".bmp", "AVIF": ".avif"}
KINDS |= {"JPEG2000": ".jp2", "PDF": ".pdf"}
NAMES = ["photo?id=1", "x.php", "x.jpg!large", "x.jpg", "x.JPEG", "x.png", "x", "x.html", "x.nef", "x.2"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_is_named_after_what_is_in_it(get, server, kind):
    paths = [f"ok/{i}/{name}" for i, name in enumerate(NAMES)]
    for path in paths:
        server.bodies[path.partition("?")[0]] = picture(kind)
    rows = rows_of(get([server.url(path) for path in paths]))
    endings = ["." + row["path"].rpartition(".")[2] for row in rows]
    ending = KINDS[kind]
    jpeg = ending == ".jpg"
    assert endings[:3] == [ending] * 3
    assert endings[3:8] == [".jpg" if jpeg else ending, ".jpeg" if jpeg else ending, ending, ending, ending]
    assert endings[8:] == [".nef", ".2"]  # other kinds of files that begin so keep their endings
    assert all(row["reason"] is None for row in rows)


def test_such_files_are_there_in_the_next_run_and_in_another_folder(get, server, tmp_path):
    server.bodies = {"ok/photo": picture("PNG"), "ok/x.php": picture("GIF"), "ok/a": b"plain", "ok/b": PAGE}
    (tmp_path / "list.csv").write_text(
        "id,url\n"
        + "".join(
            f"{label},{server.url(path)}\n"
            for label, path in [("cat.jpg", "ok/photo"), ("cat", "ok/x.php"), ("", "ok/a"), ("page", "ok/b")]
        )
    )
    done = get(str(tmp_path / "list.csv"))
    asked, names = server.asked.total(), [row["path"] for row in rows_of(done)]
    assert names[0] == "cat.png"
    assert names[1].endswith(".gif")
    assert names[3] == "page.html"
    page = ((server.url("ok/b"), "is a web page"),)
    for to in ("out", "other"):
        again = get(str(tmp_path / "list.csv"), to)
        assert (again.cached, server.asked.total()) == (4, asked)
        assert [row["path"] for row in rows_of(again)] == names
        assert again.notes == done.notes == page
    server.bodies["ok/photo"] = picture("JPEG")
    (tmp_path / "out" / "cat.png").write_bytes(b"x")
    get(str(tmp_path / "list.csv"), cache=str(tmp_path / "new"))
    assert sorted(one.name for one in (tmp_path / "out").glob("cat.*")) == ["cat.jpg"]


def test_a_coding_that_is_not_known_is_kept_and_said(get, server, tmp_path):
    plain = picture("JPEG")
    server.bodies = {"ok/a.jpg": plain, "ok/b.jpg": b"(\xb5/\xfd" + bytes(50), "ok/c.jpg": gzip.compress(plain)}
    urls = [
        server.url(f"ok/{name}.jpg?coding={coding}") for name, coding in (("a", "foo"), ("b", "zstd"), ("c", "gzip"))
    ]
    urls += [server.url("ok/a.jpg?coding=identity"), server.url("ok/a.jpg?coding=gzip, br")]
    done = get(urls)
    for _ in range(2):
        rows = rows_of(done)
        assert [bool(row["reason"]) for row in rows] == [True, True, False, False, True]
        assert rows[0]["reason"] == "came in the encoding `foo`, and is stored so"
        bodies = [(tmp_path / "out" / row["path"]).read_bytes() for row in rows]
        assert bodies == [plain, server.bodies["ok/b.jpg"], plain, plain, plain]
        done = get(urls)
    assert done.cached == 5


SIGNED = [
    "X-Amz-Algorithm=A&X-Amz-Credential={0}&X-Amz-Date={0}&X-Amz-Expires=9&X-Amz-Signature={0}&versionId=7",
    "AWSAccessKeyId=a&Signature={0}%3D&Expires={0}&versionId=7",
    "X-Goog-Algorithm=a&X-Goog-Signature={0}&versionId=7&X-Goog-Date={0}",
    "Expires={0}&Signature={0}&Key-Pair-Id=K&versionId=7",
    "versionId=7&sv=2022&st={0}&se={0}&sr=b&sp=r&sig={0}",
]


@pytest.mark.parametrize("query", SIGNED)
def test_a_url_that_is_signed_anew_is_the_same_url(get, server, query):
    def urls(sign):
        return [server.url(f"ok/{name}.bin?{query.format(sign)}") for name in "ab"]

    assert unsigned(urls("x")[0]) == server.url("ok/a.bin?versionId=7")
    assert get(urls("first1")).ok == 2
    assert get(urls("second")).cached == 2
    assert get(urls("third3"), "other").cached == 2
    assert server.asked.total() == 2


def test_urls_that_differ_in_what_is_struck_out_are_not_the_same(get, server, tmp_path, monkeypatch):
    monkeypatch.setattr(server, "missing", server.missing, raising=False)
    urls = [server.url(f"missing/photo?key={i}&token=abcdefgh{i}") for i in range(3)]
    assert len({unsigned(url) for url in urls}) == 3
    done = get(urls)

    async def mended(request, path, body):
        return web.Response(body=request.query["key"].encode())

    monkeypatch.setattr(server, "missing", mended)
    again = get(urls, retry=done.manifest)
    assert again.ok == 3
    assert [(tmp_path / "out" / row["path"]).read_text() for row in rows_of(again)] == ["0", "1", "2"]


def test_an_array_behind_such_a_url_is_named_so(get, server):
    file = io.BytesIO()
    np.save(file, np.arange(5))
    server.bodies["ok/array"] = file.getvalue()
    (row,) = rows_of(get([server.url("ok/array?download=1")]))
    assert row["path"].endswith(".npy")

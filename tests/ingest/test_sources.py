"""URLs as sources: photos, arrays and bytes from a server, read by whole flows."""

import io
from pathlib import Path

import fsspec
import numpy as np
import pyarrow.parquet as pq
import pytest
import zarr as store
from aiohttp import web
from faulty import Faulty, serving
from PIL import Image

import hpcflow
from hpcflow.errors import BadItem, FlowError, Mismatch, RunError
from hpcflow.sources.images import images
from hpcflow.sources.npy import npy
from hpcflow.sources.raw import raw
from hpcflow.sources.remote import remote
from hpcflow.sources.zarr import zarr

ROOT = Path(__file__).parents[2]


def photo(seed, suffix="PNG"):
    file = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (40, 50, 3), np.uint8)
    Image.fromarray(pixels).save(file, suffix)
    return file.getvalue()


def saved(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


@pytest.fixture
def server():
    with serving(Faulty(delay=0.01)) as one:
        for i in range(12):
            one.bodies[f"ok/{i}.png"] = photo(i)
        yield one


@pytest.fixture
def fetched(tmp_path):
    return {"cache": str(tmp_path / "cache"), "timeout": 3.0, "retries": 1}


@pytest.fixture
def local(tmp_path, server):
    folder = tmp_path / "photos"
    folder.mkdir()
    for i in range(12):
        (folder / f"{i:02}.png").write_bytes(server.bodies[f"ok/{i}.png"])
    source = images(path=str(folder), size=32)
    return source.read(tuple((0, n) for n in source.meta.shape))


def whole(source):
    return source.read(tuple((0, n) for n in source.meta.shape))


def test_photos_of_a_list_are_those_of_a_folder_and_come_once(tmp_path, server, fetched, local):
    (tmp_path / "list.txt").write_text("\n".join(server.url(f"ok/{i}.png") for i in range(12)))
    source = images(path=str(tmp_path / "list.txt"), size=32, fetch=fetched)
    for start in range(0, 12, 3):
        region = ((start, start + 3), *((0, n) for n in source.meta.shape[1:]))
        state = source.state(region)
        assert np.array_equal(source.read(region), local[start : start + 3])
        assert source.state(region) == state
    assert server.asked.total() == 12
    assert source.items[3] == server.url("ok/3.png")


@pytest.mark.parametrize("ending", ["csv", "parquet", "txt"])
def test_a_list_may_be_behind_a_url_itself(server, fetched, local, ending, tmp_path):
    urls = [server.url(f"ok/{i}.png") for i in range(12)]
    if ending == "parquet":
        pq.write_table(__import__("pyarrow").table({"url": urls}), tmp_path / "list.parquet")
        server.bodies["ok/list.parquet"] = (tmp_path / "list.parquet").read_bytes()
    else:
        server.bodies[f"ok/list.{ending}"] = "\n".join([*(["url"] if ending == "csv" else []), *urls]).encode()
    assert np.array_equal(whole(images(path=server.url(f"ok/list.{ending}"), size=32, fetch=fetched)), local)


def test_photos_may_lie_on_an_object_store(server, fetched, local):
    system = fsspec.filesystem("memory")
    for i in range(12):
        system.pipe(f"/album/{i:02}.png", server.bodies[f"ok/{i}.png"])
    system.pipe("/album/notes.md", b"no photo")
    for path in ("memory://album/*.png", "memory://album/", "memory://album/*"):
        assert np.array_equal(whole(images(path=path, size=32, fetch=fetched)), local)


def test_a_photo_that_cannot_be_had_is_a_bad_item(server, fetched, local, tmp_path):
    urls = [server.url(f"ok/{i}.png") for i in range(12)]
    urls[2], urls[5] = server.url("missing/2.png"), server.url("page/5.png")
    (tmp_path / "list.txt").write_text("\n".join(urls))
    source = images(path=str(tmp_path / "list.txt"), size=32, fetch=fetched)
    array, bad = source.read_items(tuple((0, n) for n in source.meta.shape))
    assert [(one.index, one.item, one.reason) for one in bad] == [
        (2, urls[2], "answered 404 Not Found"),
        (5, urls[5], "expected a `.png` file, found a web page (`application/octet-stream`)".partition(" (")[0]),
    ]
    assert not array[[2, 5]].any()
    good = [i for i in range(12) if i not in (2, 5)]
    assert np.array_equal(array[good], local[good])
    with pytest.raises(BadItem, match="answered 404"):
        whole(source)
    assert server.asked["missing/2.png"] == 1


def test_a_photo_that_left_the_cache_comes_again(server, fetched, local, tmp_path):
    (tmp_path / "list.txt").write_text("\n".join(server.url(f"ok/{i}.png") for i in range(12)))
    size = sum(map(len, server.bodies.values())) // 4
    tight = {**fetched, "cache_size": size}
    assert np.array_equal(whole(images(path=str(tmp_path / "list.txt"), size=32, fetch=tight)), local)


@pytest.mark.parametrize("kind", ["ok", "twice", "whole", "whole/unknown", "gzipped"])
def test_arrays_and_raw_files_behind_a_url(server, fetched, kind, monkeypatch):
    monkeypatch.setattr("hpcflow.ingest.failures.BASE", 0.01)
    array = np.random.default_rng(0).normal(size=(60, 70)).astype(np.float32)
    server.bodies[f"{kind}/plane.npy"] = saved(array)
    server.bodies[f"{kind}/plane.raw"] = bytes(16) + array.tobytes()
    fetched["retries"] = 2
    opened = npy(path=server.url(f"{kind}/plane.npy"), dims=["y", "x"], fetch=fetched)
    flat = raw(path=server.url(f"{kind}/plane.raw"), dtype="float32", shape=[60, 70], offset=16, fetch=fetched)
    region = ((10, 20), (5, 9))
    for source in (opened, flat):
        assert source.state(region) == source.state(region)
        assert np.array_equal(whole(source), array)
        assert np.array_equal(source.read(region), array[10:20, 5:9])
    assert opened.meta.dims == ("y", "x")
    # Once to look, once to fetch.
    assert server.asked.total() == {"ok": 4, "twice": 8}.get(kind, server.asked.total())
    fresh = npy(path=server.url(f"{kind}/plane.npy"), fetch=fetched)
    assert fresh.meta.shape == (60, 70)
    assert server.asked.total() <= 8


@pytest.mark.parametrize("dtype", ["<f4", ">f4"])
def test_what_must_be_converted_is_read_tile_by_tile(server, fetched, dtype):
    """A block of it, converted, would be in memory as a whole, where the plan counts a tile."""
    array = np.random.default_rng(0).normal(size=(60, 70)).astype(dtype)
    server.bodies["ok/plane.npy"] = saved(array)
    source = npy(path=server.url("ok/plane.npy"), fetch=fetched)
    region = ((10, 20), (5, 9))
    assert source.maps(region) == (dtype == "<f4")
    assert np.array_equal(source.read(region), array[10:20, 5:9])


@pytest.mark.parametrize("kind", ["ok", "whole"])
def test_a_plan_fetches_no_more_than_the_start_of_an_array(server, fetched, kind, tmp_path):
    rows = 2**14
    server.bodies[f"{kind}/x.npy"] = saved(np.zeros((rows, 1024), np.float32))
    text = f"""
    flow: far
    sources: {{x: {{from: npy, path: "{server.url(f"{kind}/x.npy")}", fetch: {{cache: "{fetched["cache"]}"}}}}}}
    steps: {{s: {{op: sum, of: x}}}}
    sinks: {{s: {{to: json, of: s, path: {tmp_path}/s.json}}}}
    """
    (tmp_path / "flow.yaml").write_text(text)
    plan = hpcflow.plan(tmp_path / "flow.yaml", cluster="synchronous")
    assert plan.bytes_read == rows * 4096
    assert server.asked.total() == 1
    # What a server sends unasked stops at what the connection's buffers hold.
    assert server.sent[f"{kind}/x.npy"] <= (2**14 if kind == "ok" else 2**25)
    assert not list(Path(fetched["cache"]).glob("objects/*/*"))


def test_what_stands_at_a_url_instead_of_an_array_is_said(server, fetched):
    server.bodies["ok/short.npy"] = saved(np.zeros((60, 70)))[:-1]
    server.bodies["ok/none.npy"] = b"no array"
    for name, message in (("short", r"found 33727 in `http"), ("none", "expected a `.npy` file of version 1 or 2")):
        with pytest.raises(Mismatch, match=message):
            npy(path=server.url(f"ok/{name}.npy"), fetch=fetched)
    with pytest.raises(Mismatch, match="expected 4000 bytes"):
        raw(path=server.url("ok/none.npy"), dtype="float32", shape=[1000], fetch=fetched)
    with pytest.raises(Mismatch, match=r"found that it expected a `\.npy` file, found a web page"):
        npy(path=server.url("page/honest.npy"), fetch=fetched)
    for source in (npy, lambda **more: raw(dtype="u1", shape=[1], **more)):
        with pytest.raises(FileNotFoundError):
            source(path=server.url("missing/none.npy"), fetch=fetched)
    assert server.asked.total() == 6


def test_an_array_that_is_replaced_after_it_was_looked_at_is_an_error(server, fetched):
    array = np.zeros((60, 70))
    server.bodies["ok/a.npy"] = saved(array)
    source = npy(path=server.url("ok/a.npy"), fetch=fetched)
    for other in (array.T, array[1:]):
        server.bodies["ok/a.npy"] = saved(other)
        with pytest.raises(RunError, match=r"another file there|it changed since opening"):
            whole(source)


def test_small_arrays_side_by_side(server, fetched, tmp_path):
    arrays = [np.full((3, 4), i, np.float32) for i in range(5)]
    for i, array in enumerate(arrays):
        server.bodies[f"ok/{i}.npy"] = saved(array)
    server.bodies["ok/3.npy"] = saved(np.zeros((3, 5)))
    (tmp_path / "list.txt").write_text("\n".join(server.url(f"ok/{i}.npy") for i in range(5)))
    source = remote(path=str(tmp_path / "list.txt"), fetch=fetched)
    array, bad = source.read_items(tuple((0, n) for n in source.meta.shape))
    assert source.meta.shape == (5, 3, 4)
    assert [one.index for one in bad] == [3]
    assert "like the first file, found (3, 5) of float64" in bad[0].reason
    assert array[:, 0, 0].tolist() == [0, 1, 2, 0, 4]


def test_text_as_counts_of_its_bytes(fetched):
    fsspec.filesystem("memory").pipe({"/texts/a.txt": b"abba", "/texts/b.txt": b"", "/texts/c.txt": b"c" * 3_000_000})
    counts = whole(remote(path="memory://texts/*.txt", content="counts", fetch=fetched))
    assert counts.sum(axis=1).tolist() == [4, 0, 3_000_000]
    assert counts[0, ord("a")] == counts[0, ord("b")] == 2


class Stored(Faulty):
    """A folder of files, each with a fault first."""

    def __init__(self, folder):
        super().__init__()
        self.folder = folder

    async def store(self, request, path, body):
        file = self.folder / path.partition("/")[2]
        if self.asked[path] == 1:
            return web.Response(status=503)
        return web.FileResponse(file) if file.is_file() else web.Response(status=404)

    async def away(self, request, path, body):
        raise web.HTTPFound(f"http://127.0.0.1:{self.port}/store/{path.partition('/')[2]}")


def test_a_zarr_array_over_http_is_read_with_patience_and_guarded(tmp_path, monkeypatch):
    monkeypatch.setattr("hpcflow.ingest.failures.BASE", 0.01)
    array = np.arange(600).reshape(20, 30)
    store.create_array(str(tmp_path / "a.zarr"), data=array, chunks=(10, 10))
    with serving(Stored(tmp_path)) as server:
        assert np.array_equal(whole(zarr(path=server.url("store/a.zarr"))), array)
        assert server.asked["store/a.zarr/c/1/2"] == 2
        with pytest.raises(Mismatch, match="leads to a private address"):
            zarr(path=server.url("away/a.zarr", "localhost"))


FLOW = """
flow: listed
sources:
  photos: {{from: images, path: "{path}", size: 32, fetch: {{cache: "{cache}", retries: 1, timeout: 3, per_host: 3}}}}
steps:
  light: {{op: expr, expr: "photos / 255.0"}}
sinks:
  light: {{to: npy, of: light, path: "{out}/light.npy"}}
"""


@pytest.mark.parametrize("cluster", ["threads", "local"])
def test_a_flow_over_urls_sets_losses_apart_and_is_not_run_twice(server, tmp_path, local, cluster):
    urls = [server.url(f"ok/{i}.png") for i in range(12)]
    urls[4] = server.url("missing/4.png")
    (tmp_path / "list.txt").write_text("\n".join(urls))
    flow = tmp_path / "flow.yaml"
    flow.write_text(FLOW.format(path=tmp_path / "list.txt", cache=tmp_path / "cache", out=tmp_path))
    workers = {"workers": 2, "threads": 1} if cluster == "local" else {}
    given = {"cluster": cluster, "run_dir": tmp_path / "run", "dashboard": False, **workers}
    with pytest.raises(RunError, match=r"missing/4.png: answered 404 Not Found"):
        hpcflow.run(flow, **given)
    report = hpcflow.run(flow, max_bad=1, **given)
    light = np.load(tmp_path / "light.npy")
    assert np.array_equal(np.delete(light, 4, 0), np.delete(local, 4, 0) / 255.0)
    assert report.exit_code == 3
    assert [(one["item"], one["reason"]) for one in report.quarantine] == [(urls[4], "answered 404 Not Found")]
    assert all(server.asked[f"ok/{i}.png"] == (i != 4) for i in range(12))
    assert server.most_at_once <= 3
    again = hpcflow.run(flow, max_bad=1, **given)
    assert again.tasks["executed"] == 0
    assert all(server.asked[f"ok/{i}.png"] == (i != 4) for i in range(12))


def test_the_flow_that_ships_labels_photos_from_a_server(server, tmp_path, monkeypatch):
    pytest.importorskip("torch")
    pytest.importorskip("efficientnet_lite_pytorch")
    monkeypatch.chdir(tmp_path)
    Path("data").symlink_to(ROOT / "data")
    photos = sorted((ROOT / "data" / "photos").glob("*.jpg"))
    for path in photos:
        server.bodies[f"reset/{path.name}"] = path.read_bytes()
    urls = [*(server.url(f"reset/{path.name}") for path in photos), server.url("missing/lost.jpg")]
    Path("list.csv").write_text("url\n" + "\n".join(urls))
    params = {"list": "list.csv", "cache": "cache"}
    report = hpcflow.run(
        ROOT / "flows" / "ingest.yaml", params=params, cluster="synchronous", dashboard=False, max_bad=1
    )
    assert [one["item"] for one in report.quarantine] == [urls[-1]]
    rows = pq.read_table("out/ingest.parquet").to_pylist()
    first = {row["path"]: row["class_id"] for row in rows if row["rank"] == 1}
    assert first[server.url("reset/china.jpg")] == 698
    assert first[server.url("reset/coffee.jpg")] == 967
    assert all(server.asked[f"reset/{path.name}"] == 2 for path in photos)


def test_settings_are_held_against_what_there_is(tmp_path, server):
    Path(tmp_path / "list.txt").write_text(server.url("ok/0.png"))
    text = FLOW.format(path=tmp_path / "list.txt", cache=tmp_path, out=tmp_path)
    (tmp_path / "flow.yaml").write_text(text.replace("per_host", "perhost"))
    with pytest.raises(FlowError, match="expected a setting of `fetch`, found `perhost`"):
        hpcflow.load(tmp_path / "flow.yaml")

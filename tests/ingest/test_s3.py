"""Object stores: `s3fs` against a server of moto's on loopback."""

import json

import boto3
import numpy as np
import pyarrow.parquet as pq
import pytest
import zarr
from moto.server import ThreadedMotoServer

import hpcflow
from hpcflow.ingest import fetch
from hpcflow.sources.npy import npy
from hpcflow.sources.remote import remote
from hpcflow.spec.validate import loads


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    client = boto3.client(
        "s3", endpoint_url=endpoint, aws_access_key_id="me", aws_secret_access_key="word", region_name="us-east-1"
    )
    client.create_bucket(Bucket="bucket")
    for i in range(4):
        path = tmp_path_factory.mktemp("npy") / "a.npy"
        np.save(path, np.full((5, 6), i, np.int16))
        client.put_object(Bucket="bucket", Key=f"run/{i}.npy", Body=path.read_bytes())
    client.put_object(Bucket="bucket", Key="large.bin", Body=bytes(20_000_000))
    yield {"key": "me", "secret": "${env:WORD}", "client_kwargs": {"endpoint_url": endpoint}}
    server.stop()


@pytest.fixture(autouse=True)
def _word(monkeypatch):
    monkeypatch.setenv("WORD", "word")


def test_a_pattern_and_a_large_object(store, tmp_path):
    done = fetch("s3://bucket/run/*.npy", tmp_path / "out", cache=str(tmp_path / "cache"), storage_options=store)
    assert (done.ok, done.failed) == (4, 0)
    rows = pq.read_table(done.manifest).to_pylist()
    assert [row["url"] for row in rows] == [f"s3://bucket/run/{i}.npy" for i in range(4)]
    urls = ["s3://bucket/large.bin", "s3://bucket/none.bin", "s3://nobucket/x"]
    done = fetch(urls, tmp_path / "more", cache=str(tmp_path / "cache"), storage_options=store, retries=0)
    rows = pq.read_table(done.manifest).to_pylist()
    assert [(row["bytes"], row["reason"]) for row in rows] == [
        (20_000_000, None),
        (None, "no such file"),
        (None, "no such file"),
    ]


def test_arrays_of_a_bucket(store, tmp_path):
    how = {"fetch": {"cache": str(tmp_path / "cache")}, "storage_options": store}
    source = remote(path="s3://bucket/run/*.npy", **how)
    array = source.read(tuple((0, n) for n in source.meta.shape))
    assert array[:, 2, 3].tolist() == [0, 1, 2, 3]
    one = npy(path="s3://bucket/run/2.npy", **how)
    assert (one.read(((0, 5), (0, 6))) == 2).all()
    assert "word" not in json.dumps(source.identity) + repr(source) + repr(one)


def test_chunks_written_anew_in_a_bucket_are_read_again(store, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    values = np.arange(16, dtype=np.int16).reshape(4, 4)
    endpoint = store["client_kwargs"]["endpoint_url"]
    options = f'{{key: me, secret: "${{env:WORD}}", client_kwargs: {{endpoint_url: "{endpoint}"}}}}'
    source = f"{{from: zarr, path: 's3://bucket/x.zarr', storage_options: {options}}}"
    text = f"flow: f\nblock: [2, 2]\nsources:\n  x: {source}\nsinks:\n  y: {{to: npy, of: x, path: y.npy}}\n"
    client = boto3.client("s3", endpoint_url=endpoint, aws_access_key_id="me", aws_secret_access_key="word")

    def put(array):
        zarr.create_array(tmp_path / "x.zarr", data=array, chunks=(2, 2), overwrite=True)
        for file in (tmp_path / "x.zarr").rglob("*"):
            if file.is_file():
                client.put_object(
                    Bucket="bucket", Key=f"x.zarr/{file.relative_to(tmp_path / 'x.zarr')}", Body=file.read_bytes()
                )

    executed = []
    for array in (values, values, np.where(values == 0, 16, values).astype(np.int16)):
        put(array)
        executed.append(hpcflow.run(loads(text), cluster="threads").tasks["executed"])
        np.testing.assert_array_equal(np.load("y.npy"), array)
    assert executed == [4, 0, 1]
    client.delete_object(Bucket="bucket", Key="x.zarr/c/1/1")
    (warning,) = loads(text).warnings
    assert "1 of 4 chunks missing" in str(warning)

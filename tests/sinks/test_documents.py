"""Tables and JSON: what is read back, bad items, and what does not fit."""

import json as codec
import re
from pathlib import Path

import numpy as np
import pyarrow.csv
import pyarrow.parquet
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import hpcflow
from hpcflow.errors import FlowError, Mismatch
from hpcflow.meta import Column, DocumentSink, Meta
from hpcflow.sinks import _table
from hpcflow.sinks.csv import csv
from hpcflow.sinks.json import json, nested
from hpcflow.sinks.parquet import parquet

RECORD = np.dtype([("class_id", np.int64), ("score", np.float32)])
TABLES = {"parquet": (parquet, pyarrow.parquet.read_table), "csv": (csv, pyarrow.csv.read_csv)}


@pytest.fixture(params=TABLES)
def table(request):
    """A table sink, and what reads its file."""
    return TABLES[request.param]


def column(array, name="node", dims=(), items=(), bad=()):
    array = np.asarray(array)
    meta = Meta(array.shape, array.dtype, dims, items="photos" if items else None)
    return Column(name, meta, array, items, frozenset(bad))


def best(photos=3, k=2, bad=()):
    array = np.zeros((photos, k), RECORD)
    array["class_id"] = np.arange(photos * k).reshape(photos, k) % 4
    array["score"] = np.linspace(1, 0, photos * k).reshape(photos, k)
    return column(array, "best", ("photo", "rank"), [f"p/{i}.jpg" for i in range(photos)], bad)


def rows(read, path):
    return read(path).to_pylist()


@pytest.fixture
def labels(tmp_path):
    (tmp_path / "names.txt").write_text('tench\ngoldfish, "red"\nshark\n', encoding="utf-8")
    return str(tmp_path / "names.txt")


def test_labelled_photos(tmp_path, labels, table):
    make, read = table
    sink = make(path=str(tmp_path / "out" / "labels"), labels=labels)
    assert isinstance(sink, DocumentSink)
    ranked = best()
    assert sink.views([ranked.meta]) == [ranked.meta]
    text = sink.render([ranked])
    found = read(sink.path)
    assert found.column_names == ["path", "rank", "class_id", "label", "score"]
    first = {"path": "p/0.jpg", "rank": 1, "class_id": 0, "label": "tench", "score": 1.0}
    assert found.to_pylist()[0] == first
    assert found["rank"].to_pylist() == [1, 2, 1, 2, 1, 2]
    assert found["label"].to_pylist()[1:4] == ['goldfish, "red"', "shark", None if make is parquet else ""]
    assert text.splitlines()[:2] == ["path     label  score", "p/0.jpg  tench  1.000"]
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["labels"]


def test_a_bad_item_has_one_row_of_nulls(tmp_path, labels):
    sink = parquet(path=str(tmp_path / "t.parquet"), labels=labels)
    text = sink.render([best(bad=[1])])
    found = rows(pyarrow.parquet.read_table, sink.path)
    assert [row["path"] for row in found] == ["p/0.jpg", "p/0.jpg", "p/1.jpg", "p/2.jpg", "p/2.jpg"]
    assert found[2] == {"path": "p/1.jpg", "rank": None, "class_id": None, "label": None, "score": None}
    assert text.splitlines()[2] == "p/1.jpg  unreadable"


def test_a_bad_item_in_csv(tmp_path):
    sink = csv(path=str(tmp_path / "t.csv"))
    sink.render([best(photos=2, bad=[0])])
    assert Path(sink.path).read_text().splitlines() == [
        "path,rank,class_id,score",
        '"p/0.jpg",,,',
        '"p/1.jpg",1,2,0.33333334',
        '"p/1.jpg",2,3,0',
    ]


def test_only_the_first_rows_are_printed(tmp_path):
    text = parquet(path=str(tmp_path / "t.parquet")).render([best(photos=1234)])
    assert len(text.splitlines()) == 22
    assert text.splitlines()[-1] == "… and 1,214 more"
    assert "class 0" in text


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    shape=st.lists(st.integers(1, 5), max_size=3),
    dtype=st.sampled_from(["float32", ">f8", "float16", "uint8", "int64", "bool"]),
    bad=st.sets(st.integers(0, 4)),
    piece=st.integers(1, 40),
)
def test_any_array_reads_back(tmp_path, monkeypatch, shape, dtype, bad, piece):  # noqa: PLR0917
    monkeypatch.setattr(_table, "ROWS", piece)
    array = np.random.default_rng(0).integers(0, 100, shape).astype(dtype)
    items = [f"{i}.png" for i in range(shape[0])] if shape and bad else ()
    bad = {i for i in bad if i < len(items)}
    dims = ("photo", "y", "x")[: len(shape)]
    sink = parquet(path=str(tmp_path / "t.parquet"))
    assert sink.render([column(array, "node", dims, items, bad)]) is None
    found = rows(pyarrow.parquet.read_table, sink.path)
    expected = []
    for index in np.ndindex(*shape):
        names = dict(zip(dims, index, strict=True))
        if items:
            names = {"path": items[index[0]], **dict(list(names.items())[1:])}
        if index and index[0] in bad:
            if any(index[1:]):
                continue
            names = {"path": names["path"], **dict.fromkeys(dims[1:])}
        expected.append({**names, "node": None if index and index[0] in bad else array[index].item()})
    assert found == expected


def test_several_inputs_are_columns_side_by_side(tmp_path, table):
    make, read = table
    sink = make(path=str(tmp_path / "t"))
    columns = [column([1, 2], "counts"), column([0.5, 1.5], "edges")]
    sink.views([one.meta for one in columns])
    sink.render(columns)
    assert rows(read, sink.path) == [
        {"axis_0": 0, "counts": 1, "edges": 0.5},
        {"axis_0": 1, "counts": 2, "edges": 1.5},
    ]


def test_names_that_would_stand_twice(tmp_path):
    sink = parquet(path=str(tmp_path / "t.parquet"))
    other = best()
    sink.render([best(), Column("other", other.meta, other.array, other.items), column(np.ones((3, 2)), "rank")])
    names = pyarrow.parquet.read_schema(sink.path).names
    assert names == ["path", "rank", "class_id", "score", "other_class_id", "other_score", "rank_value"]


def test_large_tables_are_written_in_pieces(tmp_path):
    array = np.lib.format.open_memmap(tmp_path / "a.npy", "w+", np.float32, (3 * _table.ROWS + 1,))
    sink = parquet(path=str(tmp_path / "t.parquet"))
    sink.render([column(array)])
    assert pyarrow.parquet.ParquetFile(sink.path).metadata.num_row_groups == 4
    assert pyarrow.parquet.read_metadata(sink.path).num_rows == array.size


def test_paths_that_are_no_text(tmp_path):
    sink = parquet(path=str(tmp_path / "t.parquet"))
    odd = b"caf\xe9.jpg".decode("utf-8", "surrogateescape")
    text = sink.render([column(np.zeros((1, 1), RECORD), "best", ("photo", "rank"), [odd])])
    assert rows(pyarrow.parquet.read_table, sink.path)[0]["path"] == "caf\ufffd.jpg"
    assert text.encode("utf-8")


def test_a_table_that_fails_leaves_the_old_one(tmp_path):
    sink = csv(path=str(tmp_path / "t.csv"))
    (tmp_path / "t.csv").write_text("old")

    class Broken:
        def reshape(self, _):
            return self

        def __getitem__(self, _):
            raise OSError(5, "Input/output error")

    with pytest.raises(OSError, match="Input/output"):
        sink.render([Column("node", Meta((2,), "int64"), Broken())])
    assert (tmp_path / "t.csv").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["t.csv"]


def test_what_is_no_table(tmp_path, labels):
    sink = parquet(path=str(tmp_path / "t"), labels=labels)
    with pytest.raises(Mismatch, match="expected real numbers") as wrong:
        sink.views([Meta((3,), "complex64")])
    with pytest.raises(Mismatch, match="`class_id`") as wrong:
        sink.views([Meta((3,), "float32")])
    assert wrong.value.parameter == "labels"
    with pytest.raises(Mismatch, match="one shape"):
        sink.views([Meta((3,), "int8"), Meta((4,), "int8")])
    with pytest.raises(FileNotFoundError):
        parquet(path=str(tmp_path / "t"), labels=str(tmp_path / "none.txt"))


def test_a_scalar_in_json_is_printed(tmp_path):
    sink = json(path=str(tmp_path / "out" / "total.json"))
    assert isinstance(sink, DocumentSink)
    total = column(np.float64(1.25), "total")
    assert sink.views([total.meta]) == [total.meta]
    assert sink.render([total]) == "total = 1.25"
    assert Path(sink.path).read_text() == "1.25\n"


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (np.arange(6, dtype=np.uint8).reshape(2, 3), [[0, 1, 2], [3, 4, 5]]),
        (np.array([1, np.nan, np.inf, -np.inf]), [1, None, None, None]),
        (np.array([True, False]), [True, False]),
        (np.array([(3, 0.5), (1, np.nan)], RECORD), [{"class_id": 3, "score": 0.5}, {"class_id": 1, "score": None}]),
        (np.float32(np.nan), None),
        (np.int64(2**62), 2**62),
        (np.zeros((2, 0)), [[], []]),
    ],
)
def test_arrays_in_json(tmp_path, array, expected):
    sink = json(path=str(tmp_path / "a.json"))
    sink.render([column(array)])
    assert codec.loads(Path(sink.path).read_text()) == expected


def test_bad_items_and_several_inputs_in_json(tmp_path):
    sink = json(path=str(tmp_path / "a.json"))
    scores = column(np.ones((2, 2)), "scores", items=["a", "b"], bad=[1])
    assert sink.render([scores, column(np.float64(3), "total")]) == "total = 3.0"
    assert codec.loads(Path(sink.path).read_text()) == {"scores": [[1, 1], None], "total": 3}


def test_what_is_no_json(tmp_path):
    sink = json(path=str(tmp_path / "a.json"))
    with pytest.raises(Mismatch, match="expected real numbers"):
        sink.views([Meta((), "complex64")])
    with pytest.raises(Mismatch, match="at most 1,000,000 elements") as wrong:
        sink.views([Meta((1001, 1000), "uint8")])
    assert "zarr" in wrong.value.hint
    assert "npy" in wrong.value.hint


@settings(deadline=None)
@given(st.sampled_from(["?", "i1", "u2", ">i4", "u8", "f2", ">f4", "f8"]), st.lists(st.booleans(), max_size=70))
def test_columns_are_those_of_pyarrow(dtype, missing):
    values = np.random.default_rng(len(missing)).integers(0, 100, 2 * len(missing)).astype(dtype)[::2]
    missing = np.array(missing, bool)
    kind = _table._arrow_type(values.dtype)
    for mask in (None, missing):
        ours, theirs = _table._arrow(values, mask), pyarrow.array(_table._plain(values), kind, mask=mask)
        ours.validate(full=True)
        assert ours.equals(theirs)


@pytest.mark.parametrize("shape", [(), (0,), (3, 0), (20_001,), (3, 9_000), (2, 3, 8_192), (9_000, 2)])
def test_json_in_pieces_is_the_json_of_the_whole(tmp_path, shape):
    array = np.random.default_rng(0).random(shape)
    array[array > 0.999] = np.nan
    sink = json(path=str(tmp_path / "n.json"))
    sink.render([column(array, bad=[1] if shape[:1] > (1,) else [])])
    expected = nested(array)
    if shape[:1] > (1,):
        expected[1] = None
    assert Path(sink.path).read_text() == codec.dumps(expected) + "\n"


def test_a_document_that_does_not_fit_is_refused_with_what_would(tmp_path):
    np.save(tmp_path / "x.npy", np.zeros((64, 40, 40, 3), np.uint8))
    (tmp_path / "f.yaml").write_text(
        f"flow: f\nsources: {{x: {{from: npy, path: {tmp_path}/x.npy}}}}\n"
        f"sinks: {{sheet: {{to: png, of: x, path: {tmp_path}/x.png, columns: 64}}}}\n"
    )
    given = {"cluster": "synchronous", "run_dir": tmp_path / "run"}
    room = hpcflow.plan(tmp_path / "f.yaml", memory="4GiB", **given).base.total + 2**20
    with pytest.raises(FlowError, match="expected the document `sheet` to be made within") as caught:
        hpcflow.plan(tmp_path / "f.yaml", memory=room, **given)
    least = re.search(r"`--memory (\w+)`", str(caught.value))
    assert hpcflow.plan(tmp_path / "f.yaml", memory=least[1], **given).tasks == 1

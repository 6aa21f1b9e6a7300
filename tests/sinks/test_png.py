"""Pictures, read back with Pillow."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageColor

from hpcflow.errors import Mismatch
from hpcflow.meta import Column, DocumentSink, Meta
from hpcflow.sinks import _draw
from hpcflow.sinks.png import captions, png

RECORD = np.dtype([("class_id", np.int64), ("score", np.float32)])


def column(array, name="node", items=(), bad=()):
    array = np.asarray(array)
    return Column(name, Meta(array.shape, array.dtype, items="photos" if items else None), array, items, frozenset(bad))


def draw(tmp_path, *columns, **options):
    sink = png(path=str(tmp_path / "out" / "picture.png"), **options)
    assert isinstance(sink, DocumentSink)
    sink.views([one.meta for one in columns])
    assert sink.render(columns) is None
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["picture.png"]
    with Image.open(sink.path) as picture:
        return np.asarray(picture)


def photos(count, height=120, width=160):
    """Plain photos, each of its own grey level."""
    levels = np.arange(1, count + 1, dtype=np.uint8) * 20
    return np.broadcast_to(levels[:, None, None, None], (count, height, width, 3))


def ranked(count):
    best = np.zeros((count, 2), RECORD)
    best["class_id"][:, 0] = np.arange(count)
    best["score"][:, 0] = 0.5
    return best


@pytest.mark.parametrize("shape", [(7, 9), (7, 9, 3), (7, 9, 4)])
def test_bytes_are_drawn_as_they_are(tmp_path, shape):
    array = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    np.testing.assert_array_equal(draw(tmp_path, column(array)), array)


def test_one_channel_is_grey(tmp_path):
    array = np.arange(6, dtype=np.uint8).reshape(2, 3, 1)
    np.testing.assert_array_equal(draw(tmp_path, column(array)), array[:, :, 0])


@pytest.mark.parametrize("dtype", ["float32", ">u2", "int8", "bool"])
def test_other_numbers_are_scaled(tmp_path, dtype, monkeypatch):
    monkeypatch.setattr(_draw, "PIECE", 2)
    array = np.array([[0, 1], [0, 1], [1, 0]]).astype(dtype)
    np.testing.assert_array_equal(draw(tmp_path, column(array)), np.array([[0, 1], [0, 1], [1, 0]]) * 255)


def test_what_is_no_number_is_black(tmp_path):
    array = np.array([[-1.0, 0.0, 1.0], [np.nan, np.inf, -np.inf]])
    np.testing.assert_array_equal(draw(tmp_path, column(array)), [[0, 128, 255], [0, 255, 0]])


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
@pytest.mark.parametrize("shape", [(1, 900_001), (3, 400_000, 4), (70_000, 1), (601, 803), (400, 300, 3)])
def test_a_picture_is_written_a_few_rows_at_a_time(tmp_path, shape, dtype):
    array = (np.random.default_rng(0).random(shape) * 255).astype(dtype)
    wide = array.astype(np.float64)
    scaled = array if dtype == "uint8" else np.rint((wide - wide.min()) / np.ptp(wide) * 255)
    np.testing.assert_array_equal(draw(tmp_path, column(array)), scaled)


@pytest.mark.parametrize("value", [3.0, np.nan])
def test_a_plane_of_one_value(tmp_path, value):
    np.testing.assert_array_equal(draw(tmp_path, column(np.full((2, 2), value))), np.zeros((2, 2)))


def test_photos_stand_side_by_side(tmp_path):
    items = [f"{i}.jpg" for i in range(5)]
    sheet = draw(tmp_path, column(photos(5), items=items, bad=[3]), column(ranked(5), "best", items=items))
    grid = _draw.Grid((160, 120), 3, 2, _draw.LINES)
    assert sheet.shape == (*grid.size[::-1], 3)
    for index in range(5):
        left, top = grid.corner(index)
        tile = sheet[top : top + 120, left : left + 160]
        if index == 3:
            assert tuple(tile[0, 0]) == ImageColor.getrgb(_draw.BLANK)
            assert len(np.unique(tile)) > 3  # "unreadable" stands in it
        else:
            assert (tile == 20 * (index + 1)).all()
        below = sheet[top + 120 : top + 120 + grid.text, left : left + 160]
        assert below.min() < 160  # there is text
        assert (below[-2:] == 255).all()


def test_what_stands_under_a_photo():
    items = ["a/b/cat.jpg", "dog.jpg", "bad.jpg"]
    pictures = column(photos(3), items=items, bad=[2])
    found = captions([pictures, column(ranked(3), "best", items=items)], ["tabby cat"])
    assert found == [("tabby cat", "cat.jpg   0.50"), ("class 1", "dog.jpg   0.50"), ("", "bad.jpg")]
    assert captions([pictures], []) == [("", "cat.jpg"), ("", "dog.jpg"), ("", "bad.jpg")]
    assert captions([column(photos(1))], []) == [("", "")]


def test_all_photos_bad(tmp_path):
    sheet = draw(tmp_path, column(photos(2), items=["a.jpg", "b.jpg"], bad=[0, 1]))
    assert tuple(sheet[_draw.GAP, _draw.GAP]) == ImageColor.getrgb(_draw.BLANK)


def test_a_stack_is_a_sheet_of_one_scale(tmp_path):
    stack = np.zeros((2, 40, 30), np.float32)
    stack[0], stack[1] = 1, 2
    sheet = draw(tmp_path, column(stack), columns=2)
    grid = _draw.Grid((30, 40), 2, 1, (0, 0))
    assert sheet.shape == (*grid.size[::-1], 3)
    values = [sheet[top, left, 0] for left, top in map(grid.corner, range(2))]
    assert values == [0, 255]


def test_large_photos_become_small_tiles(tmp_path):
    sheet = draw(tmp_path, column(photos(1, 3000, 1500)))
    assert sheet.shape == (256 + 2 * _draw.GAP, 128 + 2 * _draw.GAP, 3)


def test_only_the_first_photos(tmp_path):
    sink = png(path=str(tmp_path / "p.png"), limit=3)
    views = sink.views([column(photos(5), items="abcde").meta, column(ranked(5), items="abcde").meta])
    assert [view.shape for view in views] == [(3, 120, 160, 3), (3, 2)]
    assert all(view.items == "photos" for view in views)


def test_long_names_are_shortened():
    font = _draw._font(12)
    short = _draw._shortened("a very long name of a file.jpg", font, 100)
    assert short.endswith("…")
    assert font.getlength(short) <= 100
    assert _draw._shortened("cat.jpg", font, 100) == "cat.jpg"


@pytest.mark.parametrize(
    ("metas", "words"),
    [
        ([Meta((5,), "uint8")], "expected an image"),
        ([Meta((5, 6), "complex64")], "expected an image"),
        ([Meta((5, 6, 7, 2), "uint8")], "expected an image"),
        ([Meta((0, 6), "uint8")], "expected an image"),
        ([Meta((5, 6), "uint8"), Meta((5, 1), RECORD)], "one image alone"),
        ([Meta((5, 6, 7), "uint8"), Meta((4, 1), RECORD)], "records of `top_k`"),
        ([Meta((5, 6, 7), "uint8"), Meta((5, 9), "float32")], "records of `top_k`"),
        ([Meta((20_000, 20_000), "uint8")], "at most 178,956,970 pixels"),
    ],
)
def test_what_is_no_picture(tmp_path, metas, words):
    with pytest.raises(Mismatch, match=words):
        png(path=str(tmp_path / "p.png")).views(metas)


def test_a_missing_file_of_labels(tmp_path):
    with pytest.raises(FileNotFoundError):
        png(path=str(tmp_path / "p.png"), labels=str(Path(tmp_path, "none.txt")))

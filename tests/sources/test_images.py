"""Photos against a reference written with Pillow alone, and every kind of bad file."""

import errno
import io
import pickle
import tempfile
import zlib
from pathlib import Path
from struct import pack
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image, ImageFile, ImageOps

from hpcflow.errors import BadItem, Mismatch
from hpcflow.meta import ItemSource
from hpcflow.parameters import ParameterFaults, validate
from hpcflow.regions import whole
from hpcflow.sources import _decode
from hpcflow.sources.images import images

PHOTOS = Path(__file__).parents[2] / "data" / "photos"


def reference(photo, crop, short, resample=Image.Resampling.BILINEAR):
    """torchvision's Resize and CenterCrop, in Pillow's own words."""
    width, height = photo.size
    target = (short, int(short * height / width)) if width <= height else (int(short * width / height), short)
    photo = photo.resize(target, resample)
    height, width = crop
    missing = (max(width - photo.width, 0), max(height - photo.height, 0))
    padded = Image.new(photo.mode, (photo.width + missing[0], photo.height + missing[1]))
    padded.paste(photo, (missing[0] // 2, missing[1] // 2))
    left, top = round((padded.width - width) / 2), round((padded.height - height) / 2)
    return np.asarray(padded.crop((left, top, left + width, top + height)))


def noise(height, width, channels=3, dtype=np.uint8, seed=0):
    shape = (height, width, channels) if channels > 1 else (height, width)
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)


def smooth(height, width):
    y, x = np.mgrid[:height, :width]
    planes = [127 + 120 * np.sin(x / 37 + 1), 127 + 120 * np.cos(y / 23), (x + y) * 255 / (height + width)]
    return Image.fromarray(np.stack(planes, -1).astype(np.uint8))


def only(folder, **options):
    source = images(path=str(folder), **options)
    return source.read(whole(source.meta.shape))


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    shape=st.tuples(st.integers(1, 50), st.integers(1, 50)),
    crop=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    short=st.integers(1, 40),
    mode=st.sampled_from(["RGB", "RGBA", "L", "LA", "P", "CMYK", "1"]),
    how=st.sampled_from(["bilinear", "bicubic", "nearest"]),
    orientation=st.integers(1, 8),
)
def test_any_size_and_mode_is_fitted_as_torchvision_does(tmp_path, shape, crop, short, mode, how, orientation):  # noqa: PLR0917
    photo = Image.fromarray(noise(*shape)).convert(mode)
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    file = tmp_path / ("one.tif" if mode == "CMYK" else "one.png")
    photo.save(file, exif=exif)
    (found,) = only(file, size=list(crop), resize=short, interpolation=how)
    upright = ImageOps.exif_transpose(_with_exif(photo.convert("RGB"), exif))
    np.testing.assert_array_equal(found, reference(upright, crop, short, Image.Resampling[how.upper()]))


def _with_exif(photo, exif):
    buffer = io.BytesIO()
    photo.save(buffer, "PNG", exif=exif)
    return Image.open(buffer)


@pytest.mark.parametrize("name", ["one.jpg", "one.png", "one.tif", "one.webp", "one.bmp", "one.gif", "one.avif"])
def test_every_format_gives_its_own_pixels(tmp_path, name):
    smooth(60, 90).save(tmp_path / name)
    with Image.open(tmp_path / name) as photo:
        expected = reference(photo.convert("RGB"), (32, 32), 37)
    np.testing.assert_array_equal(only(tmp_path, size=32), [expected])


def test_sixteen_bits_are_scaled_and_not_clipped(tmp_path):
    deep = noise(64, 64, channels=1, dtype=np.uint16)
    for name in ("a.png", "b.tif"):
        Image.fromarray(deep).save(tmp_path / name)
    found = only(tmp_path, size=64, resize=64)
    assert found.dtype == np.uint8
    for photo in found:
        np.testing.assert_array_equal(photo, np.repeat((deep >> 8).astype(np.uint8)[..., None], 3, axis=2))


def test_a_palette_with_transparent_entries(tmp_path):
    photo = Image.fromarray(noise(16, 16)).quantize(8)
    photo.save(tmp_path / "one.png", transparency=bytes([0, 128, 255]))
    np.testing.assert_array_equal(only(tmp_path, size=16, resize=16)[0], np.asarray(photo.convert("RGB")))


def test_grey_has_no_channel_axis(tmp_path):
    photo = Image.fromarray(noise(20, 30))
    photo.save(tmp_path / "one.png")
    source = images(path=str(tmp_path), size=8, resize=9, channels="grey")
    assert (source.meta.shape, source.meta.dims) == ((1, 8, 8), ("photo", "y", "x"))
    np.testing.assert_array_equal(source.read(whole((1, 8, 8)))[0], reference(photo.convert("L"), (8, 8), 9))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_upright_photo_is_the_same_however_the_camera_was_held(tmp_path, orientation):
    upright = smooth(1200, 1198)
    back = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # each undoes what EXIF asks for
    stored = upright.transpose(Image.Transpose(back[orientation])) if orientation > 1 else upright
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    stored.save(tmp_path / "one.jpg", exif=exif, quality=95)
    expected = reference(upright, (64, 64), 73).astype(int)
    for reduce in (True, False):
        (found,) = only(tmp_path, size=64, reduce=reduce)
        assert np.abs(found - expected).max() <= 6


def test_a_large_jpeg_is_decoded_at_a_fraction_of_its_size(tmp_path, monkeypatch):
    smooth(1600, 2400).save(tmp_path / "one.jpg", quality=95)
    exact = only(tmp_path, reduce=False).astype(int)
    monkeypatch.setattr(_decode, "MAX_PIXELS", 2400 * 1600 - 1)  # now decoding it whole is refused
    assert np.abs(only(tmp_path, reduce=True) - exact).max() <= 4
    for options in ({}, {"reduce": True, "interpolation": "nearest"}):
        with pytest.raises(BadItem, match="too large"):
            only(tmp_path, **options)


@pytest.mark.parametrize("size", [32, [31, 64], [64, 45], [10, 9]])
def test_only_what_is_cropped_is_resampled(tmp_path, monkeypatch, size):
    smooth(700, 911).save(tmp_path / "photo.jpg", quality=95)
    (found,) = only(tmp_path, size=size, resize=64, reduce=True)
    monkeypatch.setattr(_decode, "_orientation", lambda _: 0)  # neither upright nor turned: the long way
    (expected,) = only(tmp_path, size=size, resize=64, reduce=True)
    assert found.shape == expected.shape
    assert np.abs(found.astype(int) - expected).max() <= 1


@settings(max_examples=60, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 300), st.integers(1, 300)),
    mode=st.sampled_from(["RGB", "RGB", "L", "CMYK"]),
    turned=st.sampled_from([None, 1, 6, 9]),
    options=st.fixed_dictionaries(
        {
            "size": st.integers(1, 70),
            "resize": st.integers(1, 90),
            "interpolation": st.sampled_from(["bilinear", "bicubic", "nearest"]),
            "channels": st.sampled_from(["rgb", "rgb", "grey"]),
        }
    ),
    left=st.floats(0.2, 1.5),
)
def test_many_photos_are_decoded_as_few(shape, mode, turned, options, left):
    exif = Image.Exif()
    if turned is not None:
        exif[ExifTags.Base.Orientation] = turned
    saved = io.BytesIO()
    smooth(*shape).convert(mode).save(saved, "JPEG", exif=exif, progressive=shape[0] % 2 == 0)
    with tempfile.TemporaryDirectory() as folder:
        content = saved.getvalue()
        Path(folder, "one.jpg").write_bytes(content[: int(left * len(content))])
        source = images(path=folder, **options)
        few, expected = source.read_items(whole(source.meta.shape))
        with patch("hpcflow.sources.images.MANY", 1):
            many, found = source.read_items(whole(source.meta.shape))
    assert found == expected
    np.testing.assert_array_equal(many, few)


def test_damaged_exif_does_not_spoil_good_pixels(tmp_path):
    photo = smooth(40, 40)
    photo.save(tmp_path / "one.png", exif=b"Exif\x00\x00no such thing")
    np.testing.assert_array_equal(only(tmp_path, size=35)[0], reference(photo, (35, 35), 40))


def test_meta_and_regions(tmp_path):
    for index in range(5):
        Image.fromarray(noise(30, 20 + index, seed=index)).save(tmp_path / f"{index}.png")
    source = images(path=str(tmp_path), size=[16, 24])
    assert isinstance(source, ItemSource)
    assert source.meta.shape == (5, 16, 24, 3)
    assert source.meta.dims == ("photo", "y", "x", "channel")
    assert source.meta.dtype == np.uint8
    assert source.fit.resize == round(24 * 256 / 224)
    assert source.chunks == (1, 16, 24, 3)
    everything = source.read(whole(source.meta.shape))
    part = source.read(((1, 4), (2, 9), (0, 24), (1, 2)))
    np.testing.assert_array_equal(part, everything[1:4, 2:9, :, 1:2])


def tiny_bomb(side):
    """A PNG of a few bytes that claims `side` by `side` pixels."""
    chunks = [(b"IHDR", pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)), (b"IDAT", zlib.compress(bytes(1000)))]
    body = [pack(">I", len(data)) + kind + data + pack(">I", zlib.crc32(kind + data)) for kind, data in chunks]
    return b"\x89PNG\r\n\x1a\n" + b"".join(body)


@pytest.fixture
def mixed(tmp_path):
    """Good photos with every kind of bad file among them."""
    smooth(300, 400).save(tmp_path / "a.jpg")
    whole_file = (tmp_path / "a.jpg").read_bytes()
    (tmp_path / "b_truncated.jpg").write_bytes(whole_file[: len(whole_file) // 2])
    (tmp_path / "c_empty.jpg").write_bytes(b"")
    (tmp_path / "d_text.jpg").write_text("this is no photo")
    (tmp_path / "e_bomb.png").write_bytes(tiny_bomb(30_000))
    (tmp_path / "f_large.png").write_bytes(tiny_bomb(9_470))
    Image.fromarray(np.zeros((4, 4), np.float32)).save(tmp_path / "g_float.tif")
    Image.new("1", (70_000, 1)).save(tmp_path / "h_sliver.png")
    (tmp_path / "i_broken.png").symlink_to(tmp_path / "nowhere.png")
    smooth(200, 100).save(tmp_path / "z.png")
    return tmp_path


REASONS = {
    "b_truncated.jpg": "truncated",
    "c_empty.jpg": "the file is empty",
    "d_text.jpg": "not a JPEG, PNG, TIFF, WebP, BMP, GIF or AVIF image",
    "e_bomb.png": "30000 by 30000 pixels: too large to decode",
    "f_large.png": "9470 by 9470 pixels: too large to decode",
    "g_float.tif": "32-bit pixels",
    "h_sliver.png": "too large to decode",
    "i_broken.png": "no such file",
}


def test_bad_files_are_told_apart_and_cost_nothing_but_themselves(mixed):
    source = images(path=str(mixed))
    array, bad = source.read_items(whole(source.meta.shape))
    assert {Path(one.item).name: one.index for one in bad} == {name: n for n, name in enumerate(REASONS, 1)}
    for one in bad:
        assert REASONS[Path(one.item).name] in one.reason
        assert not array[one.index].any()
    for index, name in ((0, "a.jpg"), (9, "z.png")):
        with Image.open(mixed / name) as photo:
            np.testing.assert_array_equal(array[index], reference(photo.convert("RGB"), (224, 224), 256))


@pytest.mark.parametrize("name", REASONS)
def test_read_raises_for_a_bad_file(mixed, name):
    source = images(path=str(mixed / name) if "broken" not in name else str(mixed))
    with pytest.raises(BadItem) as caught:
        source.read(whole(source.meta.shape))
    assert isinstance(caught.value.reason, str)
    assert ImageFile.LOAD_TRUNCATED_IMAGES is False


def test_bad_items_are_numbered_from_the_start_of_the_array(mixed):
    source = images(path=str(mixed))
    _, bad = source.read_items(((2, 4), *whole(source.meta.shape)[1:]))
    assert [one.index for one in bad] == [2, 3]


@settings(deadline=None, max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    kind=st.sampled_from(["jpg", "png", "tif", "webp"]),
    cut=st.floats(0, 1),
    flips=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), max_size=8),
)
def test_any_damage_is_a_bad_item_or_a_picture(tmp_path, kind, cut, flips):
    buffer = io.BytesIO()
    smooth(24, 24).save(buffer, {"jpg": "JPEG", "tif": "TIFF"}.get(kind, kind.upper()))
    data = bytearray(buffer.getvalue()[: int(cut * len(buffer.getvalue()))])
    for where, value in flips:
        if data:
            data[int(where * (len(data) - 1))] = value
    (tmp_path / f"one.{kind}").write_bytes(bytes(data))
    source = images(path=str(tmp_path / f"one.{kind}"), size=8)
    array, bad = source.read_items(whole(source.meta.shape))
    assert array.shape == (1, 8, 8, 3)
    assert len(bad) <= 1


def test_a_failing_disk_is_not_bad_data(mixed, monkeypatch):
    def fail(*_, **__):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(_decode, "_opened", fail)
    with pytest.raises(OSError, match="Input/output error"):
        images(path=str(mixed)).read_items(((0, 1), (0, 1), (0, 1), (0, 1)))


def test_which_files_are_photos(tmp_path):
    for name in ("b.JPG", "a.jpeg", ".hidden.jpg", "notes.md", "sub/c.webp"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "folder.jpg").mkdir()

    def names(path):
        return [Path(item).relative_to(tmp_path).as_posix() for item in images(path=str(path)).items]

    assert names(tmp_path) == ["a.jpeg", "b.JPG", "sub/c.webp"]
    assert names(tmp_path / "*") == ["a.jpeg", "b.JPG"]
    assert names(tmp_path / "**" / "*") == ["a.jpeg", "b.JPG", "sub/c.webp"]
    assert names(tmp_path / "a.jpeg") == ["a.jpeg"]
    (tmp_path / "list.txt").write_text("\ufeffsub/c.webp\n\n# the next is missing\nmissing.png\na.jpeg\n", "utf-8")
    assert names(tmp_path / "list.txt") == ["sub/c.webp", "missing.png", "a.jpeg"]


def test_a_relative_path_is_shown_as_it_was_given_and_read_from_anywhere(tmp_path, monkeypatch):
    (tmp_path / "photos").mkdir()
    Image.fromarray(noise(9, 9)).save(tmp_path / "photos" / "one[1].png")
    monkeypatch.chdir(tmp_path)
    sources = [images(path=path, size=4) for path in ("photos", "photos/*", "photos/one[1].png")]
    monkeypatch.chdir("/")
    for source in sources:
        assert source.items == ("photos/one[1].png",)
        assert source.read(whole(source.meta.shape)).any()


def test_no_photos(tmp_path):
    for path in ("missing", "missing/*.jpg", "missing.txt"):
        with pytest.raises(FileNotFoundError) as caught:
            images(path=str(tmp_path / path))
        assert caught.value.filename == str(tmp_path / path)
    with pytest.raises(Mismatch, match="found none") as wrong:
        images(path=str(tmp_path))
    assert wrong.value.parameter == "path"


def test_identity_follows_the_files_and_the_fit(tmp_path):
    photo = Image.fromarray(noise(9, 9))
    photo.save(tmp_path / "a.png")
    before = images(path=str(tmp_path)).identity
    assert images(path=str(tmp_path)).identity == before
    assert images(path=str(tmp_path), size=100).identity != before
    photo.save(tmp_path / "b.png")
    after = images(path=str(tmp_path)).identity
    assert after != before
    (tmp_path / "b.png").write_bytes(b"changed")
    assert images(path=str(tmp_path)).identity != after


def test_the_state_of_a_block_follows_its_own_photos(tmp_path):
    for name in ("a.png", "b.png"):
        Image.fromarray(noise(9, 9)).save(tmp_path / name)
    source = images(path=str(tmp_path))
    frame = whole(source.meta.shape)[1:]
    before = [source.state(((i, i + 1), *frame)) for i in range(2)]
    (tmp_path / "b.png").unlink()
    after = [source.state(((i, i + 1), *frame)) for i in range(2)]
    assert after[0] == before[0]
    assert after[1] != before[1]


def test_it_pickles_small_and_without_pixels(tmp_path):
    (tmp_path / "list.txt").write_text("".join(f"{index:06}.jpg\n" for index in range(10_000)))
    source = images(path=str(tmp_path / "list.txt"))
    data = pickle.dumps(source)
    assert pickle.loads(data) == source
    assert len(data) < 10_000 * (len(str(tmp_path)) + 20)


@pytest.mark.parametrize("size", [0, [224], [1, 2, 3], "224"])
def test_sizes_that_are_none(size):
    with pytest.raises(ParameterFaults):
        validate(images, {"path": "photos", "size": size})

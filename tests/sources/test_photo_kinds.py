"""Which files are photos, told by what is in them; what holds more than a photo does; and what is no file at all."""

import os
import socket
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import ExifTags, Image, PngImagePlugin
from typer.testing import CliRunner

from hpcflow.cli import app
from hpcflow.errors import Mismatch
from hpcflow.regions import whole
from hpcflow.sources import _decode
from hpcflow.sources.images import images
from hpcflow.spec.validate import loads


def photo(seed=0, side=16):
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (side, side, 3), np.uint8))


def read(source):
    array, bad = source.read_items(whole(source.meta.shape))
    return array, {Path(one.item).name: one.reason for one in bad}


def as_stored(image, channels="rgb"):
    return np.asarray(image.convert("RGB" if channels == "rgb" else "L"))


KINDS = {
    "a.jfif": "JPEG",
    "b.bmp": "BMP",
    "c.gif": "GIF",
    "d.avif": "AVIF",
    "e.TIF": "TIFF",
    "f": "PNG",
    "g.php": "JPEG",
    "photo?id=1": "PNG",
    "x.jpg!large": "WEBP",
    "deep/er/h.data": "BMP",
}


def test_photos_are_known_by_what_is_in_them(tmp_path):
    for name, kind in KINDS.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        photo().save(tmp_path / name, kind)
    for name, text in {
        "BM.txt": b"BM: some bitmaps that are none of them",
        "notes.md": b"",
        "x.csv": b"a,b\n1,2\n",
    }.items():
        (tmp_path / name).write_bytes(text)
    (tmp_path / ".hidden").write_bytes(b"")
    (tmp_path / "manifest.parquet").write_bytes(b"PAR1")
    (tmp_path / "loop").symlink_to(tmp_path)
    source = images(path=str(tmp_path), size=16, resize=16)
    assert [Path(item).relative_to(tmp_path).as_posix() for item in source.items] == sorted(KINDS)
    assert source.notes == (
        "expected photos alone, found 3 files that are none and are left out: `BM.txt`, `notes.md`, `x.csv`",
    )
    array, bad = read(source)
    assert not bad
    for item, found in zip(source.items, array, strict=True):
        with Image.open(item) as stored:
            np.testing.assert_array_equal(found, as_stored(stored), err_msg=item)


def test_check_says_what_is_left_out(tmp_path):
    photo().save(tmp_path / "a.png")
    (tmp_path / "b.heic").write_bytes(b"\0\0\0\x18ftypheic")
    (tmp_path / "f.yaml").write_text(
        f"flow: f\nsources: {{p: {{from: images, path: {tmp_path}}}}}\nsinks: {{p: {{to: npy, of: p, path: p.npy}}}}\n"
    )
    result = CliRunner().invoke(app, ["check", str(tmp_path / "f.yaml")])
    assert result.exit_code == 0
    assert "f.yaml:2:35: warning: expected photos alone, found 2 files" in result.stderr
    assert "`b.heic`, `f.yaml`" in result.stderr


@pytest.mark.parametrize("kind", ["stack.tif", "a.gif", "a.webp", "a.png", "a.avif"])
def test_several_pictures_are_no_photo(kind, tmp_path):
    path = tmp_path / kind
    if kind == "stack.tif":
        tifffile.imwrite(path, np.zeros((40, 8, 8), "u2"), photometric="minisblack")
    else:
        photo().save(path, save_all=True, append_images=[photo(1), photo(2)], duration=40)
    count = 40 if kind == "stack.tif" else 3
    with pytest.raises(Mismatch, match=rf"found {count} pages or frames, where a photo has one: .*tiff") as refused:
        images(path=str(path))
    assert refused.value.parameter == "path"
    photo().save(tmp_path / "z.jpg")
    _, bad = read(images(path=str(tmp_path)))
    assert list(bad) == [kind]
    assert f"{count} pages or frames" in bad[kind]


def test_a_picture_with_smaller_copies_of_itself_is_a_photo(tmp_path):
    values = np.asarray(photo())
    with tifffile.TiffWriter(tmp_path / "a.tif") as tif:
        tif.write(values, photometric="rgb", subfiletype=0)
        tif.write(values[::2, ::2], photometric="rgb", subfiletype=1)
    photo().save(tmp_path / "b.jpg", "MPO", save_all=True, append_images=[photo(1)])
    array, bad = read(images(path=str(tmp_path), size=16, resize=16))
    assert not bad
    np.testing.assert_array_equal(array[0], values)


@pytest.mark.parametrize("channels", ["rgb", "grey"])
def test_sixteen_bits_are_said_and_scaled_whatever_white_is(channels, tmp_path):
    deep = np.random.default_rng(0).integers(0, 2**16, (16, 16), np.uint16)
    colours = np.random.default_rng(0).integers(0, 2**16, (16, 16, 3), np.uint16)
    tifffile.imwrite(tmp_path / "black.tif", deep, photometric="minisblack")
    tifffile.imwrite(
        tmp_path / "planes.tif", colours.transpose(2, 0, 1).copy(), photometric="rgb", planarconfig="separate"
    )
    tifffile.imwrite(tmp_path / "together.tif", colours, photometric="rgb")
    tifffile.imwrite(tmp_path / "white.tif", ~deep, photometric="miniswhite")
    Image.fromarray(deep).save(tmp_path / "x.png")
    source = images(path=str(tmp_path), size=16, resize=16, channels=channels)
    assert source.notes == ("expected 8 bits a channel, found 16 in 5 of the photos: they are scaled to 8",)
    array, bad = read(source)
    assert list(bad) == ["planes.tif"]
    assert "16 bits in separate planes" in bad["planes.tif"]
    grey, colour = Image.fromarray((deep >> 8).astype("u1")), Image.fromarray((colours >> 8).astype("u1"))
    for index, right in {0: grey, 2: colour, 3: grey, 4: grey}.items():
        np.testing.assert_array_equal(array[index], as_stored(right, channels))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_mode_and_orientation_is_pillow_s(mode, orientation, tmp_path):
    image = photo().convert(mode)
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    name = "a.tif" if mode in ("CMYK", "PA") else "a.png"
    try:
        image.save(tmp_path / name, exif=exif)
    except OSError:
        pytest.skip(f"Pillow writes no {mode}")
    turned = {2: 0, 3: 3, 4: 1, 5: 5, 6: 4, 7: 6, 8: 2}
    for channels in ("rgb", "grey"):
        array, bad = read(images(path=str(tmp_path / name), size=16, resize=16, channels=channels))
        assert not bad
        upright = image.transpose(Image.Transpose(turned[orientation])) if orientation > 1 else image
        right = upright.convert("RGBA").convert("RGB" if channels == "rgb" else "L") if mode in ("P", "PA") else upright
        np.testing.assert_array_equal(array[0], as_stored(right, channels))


def test_a_photo_of_many_megapixels_is_read_where_the_flow_says_so(tmp_path):
    image = Image.new("RGB", (12_000, 9_000), (9, 99, 199))
    image.save(tmp_path / "phone.jpg", quality=95)
    _, bad = read(images(path=str(tmp_path)))
    assert "12000 by 9000 pixels: too large to decode; `max_pixels: 108000000` allows it" in bad["phone.jpg"]
    assert "`reduce: true`" in bad["phone.jpg"]
    for given in ({"max_pixels": 108_000_000}, {"reduce": True}):
        array, bad = read(images(path=str(tmp_path), **given))
        assert not bad
        assert np.abs(array.astype(int) - [9, 99, 199]).max() <= 2
    flow = "flow: f\nsources: {{p: {{from: images, path: {}{}}}}}\nsinks: {{p: {{to: npy, of: p, path: p.npy}}}}\n"
    from hpcflow import plan  # noqa: PLC0415

    plain, large = (
        plan(loads(flow.format(tmp_path, more)), cluster="synchronous", memory="8GiB")
        for more in ("", ", max_pixels: 108000000")
    )
    assert large.task_memory - plain.task_memory >= 8 * (108_000_000 - _decode.MAX_PIXELS)


def test_metadata_of_megabytes(tmp_path):
    exif = Image.Exif()
    exif[ExifTags.Base.ImageDescription] = "x" * 60_000
    photo().save(tmp_path / "a.jpg", exif=exif, icc_profile=os.urandom(3_000_000), comment=b"c" * 60_000)
    photo().save(tmp_path / "b.png", icc_profile=bytes(900_000), exif=exif)
    text = PngImagePlugin.PngInfo()
    text.add_text("Comment", "x" * 3_000_000, zip=True)
    photo().save(tmp_path / "c.png", pnginfo=text)
    array, bad = read(images(path=str(tmp_path), size=16, resize=16))
    assert list(bad) == ["c.png"]
    assert "its metadata is too large" in bad["c.png"]
    assert "MAX_TEXT_CHUNK" in bad["c.png"]
    np.testing.assert_array_equal(array[1], np.asarray(photo()))


def test_what_is_no_file_is_a_bad_item(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    photo().save("good.jpg")
    Path("round.jpg").symlink_to("round.jpg")
    Path("folder.jpg").mkdir()
    os.mkfifo("pipe.jpg")
    with socket.socket(socket.AF_UNIX) as one:
        one.bind("socket.jpg")
    lines = ["good.jpg", "good.jpg/below.jpg", "round.jpg", "folder.jpg", "pipe.jpg", "socket.jpg", "missing.jpg",
             "x" * 300 + ".jpg", "data:image/png;base64," + "iVBORw0KGgo" * 1000, "good.jpg"]  # fmt: skip
    Path("list.txt").write_text("\n".join(lines) + "\n")
    Path("f.yaml").write_text(
        "flow: f\nsources: {p: {from: images, path: list.txt, size: 16}}\n"
        "steps: {m: {op: mean, of: p, axis: [y, x, channel]}}\n"
        "sinks: {m: {to: csv, of: m, path: m.csv}}\n"
    )
    result = CliRunner().invoke(app, ["run", "f.yaml", "--cluster", "synchronous", "--max-bad", "90%"])
    assert result.exit_code == 3, result.output
    rows = Path("m.csv").read_text().splitlines()
    assert len(rows) == len(lines) + 1
    told = [*rows, *result.output.splitlines(), *Path("runs/f/report.json").read_text().splitlines()]
    assert max(map(len, told)) < 1000
    assert [row.endswith(",") for row in rows[1:]] == [False, *[True] * 8, False]

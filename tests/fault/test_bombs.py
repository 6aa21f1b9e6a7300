"""Chunks of Zarr that hold gigabytes where their array says a few numbers: none takes more memory than it says."""

import bz2
import gzip
import lzma
import os
import struct
import subprocess
import sys
import zipfile
import zlib

import google_crc32c
import numcodecs
import numpy as np
import pytest
import zarr

from hpcflow.sources.zarr import zarr as source

SIZE = 2**31 - 2**16
"""Bytes that a chunk of 1 MiB makes."""
NUMBERS = np.arange(2.0**18)
ZSTD = b"\x28\xb5\x2f\xfd"
READ = """
import re, sys
import hpcflow.sources.zarr as zarr
found = zarr.zarr(path=sys.argv[1], missing="fill")
try:
    found.read(((2**17, 2**18),))
except BaseException as error:
    print(type(error).__name__, str(error).splitlines()[0])
print(int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) >> 10)
"""
"""Prints how reading the second chunk ends, and the most memory that it took, in MiB."""


def streamed():
    """A frame of Zstandard that does not say how much it holds: blocks that repeat a byte."""
    block = (2**17 << 3 | 1 << 1).to_bytes(3, "little") + b"\0"
    return ZSTD + b"\x00\x38" + block * (SIZE >> 17) + b"\x01\x00\x00"


BOMBS = {
    "gzip": lambda: gzip.compress(bytes(2**24)) * (SIZE >> 24),
    "zlib": lambda: zlib.compress(bytes(2**29), 9),
    "bz2": lambda: bz2.compress(bytes(2**24)) * (SIZE >> 24),
    "lzma": lambda: lzma.compress(bytes(2**24)) * (SIZE >> 24),
    "zstd": lambda: ZSTD + b"\xa0" + SIZE.to_bytes(4, "little") + streamed()[6:],
    "zstd-streamed": streamed,
    "zstd-skipped": lambda: b"\x50\x2a\x4d\x18\x04\0\0\0skip" + streamed(),
    "zstd-after": lambda: bytes(numcodecs.Zstd().encode(bytes(64))) + streamed(),
    "zstd-lying": lambda: ZSTD + b"\xa0" + (64).to_bytes(4, "little") + streamed()[6:] + streamed(),
    "lz4": lambda: struct.pack("<I", SIZE) + b"\x1f\x00\x01\x00" + b"\xff" * 2**20,
    "blosc": lambda: struct.pack("<BBBBIII", 2, 1, 1, 1, SIZE, 2**20, 16),
}


def array(store, kind, version, **given):
    """Numbers in two chunks."""
    name = kind.partition("-")[0]
    codec = numcodecs.get_codec({"id": name})
    if version == 3:
        theirs = {"lz4": "LZ4", "bz2": "BZ2", "lzma": "LZMA", "zlib": "Zlib"}
        ours = {"gzip": zarr.codecs.GzipCodec, "zstd": zarr.codecs.ZstdCodec, "blosc": zarr.codecs.BloscCodec}
        codec = (ours.get(name) or getattr(zarr.codecs.numcodecs, theirs[name]))()
    given = {"compressors": codec, "chunks": (2**17,), "zarr_format": version, **given}
    zarr.create_array(store, shape=NUMBERS.shape, dtype="f8", **given)[:] = NUMBERS


def read_within_bounds(path, expected):
    done = subprocess.run([sys.executable, "-c", READ, str(path)], capture_output=True, text=True, check=False)
    said, peak = done.stdout.splitlines()
    assert said.startswith(f"RunError cannot read [(131072, 262144)] of `{path}`"), done
    assert expected in said
    assert int(peak) < 300


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("kind", BOMBS)
def test_a_chunk_makes_no_more_than_its_array_says(kind, version, tmp_path):
    path = tmp_path / "a.zarr"
    array(path, kind, version)
    np.testing.assert_array_equal(source(path=str(path)).read(((0, 2**18),)), NUMBERS)
    (path / ("c/1" if version == 3 else "1")).write_bytes(BOMBS[kind]())
    read_within_bounds(path, "decompressed, found more")


@pytest.mark.filterwarnings("ignore")
def test_a_filter_of_version_2_makes_no_more_than_its_array_says(tmp_path):
    array(tmp_path / "a.zarr", "gzip", 2, filters=[numcodecs.Delta("f8"), numcodecs.Zlib()], compressors=None)
    np.testing.assert_array_equal(source(path=str(tmp_path / "a.zarr")).read(((0, 2**18),)), NUMBERS)
    (tmp_path / "a.zarr/1").write_bytes(BOMBS["zlib"]())
    read_within_bounds(tmp_path / "a.zarr", "decompressed, found more")


def test_a_chunk_of_a_shard_makes_no_more_than_its_array_says(tmp_path):
    path = tmp_path / "a.zarr"
    array(path, "gzip", 3, chunks=(2**16,), shards=(2**17,))
    np.testing.assert_array_equal(source(path=str(path)).read(((0, 2**18),)), NUMBERS)
    bomb = BOMBS["gzip"]()
    index = struct.pack("<4Q", 0, len(bomb), 0, len(bomb))
    (path / "c/1").write_bytes(bomb + index + struct.pack("<I", google_crc32c.value(index)))
    read_within_bounds(path, "decompressed, found more")


@pytest.mark.parametrize("version", [2, 3])
def test_a_chunk_takes_no_more_of_a_folder_than_it_can_have(version, tmp_path):
    array(tmp_path / "a.zarr", "gzip", version)
    os.truncate(tmp_path / "a.zarr" / ("c/1" if version == 3 else "1"), 2**33)
    read_within_bounds(tmp_path / "a.zarr", "found 8.0 GiB")


@pytest.mark.parametrize("packed", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_member_of_an_archive_takes_no_more_than_it_can_have(packed, tmp_path):
    path = tmp_path / "a.zip"
    with zarr.storage.ZipStore(path, mode="w", compression=packed) as store:
        array(store, "gzip", 3)
    np.testing.assert_array_equal(source(path=str(path)).read(((0, 2**18),)), NUMBERS)
    content = {}
    with zipfile.ZipFile(path) as file:
        content = {name: file.read(name) for name in file.namelist()}
    with zipfile.ZipFile(path, "w", packed) as file:
        for name, one in content.items():
            file.writestr(name, bytes(2**28) if name == "c/1" else one)
    read_within_bounds(path, "found 256 MiB")
    # The same, where the archive says that it has 64 bytes.
    size, said = struct.pack("<I", 2**28), struct.pack("<I", 64)
    whole = path.read_bytes()
    start = whole.rindex(b"PK\x01\x02", 0, whole.rindex(b"c/1"))
    path.write_bytes(whole[:start] + whole[start:].replace(size, said))
    read_within_bounds(path, "")


def test_frames_of_zstandard_that_do_not_say_how_much_they_hold_are_read(tmp_path):
    array(tmp_path / "a.zarr", "zstd", 3)
    # More blocks than a chunk of full ones has.
    content, half = NUMBERS[2**17 :].tobytes(), 2**9
    blocks = b"".join((half << 3).to_bytes(3, "little") + content[at : at + half] for at in range(0, 2**20, half))
    (tmp_path / "a.zarr/c/1").write_bytes(ZSTD + b"\x00\x38" + blocks + b"\x01\x00\x00")
    np.testing.assert_array_equal(source(path=str(tmp_path / "a.zarr")).read(((0, 2**18),)), NUMBERS)
    tight = numcodecs.Zstd().encode(b"abcd" * 16)
    assert tight[:5] == ZSTD + b"\x20"
    block = (int.from_bytes(tight[6:9], "little") & ~1).to_bytes(3, "little") + tight[9:]
    (tmp_path / "a.zarr/c/1").write_bytes(ZSTD + b"\x00\x38" + block * 2**14 + b"\x01\x00\x00")
    assert source(path=str(tmp_path / "a.zarr")).read(((2**17, 2**18),)).tobytes() == b"abcd" * 2**18

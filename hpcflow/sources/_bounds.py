"""Decoders of Zarr's chunks that make no more than a chunk can hold: its bytes may say otherwise."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zlib
from collections.abc import Callable, Iterable
from functools import cached_property, lru_cache
from math import prod
from typing import Any

import numpy as np

from hpcflow.errors import RunError
from hpcflow.regions import Shape
from hpcflow.sizes import show_size

SLACK = 2**18
"""Bytes that a chunk may have beyond its numbers: headers, checksums."""
_EACH = 512
"""Bytes of a shard for each of its chunks, beyond their numbers: headers, and the index."""
_WIDEST = 32
"""Bytes of a number between filters, which may make others of them."""
_BLOCK = 2**17
"""Bytes that a compressed block of Zstandard may hold."""
_FRAME, _SKIPPED = 0xFD2FB528, 0x184D2A50
"""With what frames of Zstandard begin."""
_COMPILED = {"blosc": slice(4, 8), "lz4": slice(0, 4)}
"""Where a chunk says how many bytes its decoder is to make, which makes no more."""


def bound(array: Any) -> int:
    """Bound the decoders of an open array.

    Returns
    -------
    int
        The bytes that one of its stored objects, a chunk or a shard, can have.
    """
    codecs = array._async_array.codec_pipeline  # noqa: SLF001  (there is no public way to an open array's decoders)
    return _bound(codecs, getattr(array, "shards", None) or array.chunks, array.dtype.itemsize)


def _bound(codecs: Iterable[Any], shape: Shape, itemsize: int) -> int:
    """Bound the decoders of a chunk or a shard of `shape`, those of its chunks within."""
    from zarr.abc.codec import ArrayArrayCodec  # noqa: PLC0415  (half a second)
    from zarr.codecs import ShardingCodec, TransposeCodec  # noqa: PLC0415

    codecs, count = list(codecs), 1
    for codec in codecs:
        if isinstance(codec, ShardingCodec):
            _bound(codec.codecs, codec.chunk_shape, itemsize)
            count = prod(-(-n // max(c, 1)) for n, c in zip(shape, codec.chunk_shape, strict=True))
        filtered = isinstance(codec, ArrayArrayCodec) and not isinstance(codec, TransposeCodec)
        if filtered or getattr(codec, "filters", None):
            itemsize = max(itemsize, _WIDEST)
    size = prod(shape) * itemsize
    most = size + size // 8 + _EACH * count + SLACK
    for codec in codecs:
        _replace(codec, size, most)
    return most


def _replace(codec: Any, size: int, most: int) -> None:
    """Put bounded decoders where one of Zarr's codecs keeps those of numcodecs."""
    from numcodecs.abc import Codec  # noqa: PLC0415  (with Zarr)

    members = [member for kind in type(codec).__mro__ for member in vars(kind).items()]
    for name in ["compressor", *(name for name, one in members if isinstance(one, cached_property))]:
        if isinstance(one := getattr(codec, name, None), Codec):
            object.__setattr__(codec, name, _bounded()(one, size, most))
    if getattr(codec, "filters", None):
        object.__setattr__(codec, "filters", tuple(_bounded()(one, size, most) for one in codec.filters))


@lru_cache(maxsize=1)
def _bounded() -> Any:
    """The class of bounded decoders; made when Zarr is there."""
    from numcodecs.abc import Codec  # noqa: PLC0415

    class Bounded(Codec):  # type: ignore[misc]
        """A codec of numcodecs, whose chunks have `size` bytes as numbers, and hold at most `most`."""

        def __init__(self, codec: Any, size: int, most: int) -> None:
            self.codec, self.size, self.most = codec, size, most

        def encode(self, buf: Any) -> Any:
            return self.codec.encode(buf)

        def decode(self, buf: Any, out: Any = None) -> Any:
            return decoded(self.codec, buf, self.size, self.most, out)

    return Bounded


def decoded(codec: Any, content: Any, size: int, most: int, out: Any = None) -> Any:
    """Decode a chunk with a codec of numcodecs.

    Raises
    ------
    RunError
        Where it holds more than `most` bytes.
    """
    name = codec.codec_id
    data = memoryview(content).cast("B") if name in {*_COMPILED, *_STREAMED, "zlib", "zstd"} else content
    if name in _COMPILED:
        _expect(int.from_bytes(data[_COMPILED[name]], "little"), most)
    elif name == "zstd":
        said, blocks = _zstd(data)
        if said is None and blocks > most:  # small blocks may be less than they can be
            try:
                return codec.decode(content, np.empty(size, "u1"))
            except RuntimeError:
                _expect(blocks, most)
        _expect(said or 0, most)
    elif name == "zlib":
        stream = zlib.decompressobj()
        made = stream.decompress(data, most + 1)
        _expect(len(made), most)
        if not stream.eof:
            raise RunError("expected a whole stream of zlib, found a part of one")
        return made
    elif name in _STREAMED:
        with _STREAMED[name](io.BytesIO(data), codec) as file:
            made = file.read(most + 1)
        _expect(len(made), most)
        return made
    return codec.decode(content, out)


_STREAMED: dict[str, Callable[[io.BytesIO, Any], Any]] = {
    "gzip": lambda file, _: gzip.GzipFile(fileobj=file),
    "bz2": lambda file, _: bz2.BZ2File(file),
    "lzma": lambda file, codec: lzma.LZMAFile(file, format=codec.format, filters=codec.filters),  # noqa: SIM115
}


def _expect(size: int, most: int) -> None:
    if size > most:
        raise RunError(f"expected a chunk that holds at most {show_size(most)} decompressed, found more")


def _zstd(data: memoryview) -> tuple[int | None, int]:
    """How many bytes frames of Zstandard say that they hold, where all do, and how many their blocks can hold."""
    said: int | None = 0
    most = at = 0
    while at + 8 < len(data):
        magic = int.from_bytes(data[at : at + 4], "little")
        if magic & ~15 == _SKIPPED:
            at += 8 + int.from_bytes(data[at + 4 : at + 8], "little")
            continue
        if magic != _FRAME:
            raise RunError("expected frames of Zstandard, found something else")
        flags, window = data[at + 4], data[at + 5]
        whole = flags >> 5 & 1
        start = at + 6 - whole + (0, 1, 2, 4)[flags & 3]
        width = (whole, 2, 4, 8)[flags >> 6]
        size = int.from_bytes(data[start : start + width], "little") + 256 * (width == 2)
        said = said + size if width and said is not None else None
        largest = _BLOCK if whole else min((1 << 7 + (window >> 3)) * (8 + (window & 7)), _BLOCK)
        at, last = start + width, False
        while not last and at + 3 <= len(data):
            block = int.from_bytes(data[at : at + 3], "little")
            last, kind, size = bool(block & 1), block >> 1 & 3, block >> 3
            most += largest if kind == 2 else size
            at += 3 + (1 if kind == 1 else size)
        at += 4 * (flags >> 2 & 1)
    return said, most

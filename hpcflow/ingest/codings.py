"""Bodies with their content coding undone, in pieces of bounded size."""

from __future__ import annotations

import zlib
from collections.abc import AsyncIterator, Iterator
from typing import Any

from hpcflow.ingest.failures import Failure

CODINGS = ("gzip", "x-gzip", "deflate")
"""Content codings that are undone, though none is asked for; what comes in others is kept as it is."""
PIECE = 2**18
"""Bytes that a decompressor gives at a time."""


def decoded(pieces: AsyncIterator[bytes], encoding: str) -> AsyncIterator[bytes]:
    """The body with its Content-Encoding undone, in pieces of bounded size."""
    return _inflated(pieces, encoding) if encoding else pieces


async def _inflated(pieces: AsyncIterator[bytes], encoding: str) -> AsyncIterator[bytes]:
    decoder = Inflate(encoding)
    try:
        async for piece in pieces:
            for plain in decoder.feed(piece):
                yield plain
        decoder.end()
    except zlib.error as error:
        raise Failure(f"its {encoding} encoding is damaged: {error}", again=True) from None


class Inflate:
    """Undoes `gzip`, of one member or several, and `deflate`, with its header or without."""

    def __init__(self, encoding: str) -> None:
        self._deflate = encoding == "deflate"
        self._decoder: Any = None

    def feed(self, piece: bytes) -> Iterator[bytes]:
        """What comes out for some bytes that go in, never much at a time."""
        while piece:
            if self._decoder is None or self._decoder.eof:
                raw = self._deflate and not (piece[0] & 15 == 8 and int.from_bytes(piece[:2].ljust(2), "big") % 31 == 0)
                self._decoder = zlib.decompressobj(-15 if raw else 15 if self._deflate else 31)
            plain = self._decoder.decompress(piece, PIECE)
            if plain:
                yield plain
            piece = self._decoder.unconsumed_tail or self._decoder.unused_data
            if not piece and len(plain) == PIECE:
                # The input is used up, but more may wait inside.
                while more := self._decoder.decompress(b"", PIECE):
                    yield more

    def end(self) -> None:
        """Hold the end of the input against the end of the stream."""
        if self._decoder is None or not self._decoder.eof:
            raise zlib.error("it breaks off")

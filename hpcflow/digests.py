"""Hashes of bytes: what a receipt says of a block. They find accidents, not attackers."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import numpy as np
import xxhash

from hpcflow.namespace import Array


def digest(parts: Iterable[Any]) -> str:
    """The hash of some buffers, one after another."""
    state = xxhash.xxh3_128()
    for part in parts:
        state.update(part)
    return str(state.hexdigest())


def digest_file(path: str) -> str:
    """The hash of a file, read piece by piece."""
    with open(path, "rb", buffering=0) as file:  # noqa: PTH123  (a path object for each chunk is not free)
        return digest(iter(lambda: file.read(1 << 22), b""))


def digest_array(array: Array) -> str:
    """The hash of an array's elements in C order."""
    return digest([buffer(array)])


PIECE = 2**20
"""Bytes of an array whose rows lie apart that are brought together at once."""


def update(state: Any, array: Array) -> None:
    """Take an array's elements, in C order, into a hash."""
    if array.flags.c_contiguous or array.nbytes <= PIECE or array.ndim == 0:
        state.update(buffer(array))
        return
    rows = max(1, PIECE * len(array) // array.nbytes)
    for start in range(0, len(array), rows):
        state.update(buffer(array[start : start + rows]))


def buffer(array: Array) -> Any:
    """An array's elements in C order, as bytes; copied only where they do not lie so."""
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data


def digest_json(value: Any) -> str:
    """The hash of JSON values; the order of keys does not matter."""
    return digest([json.dumps(value, sort_keys=True, default=str).encode()])

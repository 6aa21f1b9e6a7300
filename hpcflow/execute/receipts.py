"""Receipts: what a worker leaves behind for every block it finished.

That a chunk exists proves nothing: a kill leaves torn files, and something else may have
written there. So a worker first writes a block's bytes and then appends a receipt with their
hash. A later run believes a receipt only where the bytes on disk still have that hash and the
inputs are as they were; so nothing has to be synced for a receipt to be safe.

Each process appends to a file of its own, one line for a receipt, each with a checksum of its
own: what a kill or a bad sector tore off is dropped, and that block is computed again.
"""

from __future__ import annotations

import base64
import json
import os
import socket
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import xxhash

from hpcflow.digests import digest_json
from hpcflow.meta import Bad
from hpcflow.planning.stages import Stage
from hpcflow.registry import Partial, call, get_op

VERSION = 2
"""Raised when what a block's bytes depend on changes in hpcflow itself."""


@dataclass(frozen=True)
class Receipt:
    """One finished block."""

    number: int
    outputs: Mapping[str, str]
    """The hash of what was stored, by the target's path."""
    inputs: Mapping[str, tuple[str, str]]
    """For each source: the state it was in, and the hash of what was read of it."""
    partials: Mapping[str, Partial] = field(default_factory=dict)
    bad: tuple[Bad, ...] = ()

    def line(self) -> bytes:
        """As it stands in the journal: checksum, then JSON."""
        record = {
            "block": self.number,
            "outputs": dict(self.outputs),
            "inputs": dict(self.inputs),
            "partials": {name: [_pack(a) for a in arrays] for name, arrays in self.partials.items()},
            "bad": [[b.source, b.index, b.item, b.reason] for b in self.bad],
        }
        text = json.dumps(record, separators=(",", ":")).encode()
        return xxhash.xxh3_64_hexdigest(text).encode() + b" " + text + b"\n"


def parse(line: bytes) -> Receipt | None:
    """The receipt of a journal's line; `None` where the line is not whole."""
    checksum, _, text = line.rstrip(b"\n").partition(b" ")
    if not line.endswith(b"\n") or xxhash.xxh3_64_hexdigest(text).encode() != checksum:
        return None
    record = json.loads(text)
    return Receipt(
        record["block"],
        record["outputs"],
        {name: (state, content) for name, (state, content) in record["inputs"].items()},
        {name: tuple(_unpack(*packed) for packed in arrays) for name, arrays in record["partials"].items()},
        tuple(Bad(*one) for one in record["bad"]),
    )


def _pack(array: Any) -> list[Any]:
    array = np.ascontiguousarray(array)
    return [array.dtype.str, list(array.shape), base64.b64encode(array.tobytes()).decode()]


def _unpack(dtype: str, shape: list[int], content: str) -> Any:
    return np.frombuffer(base64.b64decode(content), dtype).reshape(shape)


def append(folder: str, run: str, receipts: list[Receipt]) -> None:
    """Add receipts to this process's own journal of one run, in one write."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    with Path(folder, f"{run}-{socket.gethostname()}-{os.getpid()}.jsonl").open("ab", buffering=0) as journal:
        journal.write(b"".join(receipt.line() for receipt in receipts))


def read(folder: Path) -> Iterator[Receipt]:
    """Every receipt in a folder that is whole; one block may have several."""
    for path in sorted(folder.glob("*.jsonl")):
        with path.open("rb") as file:
            for line in file:
                receipt = parse(line)
                if receipt is not None:
                    yield receipt


def stage_key(stage: Stage) -> str:
    """The hash of everything a stage's bytes depend on but its inputs' content.

    Names of nodes, paths and the number of workers are not part of it.
    """
    names = {name: str(i) for i, name in enumerate([*stage.program.inputs, *(s.name for s in stage.program.steps)])}

    def applied(op: str, of: tuple[str, ...], params: Mapping[str, Any], prepared: Any = None) -> list[Any]:
        # An expression names its nodes, so its text is only comparable together with them.
        one = get_op(op)
        named = list(of) if one.inputs is not None else []
        other = None if one.identity is None else call(one.identity, (), params)
        return [op, one.version, [names[name] for name in of], named, dict(params), other, prepared]

    return digest_json(
        {
            "version": VERSION,
            "packages": _versions(),
            "inputs": [[str(meta.dtype), meta.shape] for meta in stage.program.inputs.values()],
            "steps": [applied(step.op, step.of, step.params, step.prepared) for step in stage.program.steps],
            "reduces": [applied(reduce.op, (reduce.of,), reduce.params) for reduce in stage.reduces],
            "writes": [[names[w.node], _layout(w.target)] for w in stage.writes],
            "blocks": [stage.domain, stage.block, stage.tile, stage.compiled],
        }
    )


def _layout(target: Any) -> dict[str, Any]:
    """How a target stores its bytes: dtype, chunks, codec; not where."""
    return {name: value for name, value in asdict(target).items() if name != "path"}


@cache
def _versions() -> dict[str, str]:
    return {name: version(name) for name in ("numpy", "scipy", "numba", "opencv-python-headless")}

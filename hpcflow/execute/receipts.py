"""Receipts: what a worker leaves behind for every block it finished.

That a chunk exists proves nothing: a kill leaves torn files, and something else may have
written there. So a worker first writes a block's bytes and then appends a receipt with their
hash. A later run believes a receipt only where the bytes on disk still have that hash and the
inputs are as they were; so nothing has to be synced for a receipt to be safe.

Each process appends to a file of its own, one line for a receipt, each with a checksum of its
own: what a kill or a bad sector tore off is dropped, and that block is computed again. These
files stand in a folder of the run, which the next run renames, so that a worker that outlives
its run finds no place for what it has to say. When a run is complete, the receipts that count
are gathered in one file, which the manifests of the outputs answer for.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import threading
from array import array as packed
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from functools import cache
from importlib.metadata import packages_distributions, version
from pathlib import Path
from typing import Any

import numpy as np
import xxhash

from hpcflow.code import code_of
from hpcflow.digests import digest_json
from hpcflow.execute.running import here
from hpcflow.files import OWN, private, write_all, written
from hpcflow.meta import Bad
from hpcflow.operation import call
from hpcflow.planning.stages import Stage
from hpcflow.registry import Partial, get_op

VERSION = 2
"""Raised when what a block's bytes depend on changes in hpcflow itself."""
COMPLETE = "complete.jsonl"
"""The one journal that is left of a stage that is complete."""
ENDED = ".ended"
"""Added to the name of a run's folder by the next run."""


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
    mark: int = field(default=0, compare=False)
    """The checksum of its line, which tells it from other receipts of the same block."""

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
        int(checksum, 16),
    )


def _pack(array: Any) -> list[Any]:
    array = np.ascontiguousarray(array)
    return [array.dtype.str, list(array.shape), base64.b64encode(array.tobytes()).decode()]


def _unpack(dtype: str, shape: list[int], content: str) -> Any:
    return np.frombuffer(base64.b64decode(content), dtype).reshape(shape)


def folder_of(run_dir: Path, stage: Stage, key: str) -> Path:
    """Where a stage's receipts stand: those of other outputs, which may be as they were, elsewhere."""
    places = sorted(write.target.path for write in stage.writes)
    return (run_dir / "receipts" / f"{stage.name}-{digest_json([key, places])}").absolute()


def begin(folder: Path, run: str) -> None:
    """Make a run's folder within a stage's, and take their names away from those of earlier runs."""
    for path in folder.iterdir():
        if path.is_dir() and path.name != run and path.suffix != ENDED:
            path.rename(path.with_name(path.name + ENDED))
    private(folder / run)


_appending = threading.Lock()


def append(folder: str, receipts: Sequence[Receipt]) -> list[int]:
    """Add receipts to this process's own journal in the folder of its run; returns their marks.

    The folder is not made: it is gone when the run is over.
    """
    lines = [receipt.line() for receipt in receipts]
    # What an earlier append may have torn off, on a full disk, ends with the line break.
    content = b"\n" + b"".join(lines)
    path = f"{folder}/{here()}.jsonl"
    with _appending:
        journal = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, OWN)
        try:
            write_all(journal, content)
        finally:
            os.close(journal)
    return [_mark(line) for line in lines]


def _mark(line: bytes) -> int:
    return int(line[:16], 16)


def read(folder: Path) -> Iterator[Receipt]:
    """Every receipt of a stage that is whole; one block may have several."""
    for path in _journals(folder):
        yield from read_file(path)


def _journals(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.jsonl"))


def read_file(path: Path) -> Iterator[Receipt]:
    """Every receipt of one journal that is whole."""
    with path.open("rb") as file:
        for line in file:
            receipt = parse(line)
            if receipt is not None:
                yield receipt


class Marks:
    """Which receipt counts for each block of a stage; eight bytes for each."""

    def __init__(self, blocks: int) -> None:
        self._marks = packed("Q", bytes(8 * blocks))

    def __setitem__(self, number: int, mark: int) -> None:
        self._marks[number] = mark

    def gather(self, folder: Path) -> int:
        """Leave only one journal, of the receipts that count; how many blocks have none."""
        wanted = packed("Q", self._marks)
        with suppress(_ReceiptsMissing), written(folder / COMPLETE, mode=OWN) as complete:
            for path in _journals(folder):
                with path.open("rb") as journal:
                    for line in journal:
                        receipt = parse(line)
                        if receipt is not None and receipt.number < len(wanted) and receipt.mark:
                            if wanted[receipt.number] != receipt.mark:
                                continue
                            wanted[receipt.number] = 0
                            complete.write(line)
            if any(wanted):
                raise _ReceiptsMissing
        missing = sum(mark != 0 for mark in wanted)
        if not missing:
            for path in folder.iterdir():
                if path.is_dir():
                    shutil.rmtree(path, ignore_errors=True)
        return missing


class _ReceiptsMissing(Exception):
    """There is no journal to be left."""


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
            # Left out where all of it is hpcflow's own, and on a processor: finished blocks were keyed without.
            **({"code": code} if any(code := _code(stage)) else {}),
            **({} if stage.device == "cpu" else {"device": [stage.device, _version_of("cupy")]}),
        }
    )


def _code(stage: Stage) -> list[str]:
    """The code of add-ons behind what a stage reads, runs and writes."""
    ops = [*(step.op for step in stage.program.steps), *(reduce.op for reduce in stage.reduces)]
    behind = [*stage.sources.values(), *(get_op(op).function for op in ops), *(write.target for write in stage.writes)]
    return [code_of(one) for one in behind]


def _layout(target: Any) -> dict[str, Any]:
    """How a target stores its bytes: dtype, chunks, codec; not where."""
    apart = ("path", "key", "run", "provenance", "private")
    # Of a meta what is stored; classes are only known by it.
    known = asdict(target, dict_factory=lambda pairs: {name: value for name, value in pairs if name != "classes"})
    return {name: value for name, value in known.items() if name not in apart}


@cache
def _version_of(module: str) -> str:
    """The version of a package that may be missing here, and comes under several names."""
    packages = packages_distributions().get(module, [])
    return version(packages[0]) if packages else ""


@cache
def _versions() -> dict[str, str]:
    return {name: version(name) for name in ("numpy", "scipy", "numba", "opencv-python-headless")}

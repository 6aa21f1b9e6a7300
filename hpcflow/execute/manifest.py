"""What says that an output is complete, and of which bytes it consists.

`.NAME.manifest.json` beside the output NAME is renamed into place after everything else, and
removed before anything of the output is touched again: an output without one is not complete.
It holds the hash of each part that is no block (metadata, headers, whole documents) and of the
journal of receipts, which holds that of each block; and a hash of itself.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hpcflow.digests import digest_file, digest_json
from hpcflow.execute.kept import kept
from hpcflow.files import OWN, SHARED, mine, private, sync, write
from hpcflow.meta import ArraySink, Meta, Signs, Target
from hpcflow.planning.plan import Plan
from hpcflow.planning.stages import Stage
from hpcflow.regions import Region, block_region, grid, unravel, whole
from hpcflow.registry import function
from hpcflow.secrets import redacted
from hpcflow.spec.outputs import copy_of, manifest_of, parse, unfinished_of

VERSION = 1


@dataclass(frozen=True)
class Done:
    """A stage that is complete."""

    stage: Stage
    key: str
    receipts: Path
    """Its journal."""


def forget(plan: Plan, output: str) -> None:
    """Say that an output is not complete, as it is about to be written, and whose it will be."""
    names = [sink.name for sink in plan.flow.sinks.values() if sink.sink.path == output]
    if names:
        place = unfinished_of(output)
        place.parent.mkdir(parents=True, exist_ok=True)
        _write(place, {"version": VERSION, "flow": plan.flow.name, "output": names[0]}, SHARED)
    manifest_of(output).unlink(missing_ok=True)


def elsewhere(plan: Plan) -> set[str]:
    """The folders of receipts that stand for outputs of earlier runs which this plan does not write."""
    own = {str(sink.sink.path) for sink in plan.flow.sinks.values()}
    copies = (plan.run_dir / "manifests").glob("*.json")
    others = (parse(copy.read_text(encoding="utf-8", errors="replace")) for copy in copies)
    return {
        Path(other["blocks"]["receipts"]).parent.name
        for other in others
        if other and "blocks" in other and other["path"] not in own and Path(other["path"]).exists()
    }


def publish(plan: Plan, done: Sequence[Done], said: Mapping[str, Any]) -> None:
    """Write the manifest of every output of a plan whose blocks and documents are complete.

    `said` is their provenance.
    """
    run = kept(plan.run_dir)
    hashes = {one.receipts: digest_file(str(one.receipts)) for one in done}
    for sink in plan.flow.sinks.values():
        place = sink.sink.path
        body: dict[str, Any] = {
            "version": VERSION,
            "output": sink.name,
            "flow": plan.flow.name,
            "path": place,
            "run_dir": str(plan.run_dir.absolute()),
            "run": run,
            "provenance": said,
        }
        if isinstance(sink.sink, ArraySink):
            (one,) = [one for one in done if any(write.target.path == place for write in one.stage.writes)]
            (target,) = [write.target for write in one.stage.writes if write.target.path == place]
            body |= {
                "files": target.documents(),
                "array": {**_array(target.meta), "sink": sink.use, "params": redacted(dict(sink.params), options=True)},
                "blocks": {
                    "domain": list(one.stage.domain),
                    "block": list(one.stage.block),
                    "stage": one.stage.name,
                    "key": one.key,
                    "receipts": str(one.receipts),
                    "hash": hashes[one.receipts],
                },
            }
        else:
            body["files"] = {"": digest_file(place)}
        copy = copy_of(plan.run_dir, place)
        private(copy.parent)
        _write(copy, body, OWN)
        _write(manifest_of(place), body, SHARED)
        unfinished_of(place).unlink(missing_ok=True)


def _write(path: Path, body: Mapping[str, Any], mode: int) -> None:
    text = json.dumps({**body, "checksum": digest_json(_plain(body))}, indent=1, sort_keys=True) + "\n"
    if mine(path) and path.read_text(encoding="utf-8", errors="replace") == text:
        return
    write(path, text, mode=mode)
    sync(path.parent)


def _plain(body: Mapping[str, Any]) -> Any:
    """As it comes back from a file: lists for tuples."""
    return json.loads(json.dumps(body))


def _array(meta: Meta) -> dict[str, Any]:
    return {"shape": list(meta.shape), "dtype": np.lib.format.dtype_to_descr(meta.dtype), "dims": list(meta.dims)}


def target_at(body: Mapping[str, Any], path: str) -> Target:
    """The array of a manifest, at the place where it stands now."""
    array = body["array"]
    descr: Any = array["dtype"]
    if not isinstance(descr, str):
        descr = [tuple(one) for one in descr]
    dtype = np.lib.format.descr_to_dtype(descr)
    sink = function("sinks", array["sink"])(**{**array["params"], "path": path})
    target: Target = sink.target(Meta(tuple(array["shape"]), dtype, tuple(array["dims"])))
    return target.signed(body["provenance"]) if isinstance(target, Signs) and "provenance" in body else target


def regions(body: Mapping[str, Any]) -> Iterator[tuple[int, Region]]:
    """The number and the place of each block of an array."""
    domain, block = body["blocks"]["domain"], body["blocks"]["block"]
    counts = grid(domain, block)
    rest = whole(tuple(body["array"]["shape"][len(domain) :]))
    total = 1
    for n in counts:
        total *= n
    for number in range(total):
        yield number, block_region(unravel(number, counts), domain, block) + rest

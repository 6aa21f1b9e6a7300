"""Hold an output against its manifest and its receipts; mend what no block holds."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from hpcflow.digests import digest_file
from hpcflow.errors import Mismatch, RunError
from hpcflow.execute.manifest import VERSION, regions, target_at
from hpcflow.execute.receipts import read_file
from hpcflow.files import regular_file
from hpcflow.meta import Target
from hpcflow.regions import Region, grid, unravel
from hpcflow.spec.outputs import copy_of, manifest_of, parse

SHOWN = 20


@dataclass(frozen=True)
class Damage:
    """One thing that is not what it was."""

    file: str
    what: str
    """``block [0, 3] [0:16, 48:64]``, ``zarr.json``, ``manifest``."""

    def __str__(self) -> str:
        return f"{self.file}: {self.what}"


@dataclass(frozen=True)
class Verdict:
    """What became of the bytes of an output."""

    output: str
    run_dir: str
    blocks: int
    """How many were checked."""
    damage: tuple[Damage, ...]
    repaired: tuple[Damage, ...] = ()
    """What was damaged, and is not any more."""
    manifest: Mapping[str, Any] = field(default_factory=dict, repr=False)
    own: bool = False
    """Whether that is a file of the user's own; what anybody else's says is compared, never carried out."""

    @property
    def sound(self) -> bool:
        """Whether every byte is what it was when the run was complete."""
        return not self.damage

    def after(self, again: Verdict) -> Verdict:
        """The verdict of a second look, after a repair."""
        left = {(one.file, one.what) for one in again.damage}
        return replace(again, repaired=tuple(one for one in self.damage if (one.file, one.what) not in left))

    def to_json(self) -> dict[str, Any]:
        """As `verify --json` prints it."""
        return {
            "output": self.output,
            "sound": self.sound,
            "blocks": self.blocks,
            "damage": [one.__dict__ for one in self.damage],
            "repaired": [one.__dict__ for one in self.repaired],
        }

    def __str__(self) -> str:
        counted = f"{self.blocks:,} block" + ("" if self.blocks == 1 else "s")
        lines = [f"repaired {one}" for one in self.repaired[:SHOWN]]
        lines += [f"damaged {one}" for one in self.damage[:SHOWN]]
        more = max(len(self.repaired) - SHOWN, 0) + max(len(self.damage) - SHOWN, 0)
        lines += [f"… and {more:,} more"] if more else []
        if self.damage:
            lines.append(f"{self.output}: damaged in {len(self.damage):,} places, of {counted}")
            lines.append("  hint: `--repair` computes just these again")
        else:
            lines.append(f"{self.output}: sound, {counted}")
        return "\n".join(lines)


def examine(output: str | os.PathLike[str]) -> Verdict:
    """Look at every byte of an output.

    Raises
    ------
    Mismatch
        Where no complete run has left anything under this name.
    """
    path = Path(output).absolute()
    damage: list[Damage] = []
    body, own = _body(path, damage)
    blocks = 0
    if "array" in body:
        target = target_at(body, str(path))
        damage += _documents(target, body)
        for found in _blocks(target, body):
            damage += found
            blocks += 1
        damage += _receipts(body)
    elif not path.exists() or digest_file(str(path)) != body["files"][""]:
        damage.append(Damage(str(path), "missing" if not path.exists() else "content"))
    return Verdict(str(path), body["run_dir"], blocks, tuple(damage), manifest=body, own=own)


def _body(path: Path, damage: list[Damage]) -> tuple[dict[str, Any], bool]:
    """The manifest of an output, and whether it is the user's; where it is damaged, the copy in a run's folder."""
    own = manifest_of(path)
    text, ours = _read(own)
    body = parse(text)
    if body is not None and body.get("version") != VERSION:
        raise RunError(
            f"expected a manifest of version {VERSION} in `{own}`, found {body.get('version')!r}: another release of "
            "hpcflow has written it\n  hint: verify it with that one, or run the flow again"
        )
    if body is not None:
        return body, ours
    for run_dir in _run_dirs(text, path):
        copied, ours = _read(copy_of(run_dir, path))
        body = parse(copied) if ours else None
        if body is not None and body["path"] == str(path):
            damage.append(Damage(str(own), "manifest" if text else "manifest: missing"))
            return body, ours
    if text:
        raise RunError(f"`{own}` is damaged, and no run's folder has a copy\n  hint: run the flow again")
    raise Mismatch(
        f"expected an output that a run has completed, found no manifest `{own}`",
        hint="run its flow to the end; what is finished is not computed again" if path.exists() else "",
    )


def _read(path: Path) -> tuple[str, bool]:
    """What a file says, nothing where none can be read, and whether it is the user's own."""
    with suppress(OSError), open(path, encoding="utf-8", errors="replace", opener=regular_file) as file:
        return file.read(), os.fstat(file.fileno()).st_uid == os.geteuid()
    return "", False


def _run_dirs(text: str, path: Path) -> Iterator[Path]:
    """Where the run's folder may be: as a damaged manifest says, or in `runs` here or beside."""
    yield from (Path(one) for one in re.findall(r'"run_dir": "([^"]*)"', text))
    for folder in dict.fromkeys([Path.cwd(), *path.parents[:3]]):
        yield from sorted(folder.glob("runs/*"))


def _documents(target: Target, body: Mapping[str, Any]) -> Iterator[Damage]:
    try:
        now = target.documents()
    except OSError:
        now = {}
    for name, wanted in body["files"].items():
        if now.get(name) != wanted:
            yield Damage(target.path, name)


def _blocks(target: Target, body: Mapping[str, Any]) -> Iterator[list[Damage]]:
    receipts = Path(body["blocks"]["receipts"])
    wanted: dict[int, str] = {}
    if receipts.exists():
        wanted = {one.number: one.outputs.get(body["path"], "") for one in read_file(receipts)}
    counts = grid(body["blocks"]["domain"], body["blocks"]["block"])
    for number, region in regions(body):
        where = f"block {list(unravel(number, counts))} [{', '.join(f'{a}:{b}' for a, b in region)}]"
        if number not in wanted:
            yield [Damage(str(receipts), f"receipt of {where}")]
        elif (what := _block(target, region, wanted[number])) is not None:
            yield [Damage(target.path, f"{where}{what}")]
        else:
            yield []


def _block(target: Target, region: Region, wanted: str) -> str | None:
    try:
        return None if target.digest(region) == wanted else ""
    except FileNotFoundError as error:
        return f": `{error.filename}` is missing"
    except OSError as error:
        return f": {error.strerror or error}"


def _receipts(body: Mapping[str, Any]) -> Iterator[Damage]:
    receipts = Path(body["blocks"]["receipts"])
    if not receipts.exists():
        yield Damage(str(receipts), "missing")
    elif digest_file(str(receipts)) != body["blocks"]["hash"]:
        yield Damage(str(receipts), "receipts")


def mend(found: Verdict) -> None:
    """Write the metadata of an array anew where it is damaged, so that its sound blocks are taken up."""
    path = Path(found.output)
    body = found.manifest
    if "array" not in body or not path.exists():
        return
    names = set(body["files"])
    if any(one.file == found.output and one.what in names for one in found.damage):
        target_at(body, found.output).restore()

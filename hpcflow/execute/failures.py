"""What a failed block looks like to whoever wrote the flow: the line, the step, the block, the file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hpcflow.errors import BlockError, Location, RunError
from hpcflow.execute.block import BlockResult
from hpcflow.execute.space import HINT, room, targets
from hpcflow.meta import Bad
from hpcflow.planning.plan import Plan
from hpcflow.planning.stages import Stage
from hpcflow.regions import Region, unravel
from hpcflow.secrets import redact

SHOWN = 10


def failed(plan: Plan, stage: Stage, results: Sequence[BlockResult]) -> BlockError:
    """The error for some blocks that failed for good: what went wrong is said once, with how many it befell."""
    alike: dict[tuple[str, str, str | None], list[BlockResult]] = {}
    for result in sorted(results, key=lambda one: one.number):
        if (why := result.failure) is not None:
            alike.setdefault((why.node, why.message, why.item), []).append(result)
    lines = [line for some in list(alike.values())[:SHOWN] for line in _lines(plan, stage, some)]
    if len(alike) > 1:
        lines.append(f"{len(results)} blocks of the stage `{stage.name}` failed")
    if not any(result.failure and result.failure.full for result in results):
        lines.append("  hint: what is finished stays; the same command goes on from there")
    return BlockError(redact("\n".join(lines)))


def place(plan: Plan, stage: Stage) -> Location:
    """Where the flow says what a stage ends in."""
    return plan.flow.nodes[stage.ends[0].split("[")[0]].location


def _lines(plan: Plan, stage: Stage, alike: Sequence[BlockResult]) -> list[str]:
    """What went wrong in some blocks, in one and the same way; where it did, of the first."""
    result, last = alike[0], alike[-1]
    failure = result.failure
    assert failure is not None
    node = failure.node.split("[")[0]
    location = plan.flow.nodes[node].location if node in plan.flow.nodes else plan.flow.file
    region = stage.region(result.number)
    first = f"block {list(unravel(result.number, stage.grid))} [{_words(region)}]"
    where = f"{first} of the stage `{stage.name}`"
    if last is not result:
        others = f"the first {first}, the last {list(unravel(last.number, stage.grid))}"
        where = f"{len(alike)} blocks of the stage `{stage.name}`, {others}"
    if failure.item is not None:
        return [
            f"{location}: error: `{failure.item}` could not be read: {failure.message}",
            f"  in {where}",
            "  hint: the flow mixes items, so none of them can be set apart; take it out of the source",
        ]
    lines = [f"{location}: error: `{node}` failed in {where}", *(f"  {one}" for one in failure.message.splitlines())]
    lines += [f"  read from {one}" for one in _read(plan, stage, region, node)]
    if failure.full:
        lines += [f"  `{target.path}`: {room(target)}" for target in targets(stage)] + [f"  {HINT}"]
    return lines


def _words(region: Region) -> str:
    return ", ".join(f"{a}:{b}" for a, b in region)


def _read(plan: Plan, stage: Stage, region: Region, node: str) -> list[str]:
    """The files behind a failed node, and the part of each that the block needs."""
    needed = stage.program.bounds(stage.wanted(region)).regions
    found = []
    for name in _sources(plan, node):
        params: Mapping[str, Any] = plan.flow.nodes[name].params
        if "path" not in params:
            continue
        source = stage.sources.get(name)
        place = f"`{params['path']}`"
        if source is not None and name in needed:
            inside = tuple((max(a, 0), min(b, n)) for (a, b), n in zip(needed[name], source.meta.shape, strict=True))
            place += f", [{_words(inside)}]"
            if source.chunks is not None:
                chunks = [(a // c, max(b - 1, a) // c) for (a, b), c in zip(inside, source.chunks, strict=True)]
                place += f", chunks [{', '.join(str(a) if a == b else f'{a} to {b}' for a, b in chunks)}]"
        found.append(place)
    return found


def _sources(plan: Plan, node: str) -> list[str]:
    """The sources that a node is made of."""
    found, seen, waiting = [], set[str](), [node]
    while waiting:
        name = waiting.pop()
        if name not in seen and (one := plan.flow.nodes.get(name)) is not None:
            seen.add(name)
            waiting += reversed(one.of)
            found += [name] if one.source is not None else []
    return found


def too_many(plan: Plan, bad: Sequence[Bad], allowed: int) -> RunError:
    """The error for more bad items than may be set apart."""
    location = plan.flow.nodes[bad[0].source].location
    counted = f"{len(bad)} item" + ("" if len(bad) == 1 else "s")
    lines = [f"{location}: error: {counted} could not be read, {allowed} allowed"]
    lines += [f"  {one.item}: {one.reason}" for one in bad[:20]]
    lines.append("  hint: mend or remove them, or set some apart with `--max-bad 10%`")
    return RunError(redact("\n".join(lines)))

"""A stage in words and figures, for the plan that shows it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from math import prod
from typing import Any

from hpcflow.planning.memory import task_rows
from hpcflow.planning.stages import Stage
from hpcflow.regions import block_region, size_of
from hpcflow.sizes import show_size

TIMES = "\N{MULTIPLICATION SIGN}"
HEAD = ("", "inputs", "result", "scratch", "held", "total")


def stage_lines(stage: Stage, branches: Sequence[str]) -> list[str]:
    """What a stage does, as a tree, and a table of what a task of it holds."""
    ends = [*["\N{BOX DRAWINGS LIGHT VERTICAL AND RIGHT}"] * (len(branches) - 1), "\N{BOX DRAWINGS LIGHT UP AND RIGHT}"]
    dash = "\N{BOX DRAWINGS LIGHT HORIZONTAL}"
    tree = [f"{end}{dash} {branch}" for end, branch in zip(ends, branches, strict=False)]
    return [stage_head(stage), *tree, *(f"  {line}" for line in task_table(stage))]


def stage_head(stage: Stage) -> str:
    """Its name, its blocks, and what a task takes."""
    of = f" of {extents(stage.block)}" if stage.block else ""
    device = f", {show_size(stage.device_memory)} on the device" if stage.device_memory else ""
    layers = "".join(f", {count(one.layers, 'layer')} of `{name}` kept" for name, one in stage.shared.items())
    held = f"{show_size(stage.task_memory)} a task{device}{layers}"
    return f"{stage.name}: {count(stage.tasks, 'block')}{of}{_inside(stage)}, {held}"


def task_table(stage: Stage) -> list[str]:
    """What a task holds, step by step."""
    held = task_rows(stage, stage.block, stage.tile)
    rows = [(row.name, *map(show_size, (row.inputs, row.result, row.scratch, row.others, row.total))) for row in held]
    rest = stage.task_memory - max(row.total for row in held)
    rows.append(("kept by malloc", "", "", "", "", show_size(rest)))
    return columns([HEAD, *rows])


def _inside(stage: Stage) -> str:
    tile = f" in tiles of {extents(stage.tile)}" if stage.tile != stage.block else ""
    return tile + (f", halo {', '.join(map(str, halo(stage)))}" if any(halo(stage)) else "")


def extents(shape: Sequence[int]) -> str:
    """A shape as text, a times sign between its extents."""
    return TIMES.join(map(str, shape))


def columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows of text as lines: the first column to the left, figures to the right."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return [
        "  ".join(
            [f"{first:<{widths[0]}}", *(f"{text:>{width}}" for text, width in zip(rest, widths[1:], strict=True))]
        )
        for first, *rest in rows
    ]


def stage_json(stage: Stage) -> dict[str, Any]:
    """A stage as `plan --json` shows it."""
    return {
        "name": stage.name,
        "steps": list(stage.steps),
        "tasks": stage.tasks,
        "block": list(stage.block),
        "tile": list(stage.tile),
        "halo": halo(stage),
        "shared": {name: one.layers for name, one in stage.shared.items()},
        "task_memory": stage.task_memory,
        "device": stage.device,
        "device_memory": stage.device_memory,
        "memory": [
            {
                "name": row.name,
                "inputs": row.inputs,
                "result": row.result,
                "scratch": row.scratch,
                "held": row.others,
                "total": row.total,
            }
            for row in task_rows(stage, stage.block, stage.tile)
        ],
    }


def bytes_read(stage: Stage) -> int:
    """Bytes that all blocks of a stage ask of its sources.

    Blocks between the first and the last along an axis read alike, so one stands for them all.
    """
    total = 0
    metas = stage.program.metas
    for index, times in _kinds_of_block(stage):
        bounds = stage.program.bounds(stage.wanted(block_region(index, stage.domain, stage.block)))
        each = sum(size_of(bounds.regions[n]) * metas[n].dtype.itemsize for n in stage.sources if n in bounds.regions)
        total += each * times
    return total


def _kinds_of_block(stage: Stage) -> Iterator[tuple[tuple[int, ...], int]]:
    axes = [[(i, 1) for i in range(n)] if n <= 4 else [(0, 1), (1, n - 2), (n - 1, 1)] for n in stage.grid]
    for kinds in product(*axes):
        yield tuple(i for i, _ in kinds), prod(times for _, times in kinds)


def halo(stage: Stage) -> list[int]:
    """How far the stage reaches beyond a block of its domain, per axis, over all its steps."""
    ndim = len(stage.domain)
    reach = dict.fromkeys(stage.program.metas, [0] * ndim)
    for step in reversed(stage.program.steps):
        depth = stage.program.ops[step.name].halo(step.meta, step.params)
        sides = [max(pair) for pair in depth[:ndim]] + [0] * (ndim - len(depth))
        for name in step.of:
            reach[name] = [max(old, r + d) for old, r, d in zip(reach[name], reach[step.name], sides, strict=True)]
    return [max(axis) for axis in zip(*(reach[name] for name in stage.program.inputs), strict=True)]


def count(number: int, noun: str) -> str:
    """``1 block``, ``2 blocks``."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")

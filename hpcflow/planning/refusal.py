"""What to say where a run does not fit into its memory: the arithmetic, and what would fit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import ceil

from hpcflow.errors import Fault, Location
from hpcflow.planning.blocks import needed, shaped, smallest
from hpcflow.planning.describe import TIMES, count, extents
from hpcflow.planning.device import CONTEXT, Gpu, computes, device_memory
from hpcflow.planning.draft import Draft
from hpcflow.planning.imports import MIB
from hpcflow.planning.processes import Base, driver_memory
from hpcflow.planning.stages import Stage, Write
from hpcflow.regions import Shape
from hpcflow.sinks.npy import NpyTarget
from hpcflow.sizes import show_size
from hpcflow.spec.flow import Flow, Sink

MOST = 2**30
"""MiB that are tried for a flow that fits nowhere."""


@dataclass(frozen=True)
class Limits:
    """What a run may use."""

    base: Base
    budget: int
    workers: int
    threads: int
    gpu: Gpu | None = None

    @property
    def slots(self) -> int:
        """How many tasks run at once."""
        return self.workers * self.threads

    @property
    def room(self) -> int:
        """Bytes for tasks."""
        return max(self.budget - self.base.total, 0)


def no_room(flow: Flow, limits: Limits, alone: Base, draft: Draft) -> Fault:
    """The processes themselves take more than the whole budget; `alone` is the driver as the only one."""
    base = limits.base
    fewer = "fewer workers, or " if base.workers > 1 else ""
    hint = f"give `--memory {asked(least_budget(draft, limits, base.total + 16 * MIB))}` or more"
    if base.workers:
        hint += f"; or {fewer}no worker process at all: `--cluster threads` takes {show_size(alone.total)}"
    return Fault(
        Location(flow.file, 0, 1),
        f"expected a run within {show_size(limits.budget)}, found that its processes alone take "
        f"{show_size(base.total)}: {_sum(base)}",
        hint,
    )


def _sum(base: Base) -> str:
    parts = [f"{show_size(base.driver)} for the driver"]
    if base.workers:
        parts.append(f"{base.workers} {TIMES} {show_size(base.worker)} for {count(base.workers, 'worker')}")
        parts.append(f"{show_size(base.rest)} for a helper")
    return " + ".join(parts)


def fewer_threads(flow: Flow, limits: Limits, wanted: int) -> Iterator[Fault]:
    """Say that fewer tasks run at once than could, where more do not fit."""
    if limits.threads < wanted:
        yield Fault(
            Location(flow.file, 0, 1),
            f"{count(wanted, 'task')} at once do not fit {show_size(limits.budget)}: each worker runs "
            f"{count(limits.threads, 'thread')}",
            "give more `--memory`",
            severity="advice",
        )


def no_block(flow: Flow, stage: Stage, limits: Limits, draft: Draft) -> Fault:
    """Not even the smallest block of a stage fits."""
    least = smallest(stage) if flow.block is None else _as_asked(stage, flow.block)
    tasks = min(least.tasks, limits.slots)
    if limits.gpu is not None and not limits.gpu.holds(_on_device(least)):
        return _no_device_room(flow, _on_device(least), limits.gpu)
    driver = driver_memory(least, limits.slots)
    total = limits.base.total + needed(least, limits.slots)
    which = "the block that the flow asks for" if flow.block is not None else "its smallest block"
    parts = [f"{show_size(limits.base.total)} for the processes", f"{tasks} {TIMES} {show_size(least.task_memory)}"]
    parts += [f"{show_size(driver)} for partial results"] if driver > MIB else []
    node = flow.nodes.get(stage.name) or flow.nodes[stage.ends[0].split("[")[0]]
    location = next((sink.location for sink in flow.sinks.values() if _is_of(stage, sink.of)), node.location)
    return Fault(
        location if stage.writes else node.location,
        f"expected the stage `{stage.name}` to fit {show_size(limits.budget)}, found that {which}, "
        f"{extents(least.block)}, takes {show_size(total)}: {' + '.join(parts)}",
        "; or ".join(_remedies(flow, stage, least, limits, least_budget(draft, limits, total))),
    )


def fits(draft: Draft, limits: Limits) -> bool:
    """Whether the flow can be planned within these limits, in one pass or in several over arrays on disk."""
    _, chosen = replace(draft, room=limits.room, slots=limits.slots).cut_where_it_pays()
    return all(stage.block or not stage.domain for stage in chosen)


def least_budget(draft: Draft, limits: Limits, enough: int) -> int:
    """The least budget with which the flow fits on a thread each, in whole MiB and within a twentieth, by bisection.

    Parameters
    ----------
    draft : Draft
    limits : Limits
        A budget with which it does not fit.
    enough : int
        A budget with which it most likely does.
    """

    def fit(budget: int) -> bool:
        return fits(draft, replace(limits, budget=budget * MIB, threads=1))

    low, high = limits.budget // MIB, ceil(enough / MIB)
    while not fit(high) and high < MOST:
        low, high = high, 2 * high
    while high - low > max(1, high // 25):
        between = (low + high) // 2
        low, high = (low, between) if fit(between) else (between, high)
    return high * MIB


def no_document(sink: Sink, held: int, limits: Limits) -> Fault:
    """A document cannot be made beside the processes."""
    total = limits.base.total + held
    return Fault(
        sink.location,
        f"expected the document `{sink.name}` to be made within {show_size(limits.budget)}, found that it takes "
        f"{show_size(total)}: {show_size(limits.base.total)} for the processes + {show_size(held)}",
        f"give `--memory {asked(total)}`",
    )


def _on_device(stage: Stage) -> Stage:
    return replace(stage, device="cuda", device_memory=device_memory(stage, stage.block)) if computes(stage) else stage


def _no_device_room(flow: Flow, least: Stage, gpu: Gpu) -> Fault:
    """Not even the smallest block has room on the device."""
    assert gpu.budget is not None
    node = flow.nodes.get(least.name) or flow.nodes[least.ends[0].split("[")[0]]
    tasks = (gpu.peak(least) - CONTEXT) // least.device_memory
    single = CONTEXT + least.device_memory
    fewer = f"`--threads 1`, which takes {show_size(single)}; or " if tasks > 1 and single <= gpu.budget else ""
    return Fault(
        node.location,
        f"expected the stage `{least.name}` to fit {show_size(gpu.budget)} of device memory, found that a block of "
        f"{extents(least.block)} takes {show_size(gpu.peak(least))}: {show_size(CONTEXT)} for CUDA + {tasks} {TIMES} "
        f"{show_size(least.device_memory)}",
        f"{fewer}`device: cpu` in the cluster's profile",
    )


def _is_of(stage: Stage, of: tuple[str, ...]) -> bool:
    return any(write.node in of for write in stage.writes)


def _as_asked(stage: Stage, block: Shape) -> Stage:
    found = shaped(stage, 2**62, block)
    assert found is not None
    return found


def _remedies(flow: Flow, stage: Stage, least: Stage, limits: Limits, total: int) -> list[str]:
    remedies = [f"give `--memory {asked(total)}`"]
    free = stage if flow.block is not None else _ungrained(stage)
    fits = shaped(free, limits.room, None, limits.slots)
    if fits is not None and fits.block != least.block:
        largest = f"the largest block that fits is {extents(fits.block)}"
        how = "ask for that with `block`" if flow.block is not None else "ask for `chunks` or `shards` no longer"
        remedies.append(f"{largest}: {how}")
    return remedies


def _ungrained(stage: Stage) -> Stage:
    """The stage as if its outputs could be written in any pieces."""
    writes = (Write(one.node, NpyTarget(one.target.path, one.target.meta)) for one in stage.writes)
    return replace(stage, writes=tuple(writes))


def asked(nbytes: int) -> str:
    """A size as `--memory` takes it, rounded up."""
    return f"{ceil(nbytes / MIB)}MiB"

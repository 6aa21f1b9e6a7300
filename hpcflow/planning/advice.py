"""What a plan advises: what would make the run smaller or quicker, with figures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import prod

from hpcflow.errors import Fault, Location
from hpcflow.meta import Source
from hpcflow.planning.blocks import TASK_COST, cost
from hpcflow.planning.describe import count, extents
from hpcflow.planning.memory import chunked_size, middle
from hpcflow.planning.stages import Stage, Write, is_reduction
from hpcflow.sizes import show_size
from hpcflow.spec.flow import Flow

WORTH = 64 * 2**20
"""Arrays smaller than this are not worth a word."""
PER_SECOND = 5e8
"""Elements that a core makes in a second, in the units of `blocks.cost`."""
SPEED = {"gzip": 30e6, "zstd": 330e6}
"""Bytes that a core encodes in a second, with codecs that are slower than the default; measured."""
SMALL_FILE = 64 * 2**10
MANY = 10_000


def advice(flow: Flow, stages: Sequence[Stage]) -> tuple[Fault, ...]:
    """Every piece of advice, each with the place in the flow that it speaks of."""
    found = [*_wide(flow)]
    for stage in stages:
        found += [*_decoded_twice(flow, stage), *_slow_codecs(flow, stage), *_small_files(flow, stage)]
        found += _short_blocks(flow, stage)
    return tuple(found)


def _advice(location: Location, message: str, hint: str) -> Fault:
    return Fault(location, message, hint, severity="advice")


def _wide(flow: Flow) -> Iterator[Fault]:
    """Steps that make float64 of something narrower."""
    for node in flow.nodes.values():
        meta = node.meta
        if meta is None or not node.of or is_reduction(flow, node.name) or meta.nbytes < WORTH:
            continue
        before = [one for one in (flow.nodes[name].meta for name in node.of) if one is not None]
        half = {"f8": "float32", "c16": "complex64"}.get(meta.dtype.str[1:])
        if half and all(one.dtype.itemsize < meta.dtype.itemsize for one in before):
            yield _advice(
                node.location,
                f"`{node.name}` is {meta.dtype}, {show_size(meta.nbytes)}: {half} would halve it to "
                f"{show_size(meta.nbytes / 2)}, and what is made of it",
                f"if 7 digits are enough, add `op: astype, dtype: {half}` before or behind it",
            )


def _decoded_twice(flow: Flow, stage: Stage) -> Iterator[Fault]:
    """Sources whose chunks lie across the blocks."""
    bounds = stage.program.bounds(stage.wanted(middle(stage.domain, stage.block)))
    for name, source in stage.sources.items():
        if source.chunks is None or name not in bounds.regions or source.meta.nbytes < WORTH:
            continue
        if name in stage.shared:
            continue
        decoded = chunked_size(bounds.regions[name], source.chunks) * source.meta.dtype.itemsize * stage.tasks
        times = decoded / source.meta.nbytes
        if times >= 1.8:
            yield _advice(
                _sink_location(flow, stage) or flow.nodes[name].location,
                f"blocks of {extents(stage.block)} decode every chunk of `{name}` {times:.1f} times: "
                f"{show_size(decoded)} for {show_size(source.meta.nbytes)}",
                f"{_better(stage, source)}, or give more `--memory`",
            )


def _better(stage: Stage, source: Source) -> str:
    assert source.chunks is not None
    if len(source.chunks) == len(stage.domain) and any(write.target.grain != source.chunks for write in stage.writes):
        return f"write chunks that are whole chunks of the source, {extents(source.chunks)} or a multiple"
    return f"store the source in larger chunks than {extents(source.chunks)}"


def _slow_codecs(flow: Flow, stage: Stage) -> Iterator[Fault]:
    """Sinks whose codec takes longer than all that comes before it."""
    for write in stage.writes:
        codec = str(getattr(write.target, "codec", ""))
        nbytes = write.target.meta.nbytes
        if codec not in SPEED or nbytes < WORTH:
            continue
        coding, rest = nbytes / SPEED[codec], cost(stage, stage.block) / PER_SECOND
        if coding > rest:
            yield _advice(
                _place(flow, write, "codec"),
                f"`codec: {codec}` binds the run: about {coding:.0f} s of a core to encode "
                f"{show_size(nbytes)}, {rest:.0f} s for all else",
                "`codec: lz4` takes a third of the time of zstd, a thirtieth of that of gzip",
            )


def _small_files(flow: Flow, stage: Stage) -> Iterator[Fault]:
    """Sinks of very many small files."""
    for write in stage.writes:
        if getattr(write.target, "chunks", None) is None:
            continue
        unit, shape = write.target.grain, write.target.meta.shape
        files = prod(-(-n // max(g, 1)) for n, g in zip(shape, unit, strict=True))
        each = prod(unit) * write.target.meta.dtype.itemsize
        if files > MANY and each < SMALL_FILE:
            yield _advice(
                _place(flow, write),
                f"chunks of {extents(unit)} make {count(files, 'file')} of {show_size(each)}",
                "use larger `chunks`, leave them out, or put many into `shards`",
            )


def _short_blocks(flow: Flow, stage: Stage) -> list[Fault]:
    """Blocks that take less time than handing them out does."""
    if stage.tasks < MANY:
        return []
    each = cost(stage, stage.block) / stage.tasks
    if each > 2 * TASK_COST:
        return []
    seconds = stage.tasks * TASK_COST / PER_SECOND
    why = "leave `block` out" if flow.block is not None else "give more `--memory`, or larger `chunks`"
    return [
        _advice(
            _sink_location(flow, stage) or flow.nodes[stage.ends[0].split("[")[0]].location,
            f"{count(stage.tasks, 'block')} of {extents(stage.block)} are too small to be worth their tasks: "
            f"about {seconds:.0f} s go into handing them out",
            why,
        )
    ]


def _sink_location(flow: Flow, stage: Stage) -> Location | None:
    return next((_place(flow, write) for write in stage.writes), None)


def _place(flow: Flow, write: Write, parameter: str = "chunks") -> Location:
    """Where the flow says so: the sink, or the node that is stored between stages."""
    for sink in flow.sinks.values():
        if str(sink.sink.path) == write.target.path:
            return sink.places.get(parameter, sink.location)
    return flow.nodes[write.node.split("[")[0]].location


def advice_json(found: Fault) -> dict[str, str | int]:
    """A piece of advice as `plan --json` shows it."""
    at = found.location
    return {"file": at.file, "line": at.line, "column": at.column, "message": found.message, "hint": found.hint}

"""Nodes held against what is really there: sources opened, shapes and dtypes inferred, sinks tried."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from glob import iglob
from math import prod
from pathlib import Path
from typing import Any

from hpcflow import registry
from hpcflow.errors import Mismatch
from hpcflow.ingest.urls import is_url
from hpcflow.meta import ArraySink, DocumentSink, Meta
from hpcflow.operation import call
from hpcflow.parameters import resolve_axes
from hpcflow.secrets import references, reveal
from hpcflow.sizes import show_size
from hpcflow.spec.bind import Bound, mismatch
from hpcflow.spec.flow import Node, Sink
from hpcflow.spec.params import Params
from hpcflow.text.faults import Faults

MOST_AXES = 64
"""What NumPy allows."""
MOST_WINDOW = 2**24
"""Along an axis; its weights are held in memory."""
MOST_BYTES = 2**60
"""Of one array: a few bits less than its indices have, so that arithmetic on them does not overflow."""


@dataclass
class Checked:
    """What is known of the nodes so far."""

    params: Params
    faults: Faults
    missing_ok: bool
    nodes: dict[str, Node] = field(default_factory=dict)
    """Those without a fault; their meta is `None` where an input is not there."""
    sinks: dict[str, Sink] = field(default_factory=dict)

    @contextmanager
    def guarded(self, bound: Bound) -> Iterator[None]:
        """Turn whatever a node's function raises into a fault of the node; the one such boundary."""
        declared = bound.declared
        try:
            yield
        except Mismatch as error:
            mismatch(declared, error, self.params, self.faults.error)
        except FileNotFoundError as error:
            self._not_there(bound, error)
        except Exception as error:  # noqa: BLE001  (plug-ins and file systems raise anything at all)
            self.faults.cause = self.faults.cause or error
            place = declared.places.get("path", declared.location)
            if declared.section == "steps":
                place = declared.location
            what = str(error) if isinstance(error, ImportError) else f"{type(error).__name__}: {error}"
            self.faults.error(place, f"expected `{declared.use}` to take this, found {_first_line(what)}")

    def _not_there(self, bound: Bound, error: FileNotFoundError) -> None:
        declared, params = bound.declared, dict(bound.params or {})
        given = [name for name in ("path", *params) if isinstance(params.get(name), str)]
        # `path` for most; a model's file stands in a parameter of another name.
        name = next((name for name in given if name == "path" or params[name] == error.filename), None)
        shown = params[name] if name else str(error.filename or error)
        report = self.faults.warning if self.missing_ok else self.faults.error
        place = declared.places.get(name or "", declared.location)
        note = self.params.note(declared.values[name]) if name and name in declared.values else ""
        hint = _neighbour(shown, declared.location.file) or note
        report(place, f"expected a file or folder at `{shown}`, found none", hint)
        if self.missing_ok:
            self.nodes[declared.name] = _node(bound, params)

    def open(self, bound: Bound) -> None:
        """Open a source: its metadata only."""
        if bound.params is None or self._unset(bound) or self._remote(bound):
            return
        with self.guarded(bound):
            reveal(dict(bound.params))  # so that every message from here on is redacted
            source = bound.function(**bound.params)
            for note in getattr(source, "notes", ()):
                self.faults.warning(bound.declared.places.get("path", bound.declared.location), note)
            meta = source.meta
            if meta.items is not None:
                meta = replace(meta, items=bound.declared.name)
            _expect_possible(meta)
            self.nodes[bound.declared.name] = replace(_node(bound, bound.params), source=source, meta=meta)

    def _remote(self, bound: Bound) -> bool:
        """Whether a source lies behind a URL and is not to be asked: `check` fetches nothing."""
        path = (bound.params or {}).get("path")
        if not self.missing_ok or not isinstance(path, str) or not is_url(path):
            return False
        place = bound.declared.places.get("path", bound.declared.location)
        self.faults.warning(place, "expected a path to look at, found a URL", "`check` fetches nothing; `plan` does")
        self.nodes[bound.declared.name] = _node(bound, bound.params or {})
        return True

    def _unset(self, bound: Bound) -> bool:
        """Whether an environment variable that a source or sink names is not set."""
        unset = sorted(name for name in references(bound.params) if name not in os.environ)
        for name in unset:
            report = self.faults.warning if self.missing_ok else self.faults.error
            places = [p for key, p in bound.declared.places.items() if name in references((bound.params or {})[key])]
            place = places[0] if places else bound.declared.location
            report(place, f"expected the environment variable `{name}` to be set", f"export {name}=… first")
        if unset and self.missing_ok:
            self.nodes[bound.declared.name] = _node(bound, bound.params or {})
        return bool(unset)

    def infer(self, bound: Bound) -> None:
        """What comes out of a step, from what goes in."""
        name = bound.declared.name
        if bound.params is None or bound.of is None or not all(one in self.nodes for one in bound.of):
            return
        metas = self.metas(bound.of)
        if metas is None:
            self.nodes[name] = _node(bound, bound.params)
            return
        with self.guarded(bound):
            params = resolve_axes(bound.function, bound.params, metas[0]) if metas else dict(bound.params)
            op = registry.get_op(bound.declared.use)
            params |= call(op.settle, (), params) if op.settle is not None else {}
            meta = op.meta(metas, params)
            _expect_possible(meta)
            halo = op.halo(metas[0], params) if metas else ()
            if any(before + behind >= MOST_WINDOW for before, behind in halo):
                raise Mismatch(f"expected a window of at most {MOST_WINDOW} elements along an axis, found a longer one")
            self.nodes[name] = replace(_node(bound, params), meta=meta)
            for doubt in op.doubtful(metas, params):
                mismatch(bound.declared, doubt, self.params, self.faults.warning)

    def metas(self, names: Sequence[str]) -> list[Meta] | None:
        """The metas of several nodes, if all are known."""
        metas = [self.nodes[name].meta for name in names]
        return [meta for meta in metas if meta is not None] if None not in metas else None

    def sink(self, bound: Bound) -> None:
        """Build a sink and hold it against what it is to take."""
        if bound.params is None or bound.of is None or self._unset(bound):
            return
        declared = bound.declared
        metas = self.metas(bound.of) if all(one in self.nodes for one in bound.of) else None
        with self.guarded(bound):
            reveal(dict(bound.params))
            params = resolve_axes(bound.function, bound.params, metas[0]) if metas else dict(bound.params)
            made = bound.function(**params)
            self._takes(made, bound, metas)
            self.sinks[declared.name] = Sink(
                declared.name, declared.use, bound.of, params, declared.location, made, declared.places
            )

    def _takes(self, made: ArraySink | DocumentSink, bound: Bound, metas: Sequence[Meta] | None) -> None:
        if isinstance(made, ArraySink):
            if len(bound.of or ()) != 1:
                raise Mismatch(
                    f"expected one node for `{bound.declared.use}` to write, found {len(bound.of or ())}",
                    parameter="of",
                    hint="write each to a sink of its own, or join them with `op: stack`",
                )
            if metas is not None:
                made.target(metas[0])
        elif metas is not None:
            made.views(metas)


def _expect_possible(meta: Meta) -> None:
    """Refuse an array that no library here can index; raises `Mismatch`."""
    if meta.ndim > MOST_AXES:
        raise Mismatch(f"expected an array of at most {MOST_AXES} axes, found {meta.ndim}")
    if min(meta.shape, default=0) < 0:
        raise Mismatch(f"expected axes of at least 0 elements, found {meta}")
    # An axis without elements beside it does not make another one shorter.
    if prod(max(n, 1) for n in meta.shape) * meta.dtype.itemsize > MOST_BYTES:
        raise Mismatch(f"expected an array of at most {show_size(MOST_BYTES)}, found {meta}")


def _node(bound: Bound, params: Mapping[str, Any]) -> Node:
    declared = bound.declared
    return Node(
        name=declared.name,
        use=declared.use,
        of=bound.of or (),
        params=params,
        location=declared.location,
        places=declared.places,
    )


def _first_line(text: str) -> str:
    return (text.strip().splitlines() or [""])[0][:300]


def beside(bound: Bound) -> Bound:
    """The node with its inputs' relative paths beside the flow's file, where they lead nowhere from here."""
    declared, folder = bound.declared, Path(bound.declared.location.file).parent
    moved = {
        name: str(folder / value)
        for name, value in (bound.params or {}).items()
        if isinstance(value, str) and _is_input(declared.section, name, value)
        if not is_url(value) and not _leads(value) and _leads(str(folder / value))
    }
    return replace(bound, params={**(bound.params or {}), **moved}) if moved else bound


def _is_input(section: str, name: str, value: str) -> bool:
    """Whether a text may be the path of something to read."""
    return section == "sources" if name == "path" else bool(Path(value).suffix)


def _leads(path: str) -> bool:
    """Whether there is something at a path, or anything that it is a pattern of."""
    try:
        pattern = any(sign in path for sign in "*?[")
        return os.path.lexists(path) or (pattern and next(iglob(path), None) is not None)  # noqa: PTH207  (of any root)
    except ValueError:
        return False


def _neighbour(path: str, flow: str) -> str:
    """A hint for a path that is not there: what stands next to it, or which folder is missing."""
    if "://" in path or any(sign in path for sign in "*?["):
        return ""
    try:
        for folder in reversed(Path(path).parents):
            if not os.path.exists(folder):  # noqa: PTH110  (whatever its length)
                return f"the folder `{folder}` is not there" + ("" if folder.is_absolute() else f": {_looked(flow)}")
        with os.scandir(Path(path).parent) as entries:
            names = [entry.name for _, entry in zip(range(1000), entries, strict=False)]
    except (OSError, ValueError):
        return ""
    near = get_close_matches(Path(path).name, names, n=1)
    if near:
        return f"did you mean `{Path(path).parent / near[0]}`?"
    return "" if Path(path).is_absolute() else f"{_looked(flow)}; `-C DIR` works in another folder"


def _looked(flow: str) -> str:
    """Which folders a relative path was looked for in."""
    here, there = Path.cwd(), Path(flow).absolute().parent
    return f"looked in `{here}`" + ("" if here == there else f", and beside the flow in `{there}`")


def check_paths(sinks: Mapping[str, Sink], nodes: Mapping[str, Node], faults: Faults) -> None:
    """No two outputs in one place, and none on top of an input."""
    taken: dict[str, Sink] = {}  # by their paths
    within: dict[str, Sink] = {}  # by each folder around them, too: looking at every pair takes seconds for 1,000 sinks
    inputs = _Inputs(nodes, sinks)
    here = around(os.path.realpath("."))
    for sink in sinks.values():
        where, place = where_of(sink.sink.path), sink.places.get("path", sink.location)
        if where is None:
            continue
        if where in here:
            what = "the working directory" if where == here[0] else "a folder around the working directory"
            faults.error(place, f"expected a path for the output, found {what}")
            continue
        folders = around(where)
        other = within.get(where) or next((taken[folder] for folder in folders if folder in taken), None)
        if other is not None:
            at = other.places.get("path", other.location)
            hint = f"`{other.name}` writes there, at line {at.line}"
            same = where_of(other.sink.path) == where
            faults.error(
                place,
                "expected a path of its own for each sink, found "
                + ("one that is taken" if same else "one inside another"),
                hint,
            )
        taken.setdefault(where, sink)
        for folder in folders:
            within.setdefault(folder, sink)
        if met := inputs.meets(where, folders):
            faults.error(place, f"expected a path for the output, found {met[0]}", met[1])


class _Inputs:
    """What a flow reads, by place."""

    def __init__(self, nodes: Mapping[str, Node], sinks: Mapping[str, Sink]) -> None:
        self.within: dict[str, str] = {}  # the sources, by each folder around them too
        self.sources: dict[str, str] = {}
        self.files: dict[str, str] = {}  # labels, weights
        for node in nodes.values():
            if (where := _read(node)) and node.use and not node.of:
                self.sources.setdefault(where, node.name)
                for folder in around(where):
                    self.within.setdefault(folder, node.name)
        readers: list[Node | Sink] = [*nodes.values(), *sinks.values()]
        for reader in readers:
            for name, value in reader.params.items():
                text = isinstance(value, str) and not (name == "path" and reader.name in sinks)
                if text and os.path.isfile(value):  # noqa: PTH113  (a formula may be too long for a name)
                    self.files[where_of(value) or ""] = reader.name

    def meets(self, where: str, folders: Sequence[str]) -> tuple[str, str] | None:
        """What an output would meet, and why it must not; `None` where it meets nothing."""
        never = "an output never replaces an input"
        if where in self.within:
            return f"that of the source `{self.within[where]}`", never
        if where in self.files:
            return f"that of a file which `{self.files[where]}` reads", never
        inside = next((self.sources[one] for one in folders if one in self.sources), None)
        return None if inside is None else (f"one inside the source `{inside}`", "the next run would read it too")


def _read(node: Node) -> str | None:
    """Where a source's array stands: within its folder, where a parameter says which of several."""
    where = where_of(node.params.get("path"))
    within = [node.params.get(name) for name in ("component", "group", "variable")]
    return where and "/".join([where, *(one.strip("/") for one in within if isinstance(one, str) and one.strip("/"))])


def where_of(given: Any) -> str | None:
    """One form for every way to write a path."""
    if not isinstance(given, str) or "\0" in given:
        return None
    if "://" in given:
        return given.rstrip("/")
    real = os.path.realpath(given)
    return real.casefold() if _folds_case(real) else real


def _folds_case(path: str) -> bool:
    """Whether names that differ in case alone are one where a path leads."""
    there = next((one for one in around(path) if os.path.exists(one)), "/")  # noqa: PTH110  (asked for every path)
    other = there.swapcase()
    return other != there and os.path.exists(other) and os.path.samefile(there, other)  # noqa: PTH110, PTH121


def around(where: str) -> list[str]:
    """`where` itself and every folder around it, the innermost first."""
    parts = where.split("/")
    return ["/".join(parts[:n]) or "/" for n in range(len(parts), 0, -1)]

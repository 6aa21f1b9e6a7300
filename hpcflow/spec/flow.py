"""A flow as frozen values: what the file said, checked, with the place of everything in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from xml.sax.saxutils import escape

from hpcflow.errors import Fault, Location
from hpcflow.meta import ArraySink, DocumentSink, Meta, Source
from hpcflow.report.diagram import svg
from hpcflow.spec.drawing import flow_graph


@dataclass(frozen=True)
class Node:
    """A source or a step."""

    name: str
    use: str
    """What stands behind `from` or `op`."""
    of: tuple[str, ...]
    """The nodes it reads; none for a source."""
    params: Mapping[str, Any]
    """Every parameter, defaults included, axes as numbers."""
    location: Location
    meta: Meta | None = None
    """`None` where an input was not there to ask (only ever in `check`)."""
    source: Source | None = None
    """The opened source; `None` for a step."""
    places: Mapping[str, Location] = field(default_factory=dict)
    """Where each parameter's value stands."""


@dataclass(frozen=True)
class Sink:
    """Where a result goes."""

    name: str
    use: str
    """What stands behind `to`."""
    of: tuple[str, ...]
    params: Mapping[str, Any]
    location: Location
    sink: ArraySink | DocumentSink
    places: Mapping[str, Location] = field(default_factory=dict)


@dataclass(frozen=True)
class Flow:
    """A whole flow, checked."""

    name: str
    about: str
    file: str
    text: str
    """The file as it was read."""
    params: Mapping[str, Any]
    """The parameters after overrides; a value that came from the environment is shown as ``***``."""
    nodes: Mapping[str, Node]
    """In an order in which every node follows its inputs; unused ones left out."""
    sinks: Mapping[str, Sink]
    block: tuple[int, ...] | None = None
    """The extents of a task's block along the leading axes; `None` lets the planner choose."""
    warnings: tuple[Fault, ...] = ()

    def _repr_html_(self) -> str:
        about = f"<p>{escape(self.about)}</p>" if self.about else ""
        return f"<b>{escape(self.name)}</b>{about}{svg(flow_graph(self))}"

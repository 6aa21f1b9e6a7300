"""Names to functions: ops, sources, sinks and models, found by file name or entry point.

Adding one is adding a file: ``hpcflow/sinks/npy.py`` holds the function `npy`, and ``to: npy``
finds it. Ops of a kin share a file, which ``ops/__init__.py`` names. Nothing is imported before a
flow names it. The decorators return the function untouched; what they attach is its geometry.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, EntryPoints, entry_points
from typing import Any, TypeVar, overload

from hpcflow.errors import Mismatch
from hpcflow.meta import Meta
from hpcflow.namespace import Array
from hpcflow.operation import Op, Partial, Reach

KINDS = ("ops", "sources", "sinks", "models")
__all__ = [
    "KINDS", "Partial", "Reach", "function", "get_op", "model", "names", "op", "reduction", "sink", "source",
]  # fmt: skip
F = TypeVar("F", bound=Callable[..., Any])


def _declare(kind: str, geometry: dict[str, Any]) -> Callable[[F], F]:
    def attach(function: F) -> F:
        function.__hpcflow__ = (kind, geometry)  # type: ignore[attr-defined]
        return function

    return attach


def op(
    *,
    depth: Callable[..., Any] | int | None = None,
    whole: Callable[..., Any] | str | None = None,
    reach: Callable[..., Reach] | None = None,
    meta: Callable[..., Meta] | None = None,
    inputs: Callable[..., tuple[str, ...]] | None = None,
    tile: bool = True,
    scratch: Callable[..., float] | float = 1.0,
    work: Callable[..., float] | float = 1.0,
    base: Callable[..., int] | int = 0,
    packages: Callable[..., tuple[str, ...]] | tuple[str, ...] = (),
    prepare: Callable[..., Any] | None = None,
    identity: Callable[..., Any] | None = None,
    doubts: Callable[..., Iterable[Mismatch]] | None = None,
    settle: Callable[..., Mapping[str, Any]] | None = None,
    stencil: bool = False,
    parts: bool = False,
    version: int = 1,
) -> Callable[[F], F]:
    """Declare a blockwise op: a pure function from blocks to a block.

    With none of `depth`, `whole` and `reach` it is elementwise: inputs broadcast as in NumPy,
    and the result's dtype is what the function returns for ones.

    Parameters
    ----------
    depth : int or callable, optional
        How far an element reaches: one number, one per axis, or one ``(before, behind)`` per
        axis; or a function ``(meta, **params)`` that gives this. The function gets the block
        with its halo, applies its own boundary `mode` (a parameter of this name) where the
        array really ends, and returns a block of the same shape; the halo is then trimmed. One
        that names `kept`, a region within the block, returns that part alone.
    whole : str or callable, optional
        The parameter that names the axes, or a function ``(meta, **params)`` that gives the
        axes, which the op must see from end to end.
    reach : callable, optional
        ``(out, metas, **params) -> Reach``, for everything else.
    meta : callable, optional
        ``(*metas, **params) -> Meta`` of the result. Left out, an op with `depth` or `whole`
        keeps its first input's, an elementwise op's is broadcast.
    inputs : callable, optional
        ``(**params) -> names`` of the nodes it reads, for an op that names them itself (`expr`);
        it may also take `nodes`, all that the flow has.
    tile : bool
        Whether a block may be computed tile by tile; not if the op is dear to call.
    scratch : float or callable, optional
        Bytes needed while it runs, beyond inputs and result, per byte of its inputs; or a
        function ``(*metas, **params)`` that gives this, and may take `shapes`, of its input blocks.
    work : float or callable, optional
        What making one element costs, beside copying it; the planner weighs halos by it. Or a
        function ``(meta, **params)`` of the result, which may take the `shape` that is made, and
        `metas`, of the inputs.
    base : int or callable, optional
        Bytes that a process holds once it has run the op: weights, what libraries set up. Or a function
        ``(*metas, **params)`` that gives this.
    packages : tuple of str or callable, optional
        What it imports when it is run; what that takes is measured. Or a function ``(*metas, **params)``.
    prepare : callable, optional
        ``(read, *metas, **params) -> JSON values``, called once on a worker before the first
        block; `read(region)` gives any part of the first input, and `read.state(region)` what tells
        that it is as it was. The function gets what it
        returns as `prepared`, and it is part of every block's key.
    identity : callable, optional
        ``(**params) -> JSON values`` of what else the result depends on: a file's digest.
    doubts : callable, optional
        ``(*metas, **params) -> Mismatch…`` that a flow is warned of: what is allowed and hardly meant.
    settle : callable, optional
        ``(**params) -> parameters``, called when a flow is checked, before `meta`: looks at the files
        that parameters name, raises `Mismatch` for those that will not do, and gives parameters that
        are settled by them.
    stencil : bool
        Whether an op with `depth` is, for some parameters, one call of `kernels.planes.separable`,
        and so can be part of a compiled loop.
    parts : bool
        Whether an op whose `whole` names a parameter gives the same one axis after another, each in a step of its own.
    version : int
        Raised when the op's results change, so that finished blocks are computed again.
    """
    names = {"depth": depth, "whole": whole, "reaches": reach, "makes": meta, "inputs": inputs}
    costs = {"tile": tile, "scratch": scratch, "work": work, "base": base, "packages": packages}
    rest = {"prepare": prepare, "identity": identity, "doubts": doubts, "settle": settle}
    return _declare("ops", {**names, **costs, **rest, "stencil": stencil, "parts": parts, "version": version})


def reduction(
    *,
    combine: Callable[[Partial, Partial], Partial],
    finalize: Callable[..., Array],
    meta: Callable[..., Meta],
    scratch: Callable[..., float] | float = 1.0,
    doubts: Callable[..., Iterable[Mismatch]] | None = None,
    version: int = 1,
) -> Callable[[F], F]:
    """Declare a reduction: the function turns one piece into a partial, a tuple of arrays.

    Parameters
    ----------
    combine : callable
        ``(first, second) -> partial`` of two neighbouring pieces, in C order.
    finalize : callable
        ``(partial, *, metas, xp, **params) -> array`` with the reduced axes still of length 1
        (the runner drops them unless `keepdims`).
    meta : callable
        ``(meta, **params) -> Meta`` of the result.
    scratch, doubts, version
        As for `op`.

    The function may take `region` (where the piece lies) and `metas` (of the whole input) for
    what depends on the position. Its `axis` is always a tuple of numbers.
    """
    names = {"combine": combine, "finalize": finalize, "makes": meta}
    return _declare("ops", {**names, "scratch": scratch, "doubts": doubts, "version": version})


@overload
def source(function: F, /) -> F: ...
@overload
def source(*, packages: tuple[str, ...] = (), base: int = 0) -> Callable[[F], F]: ...
def source(function: F | None = None, /, *, packages: tuple[str, ...] = (), base: int = 0) -> Any:
    """Declare a source: a function from parameters to a `meta.Source`; it reads metadata only.

    Parameters
    ----------
    function : callable, optional
        What is declared, where nothing else is said.
    packages : tuple of str
        What is imported when it is read; what that takes is measured.
    base : int
        Bytes that a process then holds beside that.
    """
    return _opening("sources", function, packages, base)


@overload
def sink(function: F, /) -> F: ...
@overload
def sink(*, packages: tuple[str, ...] = (), base: int = 0) -> Callable[[F], F]: ...
def sink(function: F | None = None, /, *, packages: tuple[str, ...] = (), base: int = 0) -> Any:
    """Declare a sink: a function from parameters to a `meta.ArraySink` or `meta.DocumentSink`.

    Parameters
    ----------
    function, packages, base
        As for `source`.
    """
    return _opening("sinks", function, packages, base)


def _opening(kind: str, function: F | None, packages: tuple[str, ...], base: int) -> Any:
    attach: Callable[[F], F] = _declare(kind, {"packages": packages, "base": base})
    return attach if function is None else attach(function)


def declared(kind: str, name: str) -> tuple[tuple[str, ...], int]:
    """The packages that a source or a sink imports when it is used, and the bytes that it takes beside them."""
    geometry: dict[str, Any] = getattr(function(kind, name), "__hpcflow__", (kind, {}))[1]
    return geometry.get("packages", ()), geometry.get("base", 0)


def model(function: F) -> F:
    """Declare a model: a function from parameters to a `models.base.Model`; it loads no weights."""
    return _declare("models", {})(function)


@cache
def _points(kind: str) -> Mapping[str, EntryPoint]:
    """What other packages add; finding out reads a file of every installed package, once."""
    return {point.name: point for point in _all_points().select(group=f"hpcflow.{kind}")}


@cache
def _all_points() -> EntryPoints:
    found: Any = entry_points()  # the stubs still know the mapping of Python 3.9
    return found  # type: ignore[no-any-return]


@cache
def names(kind: str) -> tuple[str, ...]:
    """Every name of a kind (one of `KINDS`), sorted; imports none of them."""
    return tuple(sorted({*_modules(kind), *_points(kind)}))


@cache
def _modules(kind: str) -> Mapping[str, str]:
    """The module that holds each name of hpcflow's own."""
    package = import_module(f"hpcflow.{kind}")
    families: Mapping[str, str] = getattr(package, "FAMILIES", {})
    files = [m.name for m in pkgutil.iter_modules(package.__path__)]
    # `base` and names with an underscore hold what several files share.
    alone = {name: name for name in files if name != "base" and not name.startswith("_") and name not in families}
    return alone | {name: family for family, held in families.items() for name in held.split()}


@cache
def function(kind: str, name: str) -> Callable[..., Any]:
    """The function behind a name.

    Raises
    ------
    KeyError
        Where there is none.
    """
    if name not in names(kind):
        raise KeyError(name)
    if name in _points(kind):
        found: Callable[..., Any] = _points(kind)[name].load()
        return found
    own: Callable[..., Any] = getattr(import_module(f"hpcflow.{kind}.{_modules(kind)[name]}"), name)
    return own


@cache
def get_op(name: str) -> Op:
    """The op behind a name, with its geometry; raises `KeyError` where there is none."""
    found = function("ops", name)
    _, geometry = found.__hpcflow__  # type: ignore[attr-defined]
    return Op(name=name, function=found, **geometry)

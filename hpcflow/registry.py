"""Names to functions: ops, sources, sinks and models, found by file name or entry point.

Adding one is adding a file: ``hpcflow/ops/gaussian.py`` holds the function `gaussian`, and
``op: gaussian`` finds it. Nothing is imported before a flow names it. The decorators return
the function untouched; what they attach is its geometry.
"""

from __future__ import annotations

import inspect
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, EntryPoints, entry_points
from typing import Any, TypeVar

import numpy as np

from hpcflow.errors import Mismatch
from hpcflow.meta import Meta
from hpcflow.namespace import Array, Namespace, sample
from hpcflow.parameters import INJECTED
from hpcflow.regions import Depth, Interval, Region, clip, grow, whole

KINDS = ("ops", "sources", "sinks", "models")
F = TypeVar("F", bound=Callable[..., Any])
Partial = tuple[Array, ...]
"""What one piece of a reduction knows: arrays whose reduced axes have length 1."""


@dataclass(frozen=True)
class Reach:
    """What an op reads, and what it then makes, to give one region of its output."""

    made: Region
    """What the function returns: `out` or more; the evaluator trims it."""
    needs: tuple[Region | None, ...]
    """The region of each input; `None` where an input is not needed (and is not passed)."""


@dataclass(frozen=True)
class Geometry:
    """What of an op's reach depends on its parameters alone, not on the region: worked out once."""

    halo: Depth
    continued: tuple[bool, ...]
    """Axes along which a filter wraps, or does not reach at all."""
    seen_whole: tuple[int, ...]
    periodic: tuple[bool, ...]
    """Axes along which a periodic continuation of the inputs continues the result."""


@dataclass(frozen=True)
class Op:
    """A function with the geometry that its decorator attached."""

    name: str
    function: Callable[..., Any]
    depth: Callable[..., Any] | int | None = None
    whole: Callable[..., Any] | str | None = None
    reaches: Callable[..., Reach] | None = None
    makes: Callable[..., Meta] | None = None
    inputs: Callable[..., tuple[str, ...]] | None = None
    combine: Callable[[Partial, Partial], Partial] | None = None
    finalize: Callable[..., Array] | None = None
    tile: bool = True
    scratch: Callable[..., float] | float = 1.0
    work: Callable[..., float] | float = 1.0
    base: Callable[..., int] | int = 0
    prepare: Callable[..., Any] | None = None
    identity: Callable[..., Any] | None = None
    version: int = 1

    @property
    def is_reduction(self) -> bool:
        """Whether the op ends in a value that many blocks share."""
        return self.combine is not None

    @property
    def arity(self) -> tuple[int, int | None]:
        """The fewest and the most inputs; `None` for no limit."""
        kinds = inspect.Parameter
        parameters = _parameters(self.function).values()
        positional = [p for p in parameters if p.kind in (kinds.POSITIONAL_ONLY, kinds.POSITIONAL_OR_KEYWORD)]
        fewest = sum(p.default is kinds.empty for p in positional)
        if any(p.kind is kinds.VAR_POSITIONAL for p in parameters):
            return max(fewest, 1), None
        return fewest, len(positional)

    def meta(self, metas: Sequence[Meta], params: Mapping[str, Any]) -> Meta:
        """Shape, dtype and dims of the result.

        Raises
        ------
        Mismatch
            Where the inputs do not fit the op or each other.
        """
        if self.makes is not None:
            made: Meta = call(self.makes, metas, params)
        elif self.depth is not None or self.whole is not None:
            made = metas[0]
        else:
            made = broadcast(metas, self._sampled_dtype(metas, params))
        return replace(made, items=None if self.is_reduction else self._items(made, metas, params))

    def _sampled_dtype(self, metas: Sequence[Meta], params: Mapping[str, Any]) -> np.dtype[Any]:
        try:
            with np.errstate(all="ignore"):
                tried = self([sample(m.shape, m.dtype) for m in metas], params, np)
        except Mismatch:
            raise
        except (TypeError, ValueError, ArithmeticError) as error:
            raise Mismatch(f"expected inputs that `{self.name}` takes, found {error}") from None
        return np.asarray(tried).dtype

    def _items(self, made: Meta, metas: Sequence[Meta], params: Mapping[str, Any]) -> str | None:
        """The items that still run along the first axis: ask whether a row needs the same row alone."""
        sources = {m.items for m in metas if m.items and m.ndim and made.ndim and m.shape[0] == made.shape[0]}
        if len(sources) != 1:
            return None
        single = made.shape[0] == 1 and self.depth is None
        # The first and the last: a row that all others are made of is no row of its own.
        rows = [(0, 1), (made.shape[0] - 1, made.shape[0])]
        return sources.pop() if all(self._alone(row, made, metas, params, single=single) for row in rows) else None

    def _alone(
        self, row: Interval, made: Meta, metas: Sequence[Meta], params: Mapping[str, Any], *, single: bool
    ) -> bool:
        reach = self.reach((row, *whole(made.shape)[1:]), made, metas, params)
        needs = [need[0] for m, need in zip(metas, reach.needs, strict=True) if m.items and need is not None]
        return bool(needs) and (single or (all(need == row for need in needs) and reach.made[0] == row))

    def geometry(self, made: Meta, params: Mapping[str, Any]) -> Geometry:
        """What `reach` needs to know for these parameters, whatever the region."""
        halo = self.halo(made, params)
        continued = tuple(
            wrapped or before == behind == 0
            for wrapped, (before, behind) in zip(self.wraps(made, params), halo, strict=True)
        )
        seen = () if self.whole is None else self.axes_seen_whole(made, params)
        if self.reaches is not None:
            periodic = (False,) * made.ndim
        elif self.whole is not None:
            periodic = tuple(self.depth is None and axis not in seen for axis in range(made.ndim))
        else:
            periodic = (True,) * made.ndim if self.depth is None else continued
        return Geometry(halo, continued, seen, periodic)

    def reach(
        self,
        out: Region,
        made: Meta,
        metas: Sequence[Meta],
        params: Mapping[str, Any],
        geometry: Geometry | None = None,
    ) -> Reach:
        """What must be read, and what is then made, for the region `out` of the result.

        `out` may lie beyond the array's ends only along `periodic` axes.
        """
        if self.reaches is not None:
            return self.reaches(out, metas, **accepted(self.reaches, params))
        if self.depth is not None or self.whole is not None:
            region = self._grown(out, made, geometry or self.geometry(made, params))
            rest = tuple(whole(m.shape) for m in metas[1:])
            return Reach(region, (region, *rest))
        return Reach(out, tuple(_aligned(out, made, m) for m in metas))

    def _grown(self, out: Region, made: Meta, geometry: Geometry) -> Region:
        region = out
        if self.depth is not None:
            grown = grow(out, geometry.halo)
            inside = clip(grown, made.shape)
            region = tuple(
                # A window at least as long as the axis is the whole axis, whatever the boundary.
                ((0, n) if b - a >= n else (a, b)) if continued else edge
                for (a, b), edge, n, continued in zip(grown, inside, made.shape, geometry.continued, strict=True)
            )
        return tuple((0, made.shape[i]) if i in geometry.seen_whole else one for i, one in enumerate(region))

    def axes_seen_whole(self, made: Meta, params: Mapping[str, Any]) -> tuple[int, ...]:
        """The axes that an op with `whole` sees from end to end."""
        axes = params[self.whole] if isinstance(self.whole, str) else call(self.whole, (made,), params)  # type: ignore[arg-type]
        return (axes,) if isinstance(axes, int) else tuple(axes)

    def halo(self, meta: Meta, params: Mapping[str, Any]) -> Depth:
        """How far the op reaches before and behind an element, per axis."""
        if self.depth is None:
            return ((0, 0),) * meta.ndim
        depth = self.depth if isinstance(self.depth, int) else call(self.depth, (meta,), params)
        each = [depth] * meta.ndim if isinstance(depth, int) else depth
        return tuple((d, d) if isinstance(d, int) else (int(d[0]), int(d[1])) for d in each)

    def wraps(self, meta: Meta, params: Mapping[str, Any]) -> tuple[bool, ...]:
        """Along which axes the op's own boundary is periodic."""
        if self.depth is None:
            return (False,) * meta.ndim
        mode = params.get("mode")
        axes = params.get("axes") or range(meta.ndim)
        modes = dict(zip(axes, mode, strict=False)) if isinstance(mode, (list, tuple)) else dict.fromkeys(axes, mode)
        return tuple(modes.get(axis) in ("wrap", "grid-wrap") for axis in range(meta.ndim))

    def __call__(self, arrays: Sequence[Array], params: Mapping[str, Any], xp: Namespace, **injected: Any) -> Any:
        """Run the function on blocks; for a reduction, on one piece of its input."""
        return self.function(*arrays, **params, **accepted(self.function, {"xp": xp, "cores": 1, **injected}, INJECTED))


def broadcast(metas: Sequence[Meta], dtype: Any) -> Meta:
    """The meta of an elementwise result, by NumPy's broadcasting; names agree or give way to `None`."""
    try:
        shape = np.broadcast_shapes(*(m.shape for m in metas))
    except ValueError:
        found = " and ".join(str(m.shape) for m in metas)
        raise Mismatch(f"expected shapes that broadcast together, found {found}") from None
    dims: list[str | None] = []
    for axis in range(len(shape)):
        behind = len(shape) - axis
        names = {m.dims[m.ndim - behind] for m in metas if m.ndim >= behind and m.dims[m.ndim - behind]}
        if len(names) > 1:
            raise Mismatch(
                f"expected inputs whose axes have the same names, found {' and '.join(sorted(f'`{n}`' for n in names))}"
            )
        dims.append(names.pop() if names else None)
    return Meta(shape, dtype, tuple(dims))


def _aligned(out: Region, made: Meta, meta: Meta) -> Region:
    """The region of an input that broadcasts against `out`."""
    trailing = out[len(out) - meta.ndim :]
    full = made.shape[made.ndim - meta.ndim :]
    return tuple((0, 1) if n == 1 and m != 1 else one for one, n, m in zip(trailing, meta.shape, full, strict=True))


def accepted(
    function: Callable[..., Any], values: Mapping[str, Any], names: frozenset[str] | None = None
) -> dict[str, Any]:
    """Those of `values` that the function's signature names; all of them for one that takes any."""
    parameters = _parameters(function)
    if names is None and any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values()):
        return dict(values)
    return {k: v for k, v in values.items() if k in parameters and (names is None or k in names)}


@cache
def _parameters(function: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    return inspect.signature(function).parameters


def call(function: Callable[..., Any], metas: Sequence[Meta], params: Mapping[str, Any]) -> Any:
    """Call a geometry function with as many metas as it takes and the parameters that it names."""
    kinds = inspect.Parameter
    parameters = _parameters(function).values()
    positional = [p for p in parameters if p.kind in (kinds.POSITIONAL_ONLY, kinds.POSITIONAL_OR_KEYWORD)]
    variable = any(p.kind is kinds.VAR_POSITIONAL for p in parameters)
    return function(*(metas if variable else metas[: len(positional)]), **accepted(function, params))


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
    prepare: Callable[..., Any] | None = None,
    identity: Callable[..., Any] | None = None,
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
        array really ends, and returns a block of the same shape; the halo is then trimmed.
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
        function ``(meta, **params)`` of the result, which may take the `shape` that is made.
    base : int or callable, optional
        Bytes that a process holds once it has run the op: libraries and weights. Or a function
        ``(**params)`` that gives this.
    prepare : callable, optional
        ``(read, *metas, **params) -> JSON values``, called once on a worker before the first
        block; `read(region)` gives any part of the first input. The function gets what it
        returns as `prepared`, and it is part of every block's key.
    identity : callable, optional
        ``(**params) -> JSON values`` of what else the result depends on: a file's digest.
    version : int
        Raised when the op's results change, so that finished blocks are computed again.
    """
    names = {"depth": depth, "whole": whole, "reaches": reach, "makes": meta, "inputs": inputs}
    costs = {"tile": tile, "scratch": scratch, "work": work, "base": base}
    return _declare("ops", {**names, **costs, "prepare": prepare, "identity": identity, "version": version})


def reduction(
    *,
    combine: Callable[[Partial, Partial], Partial],
    finalize: Callable[..., Array],
    meta: Callable[..., Meta],
    scratch: Callable[..., float] | float = 1.0,
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
    scratch, version
        As for `op`.

    The function may take `region` (where the piece lies) and `metas` (of the whole input) for
    what depends on the position. Its `axis` is always a tuple of numbers.
    """
    names = {"combine": combine, "finalize": finalize, "makes": meta}
    return _declare("ops", {**names, "scratch": scratch, "version": version})


def source(function: F) -> F:
    """Declare a source: a function from parameters to a `meta.Source`; it reads metadata only."""
    return _declare("sources", {})(function)


def sink(function: F) -> F:
    """Declare a sink: a function from parameters to a `meta.ArraySink` or `meta.DocumentSink`."""
    return _declare("sinks", {})(function)


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
    own = [m.name for m in pkgutil.iter_modules(import_module(f"hpcflow.{kind}").__path__)]
    # `base` and names with an underscore hold what several files share.
    own = [name for name in own if name != "base" and not name.startswith("_")]
    return tuple(sorted({*own, *_points(kind)}))


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
    own: Callable[..., Any] = getattr(import_module(f"hpcflow.{kind}.{name}"), name)
    return own


@cache
def get_op(name: str) -> Op:
    """The op behind a name, with its geometry; raises `KeyError` where there is none."""
    found = function("ops", name)
    _, geometry = found.__hpcflow__  # type: ignore[attr-defined]
    return Op(name=name, function=found, **geometry)

"""An op as the planner sees it: a function, and what it reads and makes for a region of its result."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np

from hpcflow.errors import Mismatch
from hpcflow.meta import Meta
from hpcflow.namespace import Array, Namespace, sample
from hpcflow.parameters import INJECTED
from hpcflow.regions import Depth, Interval, Region, clip, grow, whole

Partial = tuple[Array, ...]
"""What one piece of a reduction knows: arrays whose reduced axes have length 1."""


LISTED = 20_000
"""The most positions that a parameter can list: a flow has no more values."""


@dataclass(frozen=True)
class Reach:
    """What an op reads, and what it then makes, to give one region of its output."""

    made: Region
    """What the function returns, unless it trims: `out` or more; the evaluator trims it."""
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
    packages: Callable[..., tuple[str, ...]] | tuple[str, ...] = ()
    prepare: Callable[..., Any] | None = None
    identity: Callable[..., Any] | None = None
    doubts: Callable[..., Iterable[Mismatch]] | None = None
    settle: Callable[..., Mapping[str, Any]] | None = None
    stencil: bool = False
    parts: bool = False
    version: int = 1

    @property
    def is_reduction(self) -> bool:
        """Whether the op ends in a value that many blocks share."""
        return self.combine is not None

    @property
    def uses_cores(self) -> bool:
        """Whether one block can keep all cores busy."""
        return "cores" in _parameters(self.function)

    @property
    def trims(self) -> bool:
        """Whether the function returns no more than what is `kept` of its result."""
        return "kept" in _parameters(self.function)

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
        if self.is_reduction:
            # One that leaves the first axis has a row for each of its items.
            return replace(made, items=None if 0 in params["axis"] else metas[0].items)
        return replace(made, items=self._items(made, metas, params))

    def doubtful(self, metas: Sequence[Meta], params: Mapping[str, Any]) -> list[Mismatch]:
        """What is allowed, and hardly meant."""
        return [] if self.doubts is None else list(call(self.doubts, metas, params))

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
        # Several: a row that all others are made of is no row of its own.
        rows = [(i, i + 1) for i in self.probed(made.shape[0])]
        return sources.pop() if all(self._alone(row, made, metas, params, single=single) for row in rows) else None

    def probed(self, extent: int) -> Sequence[int]:
        """Places along an axis of the result that tell where all of them come from.

        All of them where a parameter may list them; else they come from straight lines of places.
        """
        if self.reaches is not None and extent <= LISTED:
            return range(extent)
        return sorted({at for at in (0, 1, extent // 2, extent - 1) if 0 <= at < extent})

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
    if meta.shape == made.shape:
        return out
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

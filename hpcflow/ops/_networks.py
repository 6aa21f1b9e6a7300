"""What the ops that run neural networks share: the model behind a name, and its calibration."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Protocol

import numpy as np
from pydantic import Field

from hpcflow.code import code_of
from hpcflow.digests import digest
from hpcflow.errors import BadItem, Mismatch, RunError
from hpcflow.meta import Meta
from hpcflow.models._archive import SUFFIXES, Archive
from hpcflow.models._engines import BASE, LIBRARY, MAKING, Use, artefact, check, is_kept, network
from hpcflow.models._kept import kept
from hpcflow.models.base import Classifier, Model, Network
from hpcflow.namespace import Array, Namespace
from hpcflow.operation import accepted
from hpcflow.regions import Region
from hpcflow.registry import function, names

SHA256 = Annotated[str, Field(pattern=r"^[0-9a-fA-F]{64}$")]
Share = Annotated[float, Field(ge=0, le=1)]
Given = Mapping[str, Any]
"""An op's parameters, as geometry functions get them."""
CALIBRATED, CHECKED = 32, 96
"""Items of the input that int8 is calibrated on, and others that it is then held against float32 on."""


class Input(Protocol):
    """An op's input, before the first block."""

    def __call__(self, region: Region) -> Array:
        """The part in this region."""

    def state(self, region: Region) -> str:
        """What tells, without reading it, that this part is as it was."""


@dataclass(frozen=True)
class Shown:
    """How an op shows its input to a network; all else that the planner asks of such an op follows from that."""

    seen: Callable[[Meta, Given], Meta]
    """What the network gets, items along the first axis."""
    parts: Callable[[Meta, Given], Iterable[tuple[Region, Region]]]
    """A sample of the input, evenly spaced: a region of it, and the region of the result that it is for."""
    items: Callable[[Array, Region, Meta, Given], Iterable[Array]]
    """Items in such a part, for such a region of the result."""

    def use(self, meta: Meta, given: Given, device: str = "cpu", ranges: str = "") -> Use:
        """How the network is run on an input with this meta."""
        seen = self.seen(meta, given)
        engine, precision, batch = given["engine"], given["precision"], given["batch"]
        return Use(device, engine, precision, seen.shape[1:], seen.dtype.name, batch, ranges)

    def held(self, meta: Meta, **given: Any) -> int:
        """Bytes of a process that has loaded the engine and, once, of the one that makes the network ready for it."""
        use = self.use(meta, given)
        making = use.engine != "torch" and not is_kept(_model(given), use)
        return BASE[use.engine] + making * MAKING

    def packages(self, meta: Meta, **given: Any) -> tuple[str, ...]:
        """What the engine imports."""
        return LIBRARY[self.use(meta, given).engine]

    def prepare(self, read: Input, meta: Meta, **given: Any) -> str:
        """Make the network ready for its engine; the ranges of its tensors for int8."""
        parts = list(self.parts(meta, given))

        def sample() -> list[Array]:
            found: list[Array] = []
            for needed, made in parts:
                with suppress(BadItem):
                    found.extend(self.items(read(needed), made, meta, given))
            if not found:
                raise RunError("expected some good items to calibrate int8 on, found none")
            return found

        def state() -> str:
            return digest([read.state(needed).encode() for needed, _ in parts])

        return ready(_model(given), self.use(meta, given), sample, state, given["agreement"])

    def network(self, meta: Meta, given: Given, xp: Namespace, prepared: Any) -> Network:
        """The network ready to run, in the memory that `xp` computes in."""
        if given["precision"] == "int8" and not prepared:
            raise Mismatch(
                "expected int8 to be calibrated before the first block, found no ranges", parameter="precision"
            )
        return network(_model(given), self.use(meta, given, device_of(xp), prepared or ""))


def _model(given: Given) -> Model:
    return find(given["model"], given.get("weights"), given["sha256"])


def identity(*, model: str, sha256: str | None, weights: str | None = None) -> str:
    """The digest of the weights, or of the model file; and of the code, where an add-on brings the model."""
    found = find(model, weights, sha256)
    code = code_of(function("models", model)) if model in names("models") else ""
    return digest([found.digest.encode(), code.encode()]) if code else found.digest


def settled(*, model: str, sha256: str | None, weights: str | None = None) -> dict[str, Any]:
    """Look at the file of the model before the first block; TorchScript stays the file that was vouched for."""
    found = find(model, weights, sha256)
    digest = found.settled() if isinstance(found, (Archive, Classifier)) else None
    return {} if digest is None else {"sha256": digest}


def find(model: str, weights: str | None, sha256: str | None) -> Model:
    """The model behind a name or a path; nothing of it is loaded.

    Raises
    ------
    Mismatch
        If it is neither.
    FileNotFoundError
    """
    if model in names("models"):
        make = function("models", model)
        found: Model = make(**accepted(make, {"weights": weights, "sha256": sha256}))
        return found
    if not model.lower().endswith(SUFFIXES):
        close = get_close_matches(model, names("models"), n=1)
        raise Mismatch(
            f"expected {', '.join(f'`{name}`' for name in names('models'))} or the path of a model file "
            f"({', '.join(SUFFIXES)}), found `{model}`",
            parameter="model",
            hint=f"did you mean `{close[0]}`?" if close else "",
        )
    if weights is not None:
        raise Mismatch("expected no `weights` beside a model file, which has its own", parameter="weights")
    return Archive(model, sha256)


def checked(model: Model, engine: str, precision: str) -> Model:
    """The model, if it can be run by this engine in this precision."""
    check(engine, precision)
    if isinstance(model, Archive):
        model.check(engine, precision)
    return model


def device_of(xp: Namespace) -> str:
    """What torch calls the memory that `xp` computes in."""
    return "cpu" if xp.__name__ == "numpy" else "cuda"


def ready(
    model: Model, use: Use, sample: Callable[[], Sequence[Array]], state: Callable[[], str], agreement: float
) -> str:
    """Make the network ready for its engine, once for all blocks; the ranges of its tensors for int8.

    Parameters
    ----------
    model : Model
    use : Use
    sample : callable
        Gives some items of the flow's own input.
    state : callable
        Gives what tells that they are as they were: they are then not read again.
    agreement : float
        The least share of them that int8 must treat as float32 does.

    Raises
    ------
    RunError
        Where it treats fewer so.
    """
    if use.engine == "torch":
        return ""
    exact = replace(use, precision="float32") if use.precision == "int8" else use
    path = artefact(model, exact)
    if use.precision != "int8":
        return ""
    name = digest([path.name.encode(), state().encode()]) + ".json"
    found = json.loads(kept("engines", name, lambda out: _calibrate(model, exact, sample(), out)).read_text())
    if found["agreement"] < agreement:
        raise RunError(
            f"expected int8 to agree with float32 on {agreement:.2%} of a sample of the input, "
            f"found {found['agreement']:.2%}\n  hint: `precision: float32`, or a lower `agreement`"
        )
    return str(found["ranges"])


def _calibrate(model: Model, exact: Use, items: Sequence[Array], out: Path) -> None:
    from hpcflow.models._onnx import calibrated  # noqa: PLC0415  (only int8 needs it)

    # Every fourth item calibrates and the others check, unless there are only few.
    enough = len(items) >= CALIBRATED
    ranges = calibrated(artefact(model, exact), (item[None] for item in (items[::4] if enough else items)))
    checks = np.stack([item for i, item in enumerate(items) if i % 4 or not enough])
    rough = replace(exact, precision="int8", ranges=ranges)
    results = [in_batches(network(model, use), checks, exact.batch, np) for use in (exact, rough)]
    out.write_text(json.dumps({"ranges": ranges, "agreement": alike(*results)}))


def alike(exact: Array, rough: Array) -> float:
    """How well two results agree, up to 1.

    Of scores, the share of items with the same best class; of arrays, one minus the mean
    squared difference as a share of the variance.
    """
    if exact.ndim == 2:
        return float((exact.argmax(1) == rough.argmax(1)).mean())
    spread = float(np.square(exact - exact.mean()).sum())
    missed = float(np.square(exact - rough).sum())
    return 1 - missed / spread if spread else float(missed == 0)


def in_batches(run: Callable[[Array], Array], items: Array, batch: int, xp: Namespace) -> Array:
    """The network's results for all items, some at a time."""
    pieces = [run(items[start : start + batch]) for start in range(0, len(items), batch)]
    return pieces[0] if len(pieces) == 1 else xp.concatenate(pieces)


def spaced(count: int) -> list[int]:
    """Numbers of evenly spaced items, at most as many as calibration uses."""
    return sorted({round(i) for i in np.linspace(0, count - 1, min(count, CALIBRATED + CHECKED))})

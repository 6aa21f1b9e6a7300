"""Neural networks."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated

from pydantic import Field

from hpcflow.errors import Mismatch
from hpcflow.meta import Meta
from hpcflow.models._archive import SUFFIXES, Archive
from hpcflow.models.base import Model, loaded
from hpcflow.namespace import Array, Namespace
from hpcflow.parameters import PositiveInt
from hpcflow.regions import Region, whole
from hpcflow.registry import Reach, accepted, function, names, op

SHA256 = Annotated[str, Field(pattern=r"^[0-9a-fA-F]{64}$")]


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
    Path(model).stat()
    return Archive(model, sha256)


def result(meta: Meta, *, model: str, weights: str | None, sha256: str | None) -> Meta:
    """What the model makes of this input."""
    return find(model, weights, sha256).makes(meta)


def reach(out: Region, metas: Sequence[Meta], *, model: str, weights: str | None, sha256: str | None) -> Reach:
    """Whole items, only those asked for."""
    (meta,) = metas
    made = result(meta, model=model, weights=weights, sha256=sha256)
    return Reach((out[0], *whole(made.shape)[1:]), ((out[0], *whole(meta.shape)[1:]),))


def scratch(meta: Meta, *, model: str, weights: str | None, sha256: str | None) -> float:
    """The network's activations, per byte of the input."""
    return find(model, weights, sha256).activations / meta.dtype.itemsize


def identity(*, model: str, weights: str | None, sha256: str | None) -> str:
    """The digest of the weights, or of the model file."""
    return find(model, weights, sha256).digest


@op(reach=reach, meta=result, tile=False, scratch=scratch, identity=identity)
def infer(
    x: Array,
    /,
    *,
    model: str = "efficientnet_lite0",
    weights: str | None = None,
    sha256: SHA256 | None = None,
    batch: PositiveInt = 32,
    xp: Namespace,
) -> Array:
    """Run a neural network on every item along the first axis.

    The named models take photos as `from: images` gives them and return a score (a logit)
    for each of ImageNet's 1000 classes; `softmax` makes probabilities of them and `top_k`
    picks the best. A model file is given the array as it is and may return any shape.

    Parameters
    ----------
    model : str
        ``efficientnet_lite0``, ``resnet18``, or the path of a model file: a `torch.export`
        archive (``.pt2``) or TorchScript (``.pt``, ``.ts``). Use model files that you trust.
    weights : str
        The path or URL of a named model's weights, where it does not bring its own.
    sha256 : str
        What the SHA-256 of the weights, or of the model file, must be.
    batch : int
        The most items that the network is given at once.

    Examples
    --------
    scores: {op: infer, of: photos, model: efficientnet_lite0, batch: 16}
    """
    network = loaded(find(model, weights, sha256), "cpu" if xp.__name__ == "numpy" else "cuda")
    return xp.concatenate([network(x[start : start + batch]) for start in range(0, len(x), batch)])

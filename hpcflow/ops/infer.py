"""Neural networks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import ceil, prod
from typing import Any

from hpcflow.meta import Meta
from hpcflow.models._engines import Engine, Precision
from hpcflow.namespace import Array, Namespace
from hpcflow.ops._networks import SHA256, Given, Share, Shown, checked, find, identity, in_batches, settled, spaced
from hpcflow.parameters import PositiveInt
from hpcflow.regions import Region, Shape, whole
from hpcflow.registry import Reach, op


def result(
    meta: Meta, *, model: str, weights: str | None, sha256: str | None, engine: Engine, precision: Precision
) -> Meta:
    """What the model makes of this input."""
    return checked(find(model, weights, sha256), engine, precision).makes(meta)


def reach(out: Region, metas: Sequence[Meta], *, model: str, weights: str | None, sha256: str | None) -> Reach:
    """Whole items, only those asked for."""
    (meta,) = metas
    made = find(model, weights, sha256).makes(meta)
    return Reach((out[0], *whole(made.shape)[1:]), ((out[0], *whole(meta.shape)[1:]),))


def scratch(
    meta: Meta,
    *,
    model: str,
    weights: str | None,
    sha256: str | None,
    engine: Engine,
    batch: int,
    shapes: Sequence[Shape],
) -> float:
    """The network's activations for one batch, per byte of the input."""
    (shape,) = shapes
    share = min(batch / max(shape[0], 1), 1.0) if engine != "compile" else batch / max(shape[0], 1)
    return share * find(model, weights, sha256).activations[engine] / meta.dtype.itemsize


def work(
    meta: Meta, *, model: str, weights: str | None, sha256: str | None, engine: Engine, batch: int, shape: Shape
) -> float:
    """What an element of the result costs: the activations of its item, and a call for each batch."""
    items, each = shape[0], prod(meta.shape[1:])
    calls = ceil(items / batch)
    # A call costs about as much as an item; compiled code always takes a whole batch.
    paid = batch * calls if engine == "compile" else items
    activations = find(model, weights, sha256).activations[engine]
    return ITEM * activations * (paid + calls) / (items * each) if items and each else 1.0


ITEM = 224 * 224 * 3
"""Elements of an item whose work is what its activations take; of other items it is not known."""


def parts(meta: Meta, _: Given) -> Iterator[tuple[Region, Region]]:
    """Single items."""
    for index in spaced(meta.shape[0]):
        one = ((index, index + 1), *whole(meta.shape)[1:])
        yield one, one


SHOWN = Shown(seen=lambda meta, _: meta, parts=parts, items=lambda x, *_: x)


@op(
    reach=reach,
    meta=result,
    tile=False,
    scratch=scratch,
    work=work,
    base=SHOWN.held,
    packages=SHOWN.packages,
    prepare=SHOWN.prepare,
    identity=identity,
    settle=settled,
    version=2,
)
def infer(
    x: Array,
    /,
    *,
    model: str = "efficientnet_lite0",
    weights: str | None = None,
    sha256: SHA256 | None = None,
    batch: PositiveInt = 8,
    engine: Engine = "torch",
    precision: Precision = "float32",
    agreement: Share = 0.98,
    xp: Namespace,
    metas: Sequence[Meta] | None = None,
    prepared: Any = None,
) -> Array:
    """Run a neural network on every item along the first axis.

    The named models take photos as `from: images` gives them and return a score (a logit)
    for each of ImageNet's 1000 classes; `softmax` makes probabilities of them and `top_k`
    picks the best. A model file is given the array as it is and may return any shape. For a
    network that makes a plane or a volume of a plane or a volume, see `infer_tiled`.

    Parameters
    ----------
    model : str
        ``efficientnet_lite0``, ``resnet18``, or the path of a model file: a `torch.export`
        archive (``.pt2``), which is looked through, or TorchScript (``.pt``, ``.ts``), which runs only
        with ``--trust-models``.
    weights : str
        The path or URL of a named model's weights, where it does not bring its own.
    sha256 : str
        What the SHA-256 of the weights, or of the model file, must be.
    batch : int
        The most items that the network is given at once. Few are faster on a CPU, whose cache
        they fit; many on a GPU.
    engine : str
        ``torch`` runs every network as it is. ``compile`` has torch compile it for this machine,
        and ``onnxruntime`` exports it; either happens once, takes half a minute, and is kept in
        ``~/.cache/hpcflow``. ``onnxruntime`` is the fastest on a CPU (``pip install
        "hpcflow[onnx]"``), ``compile`` needs a C++ compiler.
    precision : str
        ``float32``; ``bfloat16`` (`torch` and `compile`), fast where the processor has it;
        ``float16`` (`torch`), fast on a GPU; or ``int8`` (`onnxruntime`), calibrated on a sample of
        the flow's own input.
    agreement : float
        The least share of another sample on which ``int8`` must give the same best class as
        ``float32`` (for results that are no scores: of their variance), else the run is refused.

    Examples
    --------
    scores: {op: infer, of: photos, model: efficientnet_lite0, engine: onnxruntime}
    """
    meta = metas[0] if metas else Meta(x.shape, x.dtype)
    given: dict[str, Any] = {"model": model, "weights": weights, "sha256": sha256}
    given |= {"engine": engine, "precision": precision, "batch": batch}
    return in_batches(SHOWN.network(meta, given, xp, prepared), x, batch, xp)

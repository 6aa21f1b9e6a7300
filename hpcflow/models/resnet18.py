"""ResNet-18, trained on ImageNet."""

from __future__ import annotations

from typing import Any

from hpcflow.models.base import Classifier
from hpcflow.registry import model

URL = "https://download.pytorch.org/models/resnet18-f37072fd.pth"
SHA256 = "f37072fd47e89c5e827621c5baffa7500819f7896bbacec160b1a16c560e07ec"
HINT = f"download {URL} (45 MB) where there is a network, and give its path as `weights`"


@model
def resnet18(*, weights: str | None = None, sha256: str | None = None) -> Classifier:
    """ResNet-18: 1000 ImageNet classes, 11.7 million weights, 70 % right at first guess.

    Takes torchvision's official weights, `resnet18-f37072fd.pth`. They are fetched from
    download.pytorch.org at first use and kept in ``~/.cache/hpcflow``; without a network,
    download the file elsewhere and give its path as `weights`.

    Parameters
    ----------
    weights : str
        The path or URL of the official weights, or, with its `sha256`, of any state dict with
        the same names and shapes, as training leaves it (``module.``, ``state_dict``), or in
        safetensors.
    sha256 : str
        The SHA-256 that `weights` must have; by default that of the official file.

    Examples
    --------
    scores: {op: infer, of: photos, model: resnet18, weights: resnet18-f37072fd.pth}
    """
    return Classifier(
        name="resnet18",
        weights=weights or URL,
        sha256=sha256 or SHA256,
        build=_build,
        mean=(255 * 0.485, 255 * 0.456, 255 * 0.406),
        std=(255 * 0.229, 255 * 0.224, 255 * 0.225),
        activations={"torch": 40.0, "compile": 40.0, "onnxruntime": 40.0},
        hint=HINT,
        shapes=_shapes,
    )


def _shapes() -> dict[str, tuple[int, ...]]:
    """Torchvision's names, and the shape of each."""
    found: dict[str, tuple[int, ...]] = {}

    def convolved(conv: str, norm: str, outside: int, inside: int, size: int) -> None:
        found[f"{conv}.weight"] = (outside, inside, size, size)
        found.update({f"{norm}.{one}": (outside,) for one in ("weight", "bias", "running_mean", "running_var")})
        found[f"{norm}.num_batches_tracked"] = ()

    convolved("conv1", "bn1", 64, 3, 7)
    for layer, (inside, outside) in enumerate([(64, 64), (64, 128), (128, 256), (256, 512)], 1):
        for block, first in enumerate([inside, outside]):
            convolved(f"layer{layer}.{block}.conv1", f"layer{layer}.{block}.bn1", outside, first, 3)
            convolved(f"layer{layer}.{block}.conv2", f"layer{layer}.{block}.bn2", outside, outside, 3)
        if inside != outside:
            convolved(f"layer{layer}.0.downsample.0", f"layer{layer}.0.downsample.1", outside, inside, 1)
    return found | {"fc.weight": (1000, 512), "fc.bias": (1000,)}


def _build(state: dict[str, Any]) -> Any:
    from hpcflow.models._resnet import build  # noqa: PLC0415

    return build(state)

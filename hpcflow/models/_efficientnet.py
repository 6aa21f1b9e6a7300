"""EfficientNet-Lite0 from its package, made faster; imported only when it is loaded."""

from __future__ import annotations

from efficientnet_lite_pytorch import EfficientNet
from torch import Tensor, nn

from hpcflow.models._torch import fold


def build(state: dict[str, Tensor]) -> nn.Module:
    """The network with these weights, ready to run on images of any size."""
    # Without an image size, padding follows the image as in the original.
    network = EfficientNet.from_name("efficientnet-lite0", image_size=None)
    network.load_state_dict(state)
    network.eval()
    fold(network, [("_conv_stem", "_bn0"), ("_conv_head", "_bn1")])
    for block in network._blocks:  # noqa: SLF001 (the package has no other way in)
        fold(block, [("_expand_conv", "_bn0"), ("_depthwise_conv", "_bn1"), ("_project_conv", "_bn2")])
    for module in list(network.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.Conv2d) and child.stride[0] == 1:
                setattr(module, name, _plain(child))
            elif isinstance(child, nn.ReLU6):
                child.inplace = True
    return network


def _plain(conv: nn.Conv2d) -> nn.Conv2d:
    """A convolution that pads by itself, in place of one that copies its input to pad it."""
    plain = nn.Conv2d(
        conv.in_channels, conv.out_channels, conv.kernel_size, padding="same", groups=conv.groups, bias=True
    )
    plain.load_state_dict(conv.state_dict())
    return plain.eval()

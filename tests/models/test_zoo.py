"""Networks that people export: what they call is on the list. Runs where their packages are installed."""

import pytest

from hpcflow.models._exported import inspect

torch = pytest.importorskip("torch")
TORCHVISION = (
    "alexnet vgg11 resnet18 squeezenet1_1 densenet121 googlenet shufflenet_v2_x0_5 mobilenet_v2 mobilenet_v3_small "
    "mnasnet0_5 efficientnet_b0 regnet_y_400mf vit_b_16 swin_t swin_v2_t maxvit_t convnext_tiny"
)
TIMM = "resnet18 convnext_atto vit_tiny_patch16_224 mobilenetv4_conv_small efficientvit_b0 mixer_s32_224"


@pytest.mark.timeout(300)
@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize(
    "name", [f"torchvision {n}" for n in TORCHVISION.split()] + [f"timm {n}" for n in TIMM.split()]
)
def test_an_exported_network_is_let_through(name, tmp_path):
    package, network = name.split()
    if package == "timm":
        module = pytest.importorskip("timm").create_model(network)
    else:
        module = pytest.importorskip("torchvision").models.get_model(network, weights=None)
    path = str(tmp_path / "model.pt2")
    torch.export.save(torch.export.export(module.eval(), (torch.zeros(2, 3, 224, 224),), strict=False), path)
    assert inspect(path).gives == (2, 1000)

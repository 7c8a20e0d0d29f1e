"""timm's and torchvision's networks through their own factories."""

from typing import Any

import pytest
import torch
from torch import nn

from pipeline.errors import ParamsError
from pipeline.models.description.plan import KeptChannels
from pipeline.models.description.spec import Architecture
from pipeline.models.nets.build import build
from pipeline.models.nets.cut import apply_plan


def architecture(name: str, **changed: Any) -> Architecture:
    values: dict[str, Any] = {
        "dropout": 0.0,
        "stochastic_depth": 0.0,
        "num_outputs": 5,
        "channels": 1,
        "image_height": 32,
        "image_width": 32,
    }
    return Architecture(name=name, width=None, **values | changed)


@pytest.mark.parametrize(
    "name",
    ["timm/resnet18", "timm/vit_tiny_patch16_224", "torchvision/resnet18", "torchvision/mobilenet_v3_small"],
)
def test_adapted_networks_take_the_images_and_classes(name: str) -> None:
    model = build(architecture(name)).eval()
    assert model(torch.rand(2, 1, 32, 32)).shape == (2, 5)


def test_torchvision_vision_transformer_takes_square_images() -> None:
    assert build(architecture("torchvision/vit_b_32")).eval()(torch.rand(1, 1, 32, 32)).shape == (1, 5)
    with pytest.raises(ParamsError, match=r"takes square images, but data\.height is 32 and data\.width 64"):
        build(architecture("torchvision/vit_b_32", image_width=64))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("timm/resnet81", "timm has no network 'resnet81'; did you mean 'resnet"),
        ("timm/hf-hub:some/model", "timm has no network 'hf-hub:some/model'"),
        ("torchvision/resnet81", "torchvision has no network 'resnet81'; did you mean 'resnet"),
        (
            "torchvision/inception_v3",
            "torchvision/inception_v3 trains on auxiliary logits too; choose another",
        ),
        ("timm/zzzzzzzz", "networks, for example timm/resnet18"),
    ],
)
def test_unknown_names_are_errors(name: str, message: str) -> None:
    with pytest.raises(ParamsError) as caught:
        build(architecture(name))
    assert message in str(caught.value)


def test_dropout_reaches_the_adapted_network() -> None:
    for dropout in (0.0, 0.375):
        model = build(architecture("torchvision/mobilenet_v3_small", dropout=dropout))
        assert {module.p for module in model.modules() if isinstance(module, nn.Dropout)} == {dropout}
    assert build(architecture("timm/resnet18", dropout=0.375)).drop_rate == 0.375
    with pytest.raises(
        ParamsError, match=r"model\.dropout is 0\.5, but torchvision/resnet18 has no dropout; set it to 0"
    ):
        build(architecture("torchvision/resnet18", dropout=0.5))


def test_what_the_factory_refuses_is_a_params_error() -> None:
    with pytest.raises(
        ParamsError, match=r"vit_b_32 cannot be built with num_classes=5, image_size=33: .*indivisible"
    ):
        build(architecture("torchvision/vit_b_32", image_height=33, image_width=33))


def test_timm_norms_with_activation_can_be_cut() -> None:
    model = build(architecture("timm/mobilenetv3_small_050"))
    name, norm = next(
        (n, m)
        for n, m in model.named_modules()
        if isinstance(m, nn.BatchNorm2d) and type(m) is not nn.BatchNorm2d
    )
    apply_plan(model, {name: KeptChannels(out=[0, 3])})
    assert norm.num_features == 2
    assert norm.eval()(torch.rand(1, 2, 4, 4)).shape == (1, 2, 4, 4)


def test_timm_channel_first_layer_norm_can_be_cut() -> None:
    model = build(architecture("timm/convnext_atto"))
    norm = model.get_submodule("stem.1")
    assert type(norm).__name__ == "LayerNorm2d"
    apply_plan(model, {"stem.1": KeptChannels(out=[0, 3])})
    assert norm.eval()(torch.rand(1, 2, 4, 4)).shape == (1, 2, 4, 4)

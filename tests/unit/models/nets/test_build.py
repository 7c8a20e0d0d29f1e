"""Built-in networks against published sizes, and their description in params.yaml."""

import subprocess
import sys
from typing import Any

import pytest
import torch
from torch import nn

from pipeline.base.params import parse_section
from pipeline.errors import ParamsError
from pipeline.models.description.params import ADAPTED, BUILT_IN, ModelParams
from pipeline.models.description.spec import Architecture
from pipeline.models.nets.build import ADAPTERS, BUILDERS, build
from pipeline.models.nets.layers import StochasticDepth, num_pools

CIFAR: dict[str, Any] = {
    "dropout": 0.0,
    "stochastic_depth": 0.0,
    "num_outputs": 10,
    "channels": 3,
    "image_height": 32,
    "image_width": 32,
}
DIGITS: dict[str, Any] = {
    "dropout": 0.0,
    "stochastic_depth": 0.0,
    "num_outputs": 10,
    "channels": 1,
    "image_height": 8,
    "image_width": 8,
}

# Millions of parameters. ResNet-20 to 110: table 6 of arXiv 1512.03385, with 0.002 M for projections.
# resnet18: 11.17 M as in the common CIFAR variant; MobileNetV2: torchvision's 2,236,682 at ten classes;
# VGG: the convolutions and norms of torchvision's vgg11_bn and vgg16_bn, with one linear layer.
PUBLISHED = {
    ("resnet20", 16): 0.272,
    ("resnet32", 16): 0.467,
    ("resnet44", 16): 0.661,
    ("resnet56", 16): 0.856,
    ("resnet110", 16): 1.731,
    ("resnet18", 64): 11.174,
    ("mobilenetv2", 16): 2.237,
    ("vgg11", 64): 9.228,
    ("vgg16", 64): 14.724,
}


@pytest.mark.parametrize(("name", "width"), PUBLISHED)
def test_parameters_are_as_many_as_published(name: str, width: int) -> None:
    model = build(Architecture(name=name, width=width, **CIFAR))
    millions = sum(parameter.numel() for parameter in model.parameters()) / 1e6
    assert millions == pytest.approx(PUBLISHED[name, width], abs=0.0006)


@pytest.mark.parametrize("sizes", [CIFAR, DIGITS], ids=["32x32x3", "8x8x1"])
@pytest.mark.parametrize("name", BUILT_IN)
def test_pixels_become_logits(name: str, sizes: dict[str, Any]) -> None:
    model = build(Architecture(name=name, width=8, **sizes))
    images_BCHW = torch.rand(2, sizes["channels"], sizes["image_height"], sizes["image_width"])
    logits_BK = model(images_BCHW)
    assert logits_BK.shape == (2, 10)
    logits_BK.sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters() if parameter.requires_grad), (
        "a layer that the output does not depend on"
    )


@pytest.mark.parametrize("name", BUILT_IN)
def test_every_activation_is_called_once(name: str) -> None:
    model = build(Architecture(name=name, width=4, **DIGITS)).eval()
    calls: dict[nn.Module, int] = {}
    for module in model.modules():
        if isinstance(module, nn.ReLU | nn.ReLU6 | nn.GELU):
            module.register_forward_hook(lambda module, *_: calls.update({module: calls.get(module, 0) + 1}))
            calls[module] = 0
    model(torch.rand(1, 1, 8, 8))
    assert calls
    assert set(calls.values()) == {1}


def test_width_is_the_channels_of_the_first_stage() -> None:
    for name in ("resnet20", "resnet18", "vgg11", "mobilenetv2"):
        stages = build(Architecture(name=name, width=24, **CIFAR)).get_submodule("stages.0")
        norms = [module for module in stages.modules() if isinstance(module, nn.BatchNorm2d)]
        assert norms[-1].num_features == 24, name


def test_resnet20_shrinks_32_pixels_to_8() -> None:
    model = build(Architecture(name="resnet20", width=4, **CIFAR)).eval()
    features = nn.Sequential(model.get_submodule("stem"), model.get_submodule("stages"))(
        torch.rand(1, 3, 32, 32)
    )
    assert features.shape == (1, 16, 8, 8)


@pytest.mark.parametrize(("side", "pools"), [(1, 0), (2, 1), (3, 1), (8, 3), (28, 4), (32, 5), (224, 5)])
def test_vgg_pools_while_a_pixel_is_left(side: int, pools: int) -> None:
    assert num_pools(side, side + 5, 5) == pools
    model = build(Architecture(name="vgg11", width=2, **CIFAR | {"image_height": side, "image_width": side}))
    assert sum(isinstance(module, nn.MaxPool2d) for module in model.modules()) == pools
    assert model.eval()(torch.rand(1, 3, side, side)).shape == (1, 10)


@pytest.mark.parametrize(("name", "branches"), [("resnet20", 9), ("mobilenetv2", 17)])
def test_stochastic_depth_rises_to_the_last_branch_and_keeps_the_mean(name: str, branches: int) -> None:
    model = build(Architecture(name=name, width=4, **CIFAR | {"stochastic_depth": 0.5}))
    found = [module for module in model.modules() if isinstance(module, StochasticDepth)]
    rates = [module.probability for module in found]
    assert rates == pytest.approx([0.5 * (block + 1) / branches for block in range(branches)])
    torch.manual_seed(0)
    branch = torch.ones(4000, 1, 2, 2)
    kept = found[-1].train()(branch)
    assert set(kept.unique().tolist()) == {0.0, 2.0}
    assert kept.mean().item() == pytest.approx(1.0, abs=0.05)
    assert all(len(image.unique()) == 1 for image in kept[:20]), "an image is skipped whole"
    assert found[-1].eval()(branch) is branch


def test_stochastic_depth_needs_residual_branches() -> None:
    for name in ("vgg11", "airbench", "mlp"):
        with pytest.raises(
            ParamsError, match=f"stochastic_depth is 0.5, but {name} has no residual branches"
        ):
            build(Architecture(name=name, width=4, **CIFAR | {"stochastic_depth": 0.5}))


def test_dropout_stands_before_the_head_only_when_asked_for() -> None:
    for name in ("airbench", "resnet20", "vgg11", "mobilenetv2", "mlp"):
        wet = build(Architecture(name=name, width=4, **DIGITS | {"dropout": 0.25}))
        dry = build(Architecture(name=name, width=4, **DIGITS))
        assert [module.p for module in wet.modules() if isinstance(module, nn.Dropout)] == [0.25], name
        assert not any(isinstance(module, nn.Dropout) for module in dry.modules()), name


def test_convolutions_start_with_he_variance() -> None:
    torch.manual_seed(0)
    convolution = build(Architecture(name="resnet18", width=32, **CIFAR)).get_submodule("stages.3.1.conv2")
    assert isinstance(convolution, nn.Conv2d)
    fan_out = convolution.out_channels * 9
    assert convolution.weight.std().item() == pytest.approx((2 / fan_out) ** 0.5, rel=0.01)


def test_names_and_builders_are_the_same_list() -> None:
    assert tuple(BUILDERS) == BUILT_IN
    assert tuple(ADAPTERS) == ADAPTED


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"name": "resnt20"}, "model.name: unknown network 'resnt20'; did you mean 'resnet20'?"),
        (
            {"name": "tim/resnet18", "width": None},
            "model.name: 'tim/resnet18' is not of the form timm/<name>",
        ),
        ({"name": "timm/", "width": None}, "model.name: 'timm/' is not of the form timm/<name>"),
        ({"width": None}, "width is null, but 'resnet20' needs the channels of its first stage"),
        (
            {"name": "timm/resnet18"},
            "width is 16, but the name 'timm/resnet18' fixes the width; set `width: null`",
        ),
        ({"width": 0}, "model.width is 0, but input should be greater than or equal to 1"),
        ({"dropout": 1.0}, "model.dropout is 1.0, but input should be less than 1"),
        ({"widht": 16}, "unknown key 'model.widht'; did you mean 'width'?"),
    ],
)
def test_wrong_params_are_named(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ParamsError) as caught:
        parse_section(
            "model",
            {"name": "resnet20", "width": 16, "dropout": 0.0, "stochastic_depth": 0.0, "init": "random"}
            | values,
            ModelParams,
        )
    assert message in str(caught.value)


def test_building_imports_no_heavy_library() -> None:
    code = (
        "import sys, pipeline.models.disk.artifact; print({'timm', 'torchvision', 'torch_pruning', "
        "'onnx'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"

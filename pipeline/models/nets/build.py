"""Networks from their description: dense, or cut to a pruning plan."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from pipeline.errors import ParamsError
from pipeline.models.description.spec import Architecture, ModelSpec
from pipeline.models.nets import adapters, airbench, mlp, mobilenet, resnet, vgg
from pipeline.models.nets.cut import apply_plan
from pipeline.models.nets.layers import StochasticDepth

BUILDERS: dict[str, Callable[[Architecture], nn.Module]] = {
    "airbench": airbench.airbench,
    "mlp": mlp.mlp,
    "mobilenetv2": mobilenet.mobilenetv2,
    "resnet18": resnet.resnet18,
    "resnet20": resnet.resnet20,
    "resnet32": resnet.resnet32,
    "resnet44": resnet.resnet44,
    "resnet56": resnet.resnet56,
    "resnet110": resnet.resnet110,
    "vgg11": vgg.vgg11,
    "vgg16": vgg.vgg16,
}
ADAPTERS: dict[str, Callable[[Architecture, str], nn.Module]] = {
    "timm": adapters.from_timm,
    "torchvision": adapters.from_torchvision,
}

TRACED = 2
"""Samples in the batch that traces a network: with one, a tracer would take the batch size for a constant."""


def example(spec: ModelSpec, batch: int, seed: int | None = None) -> Tensor:
    """An input of the network that a spec describes, as `spec.example` gives it; networks take one input."""
    (values,) = spec.example(batch, seed).values()
    return torch.from_numpy(values)


def build(architecture: Architecture) -> nn.Module:
    """A dense network: (B, C, H, W) float32 -> (B, K). Weights are drawn from torch's global
    generator.

    Raises ParamsError if timm or torchvision has no such network or cannot build it so, and for stochastic
    depth without residual branches.
    """
    library, slash, name = architecture.name.partition("/")
    if slash:
        return ADAPTERS[library](architecture, name)
    model = BUILDERS[architecture.name](architecture)
    if architecture.stochastic_depth > 0 and not any(
        isinstance(module, StochasticDepth) for module in model.modules()
    ):
        raise ParamsError(
            f"model.stochastic_depth is {architecture.stochastic_depth}, but {architecture.name} has no "
            "residual branches; set it to 0"
        )
    return model


def rebuild(spec: ModelSpec) -> nn.Module:
    """The network that a spec describes, cut to its plan, with meaningless weights.

    Leaves torch's generator as it was: loading a model must not change what comes after. Raises ArtifactError
    if the plan does not fit, ParamsError as build().
    """
    with torch.random.fork_rng(devices=[]):
        dense = build(spec.architecture)
    return apply_plan(dense, spec.plan)

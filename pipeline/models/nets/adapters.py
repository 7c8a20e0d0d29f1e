"""Networks of timm and torchvision, from their own factories, never with downloaded weights.

Both libraries take seconds to import, so each is imported by the function that needs it.
"""

from typing import Any

from torch import nn

from pipeline.base.params import nearest
from pipeline.errors import ParamsError
from pipeline.models.description.spec import Architecture
from pipeline.models.nets.attention import unpack_attention

TWO_HEADED = ("googlenet", "inception_v3")
"""torchvision's networks that return a tuple in training; the losses here take one tensor."""


def from_timm(architecture: Architecture, name: str) -> nn.Module:
    """timm/<name>. Raises ParamsError for an unknown name and if timm cannot build it for these images."""
    import timm

    if not timm.is_model(name):
        raise _unknown("timm", name, timm.list_models())
    arguments: dict[str, Any] = {"num_classes": architecture.num_outputs, "in_chans": architecture.channels}
    if architecture.dropout > 0:  # not every network takes it
        arguments["drop_rate"] = architecture.dropout
    if architecture.stochastic_depth > 0:
        arguments["drop_path_rate"] = architecture.stochastic_depth
    defaults = timm.models.get_pretrained_cfg(name)
    if defaults is not None and defaults.fixed_input_size:
        arguments["img_size"] = (architecture.image_height, architecture.image_width)
    try:
        return timm.create_model(name, pretrained=False, **arguments)
    except (TypeError, ValueError, AssertionError, RuntimeError) as error:
        raise _cannot_build(architecture, arguments, error) from error


def from_torchvision(architecture: Architecture, name: str) -> nn.Module:
    """torchvision/<name>: an image classifier whose first convolution takes C channels.

    Dropout: torchvision names it in several ways or swallows it, so it is set on the modules themselves.
    Raises ParamsError for an unknown name and if torchvision cannot build it for these images.
    """
    from torchvision import models

    if architecture.stochastic_depth > 0:
        raise ParamsError(
            f"model.stochastic_depth is {architecture.stochastic_depth}, which torchvision's networks fix "
            "themselves; set it to 0"
        )
    if name in TWO_HEADED:
        raise ParamsError(
            f"model.name: {architecture.name} trains on auxiliary logits too; choose another network"
        )
    names = models.list_models(module=models)
    if name not in names:
        raise _unknown("torchvision", name, names)
    arguments: dict[str, Any] = {"num_classes": architecture.num_outputs}
    if name.startswith("vit_"):
        arguments["image_size"] = _square_side(architecture)
    try:
        model: nn.Module = models.get_model(name, weights=None, **arguments)
    except (TypeError, ValueError, AssertionError, RuntimeError) as error:
        raise _cannot_build(architecture, arguments, error) from error
    _set_in_channels(model, architecture.channels)
    unpack_attention(model)
    _set_dropout(model, architecture)
    return model


def _set_in_channels(model: nn.Module, channels: int) -> None:
    """Put a convolution for `channels` where torchvision's network has its first one, made for 3."""
    name, first = next(
        (name, module) for name, module in model.named_modules() if isinstance(module, nn.Conv2d)
    )
    if first.in_channels == channels:
        return
    fresh = nn.Conv2d(
        channels,
        first.out_channels,
        first.kernel_size,  # type: ignore[arg-type]
        first.stride,  # type: ignore[arg-type]
        first.padding,  # type: ignore[arg-type]
        bias=first.bias is not None,
    )
    nn.init.kaiming_normal_(fresh.weight, mode="fan_out", nonlinearity="relu")
    model.set_submodule(name, fresh)


def _set_dropout(model: nn.Module, architecture: Architecture) -> None:
    layers = [module for module in model.modules() if isinstance(module, nn.Dropout)]
    if architecture.dropout > 0 and not layers:
        raise ParamsError(
            f"model.dropout is {architecture.dropout}, but {architecture.name} has no dropout; set it to 0"
        )
    for layer in layers:
        layer.p = architecture.dropout


def _square_side(architecture: Architecture) -> int:
    if architecture.image_height != architecture.image_width:
        raise ParamsError(
            f"model.name: {architecture.name} takes square images, but data.height is "
            f"{architecture.image_height} and data.width {architecture.image_width}; make them equal"
        )
    return architecture.image_height


def _unknown(library: str, name: str, names: list[str]) -> ParamsError:
    close = nearest(name, names)
    hint = (
        close
        if close.startswith("; did")
        else f"; {library} has {len(names)} networks, for example {library}/resnet18"
    )
    return ParamsError(f"model.name: {library} has no network {name!r}{hint}")


def _cannot_build(architecture: Architecture, arguments: dict[str, Any], error: Exception) -> ParamsError:
    given = ", ".join(f"{key}={value}" for key, value in arguments.items())
    return ParamsError(
        f"model.name: {architecture.name} cannot be built with {given}: {error}; choose another name or "
        "image size"
    )

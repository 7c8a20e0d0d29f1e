"""Blocks that several networks share. Every ReLU is a module of its own: quantizers observe, and
attribution methods hook, one place in the graph per module, so a shared one breaks both.
"""

from collections import OrderedDict

from torch import nn


def conv_norm(in_channels: int, out_channels: int, kernel: int, *, stride: int, groups: int = 1) -> OrderedDict[str, nn.Module]:
    """A padded convolution without bias, whose shift the batch norm after it provides."""
    return OrderedDict(
        conv=nn.Conv2d(in_channels, out_channels, kernel, stride, padding=kernel // 2, groups=groups, bias=False),
        norm=nn.BatchNorm2d(out_channels),
    )


def dropout(probability: float) -> nn.Module:
    """Dropout before the head; nothing at 0, so that exported graphs hold no dead node."""
    return nn.Dropout(probability) if probability > 0 else nn.Identity()


def initialise(model: nn.Module) -> None:
    """Draw convolution weights by He et al. (arXiv 1502.01852), scaled by fan-out to keep gradients' variance.

    Norms keep weight 1 and bias 0; linear layers keep torch's default.
    """
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

"""Blocks that several networks share. Every ReLU is a module of its own: quantizers observe, and
attribution methods hook, one place in the graph per module, so a shared one breaks both.
"""

from collections import OrderedDict

import torch
from torch import Tensor, nn


def conv_norm(
    in_channels: int, out_channels: int, kernel: int, *, stride: int, groups: int = 1
) -> OrderedDict[str, nn.Module]:
    """A padded convolution without bias, whose shift the batch norm after it provides."""
    return OrderedDict(
        conv=nn.Conv2d(
            in_channels, out_channels, kernel, stride, padding=kernel // 2, groups=groups, bias=False
        ),
        norm=nn.BatchNorm2d(out_channels),
    )


def num_pools(height: int, width: int, most: int) -> int:
    """How often both sides can be halved and stay at 1 pixel or more, at most `most` times."""
    return min(most, min(height, width).bit_length() - 1)


def dropout(probability: float) -> nn.Module:
    """Dropout before the head; nothing at 0, so that exported graphs hold no dead node."""
    return nn.Dropout(probability) if probability > 0 else nn.Identity()


class StochasticDepth(nn.Module):
    """Leaves a residual branch out for some images of a training batch (Huang et al. 2016, arXiv 1603.09382).

    What stays is scaled up, so that the mean is that of the whole network, which runs when it is not trained.
    """

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.probability = probability

    def forward(self, branch_BCHW: Tensor) -> Tensor:
        if not self.training:
            return branch_BCHW
        kept_B111 = torch.rand(len(branch_BCHW), 1, 1, 1, device=branch_BCHW.device) >= self.probability
        return branch_BCHW * (kept_B111 / (1.0 - self.probability)).to(branch_BCHW.dtype)


def stochastic_depth(most: float, depth: float) -> nn.Module:
    """A module for the residual branch at `depth`, 0..1 of the network; Identity, without a node, at 0."""
    return StochasticDepth(most * depth) if most * depth > 0 else nn.Identity()


def initialise(model: nn.Module) -> None:
    """Draw convolution weights by He et al. (arXiv 1502.01852), by fan-out, to keep gradients' variance.

    Norms keep weight 1 and bias 0; linear layers keep torch's default.
    """
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

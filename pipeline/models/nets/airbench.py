"""The network of the CIFAR-10 speed runs (Jordan 2024, "94% on CIFAR-10 in 3.29 Seconds", arXiv 2404.00498).

A whitening convolution over 2x2 patches that is computed from the data and never trained, then three blocks
of two convolutions at w, 4w and 4w channels (w = 64 in the paper), a max-pool after each block's first
convolution, a max-pool over what is left, a linear head without bias. Batch norms learn a shift but no scale.
Images under 9 pixels go without the first pools, as in vgg.py.
"""

from collections import OrderedDict

import torch
from torch import Tensor, nn

from pipeline.errors import ParamsError
from pipeline.models.description.spec import Architecture
from pipeline.models.nets.layers import dropout, num_pools
from pipeline.models.nets.whitening import KERNEL, Whitening

AIRBENCH_WIDTH_FACTORS = (1, 4, 4)
NORM_MOMENTUM = 0.4
"""The paper's: statistics of few steps, because the weights move fast until the end."""


class Airbench(nn.Module):
    """Whitening, three blocks, head.

    The head starts at a standard deviation of 1 / features: logits near zero.
    """

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        height, width = architecture.image_height - KERNEL + 1, architecture.image_width - KERNEL + 1
        if min(height, width) < 1:
            raise ParamsError(
                f"model.name is 'airbench', whose first layer needs images of {KERNEL} pixels a side or more"
            )
        pools = num_pools(height, width, len(AIRBENCH_WIDTH_FACTORS))
        self.whitening = Whitening(architecture.channels)
        self.gelu = nn.GELU()
        channels = self.whitening.out_channels
        blocks = []
        for index, factor in enumerate(AIRBENCH_WIDTH_FACTORS):
            out_channels = architecture.first_width * factor
            blocks.append(_block(channels, out_channels, pooled=index >= len(AIRBENCH_WIDTH_FACTORS) - pools))
            channels = out_channels
        self.blocks = nn.Sequential(*blocks)
        self.pool = nn.AdaptiveMaxPool2d(1)
        self.flatten = nn.Flatten()
        self.dropout = dropout(architecture.dropout)
        self.head = nn.Linear(channels, architecture.num_outputs, bias=False)
        nn.init.normal_(self.head.weight, std=1.0 / channels)

    def forward(self, pixels_BCHW: Tensor) -> Tensor:
        features_BC = self.flatten(self.pool(self.blocks(self.gelu(self.whitening(pixels_BCHW)))))
        return self.head(self.dropout(features_BC))  # type: ignore[no-any-return]


def airbench(architecture: Architecture) -> Airbench:
    return Airbench(architecture)


def _block(in_channels: int, out_channels: int, *, pooled: bool) -> nn.Sequential:
    return nn.Sequential(
        OrderedDict(
            conv1=_conv(in_channels, out_channels),
            pool=nn.MaxPool2d(2) if pooled else nn.Identity(),
            norm1=_norm(out_channels),
            gelu1=nn.GELU(),
            conv2=_conv(out_channels, out_channels),
            norm2=_norm(out_channels),
            gelu2=nn.GELU(),
        )
    )


def _conv(in_channels: int, out_channels: int) -> nn.Conv2d:
    """The first filters start as the identity of their channel (the paper's section 3.3)."""
    conv = nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False)
    with torch.no_grad():
        nn.init.dirac_(conv.weight[: min(in_channels, out_channels)])
    return conv


def _norm(channels: int) -> nn.BatchNorm2d:
    norm = nn.BatchNorm2d(channels, momentum=NORM_MOMENTUM)
    norm.weight.requires_grad = False
    return norm

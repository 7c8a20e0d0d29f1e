"""MobileNetV2 (Sandler et al., arXiv 1801.04381, table 2) for small images.

The stem and the second stage keep the image's size instead of halving it, so that 32-pixel images reach
the head at 4x4 as 224-pixel ones reach it at 7x7. `width` is the channels of the first stage, 16 in the
paper; every other layer keeps its ratio to it, the stem (2w) and the last convolution (80w) included,
where the paper leaves the last one alone for narrower nets: at ten classes it would be most of the net.
"""

from typing import NamedTuple

from torch import Tensor, nn

from pipeline.models.description.spec import Architecture
from pipeline.models.nets.layers import conv_norm, dropout, initialise, stochastic_depth

PAPER_WIDTH = 16
STEM_CHANNELS = 32
LAST_CHANNELS = 1280


class StageShape(NamedTuple):
    """A row of the paper's table 2: expansion, channels at width 16, blocks, stride of the first block."""

    expansion: int
    channels: int
    blocks: int
    stride: int


BLOCK_STAGES = (
    StageShape(1, 16, 1, 1),
    StageShape(6, 24, 2, 1),  # stride 2 in the paper
    StageShape(6, 32, 3, 2),
    StageShape(6, 64, 4, 2),
    StageShape(6, 96, 3, 1),
    StageShape(6, 160, 3, 2),
    StageShape(6, 320, 1, 1),
)


class InvertedResidual(nn.Module):
    """1x1 expand, 3x3 depthwise, 1x1 project without a ReLU; adds its input if the shape stays."""

    def __init__(
        self, in_channels: int, out_channels: int, expansion: int, stride: int, skip: nn.Module
    ) -> None:
        super().__init__()
        hidden = in_channels * expansion
        self.expand = _conv_norm_relu(in_channels, hidden, 1, stride=1) if expansion > 1 else nn.Identity()
        self.depthwise = _conv_norm_relu(hidden, hidden, 3, stride=stride, groups=hidden)
        self.project = nn.Sequential(conv_norm(hidden, out_channels, 1, stride=1))
        self.skip = skip
        self.residual = stride == 1 and in_channels == out_channels

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.project(self.depthwise(self.expand(x)))
        return x + self.skip(out) if self.residual else out


class MobileNetV2(nn.Module):
    """A stem, seven stages of inverted residuals, a 1x1 convolution, mean pool, head."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        channels = _scaled(STEM_CHANNELS, architecture.first_width)
        self.stem = _conv_norm_relu(architecture.channels, channels, 3, stride=1)
        stages, block, total = [], 0, sum(shape.blocks for shape in BLOCK_STAGES)
        for shape in BLOCK_STAGES:
            out_channels = _scaled(shape.channels, architecture.first_width)
            depths = [(block + number + 1) / total for number in range(shape.blocks)]
            skips = [stochastic_depth(architecture.stochastic_depth, depth) for depth in depths]
            stages.append(_stage(channels, out_channels, shape, skips))
            block += shape.blocks
            channels = out_channels
        self.stages = nn.Sequential(*stages)
        last = _scaled(LAST_CHANNELS, architecture.first_width)
        self.last = _conv_norm_relu(channels, last, 1, stride=1)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.dropout = dropout(architecture.dropout)
        self.head = nn.Linear(last, architecture.num_outputs)
        initialise(self)

    def forward(self, pixels_BCHW: Tensor) -> Tensor:
        features_BC = self.flatten(self.pool(self.last(self.stages(self.stem(pixels_BCHW)))))
        return self.head(self.dropout(features_BC))  # type: ignore[no-any-return]


def mobilenetv2(architecture: Architecture) -> MobileNetV2:
    return MobileNetV2(architecture)


def _stage(in_channels: int, out_channels: int, shape: StageShape, skips: list[nn.Module]) -> nn.Sequential:
    first = InvertedResidual(in_channels, out_channels, shape.expansion, shape.stride, skips[0])
    others = (InvertedResidual(out_channels, out_channels, shape.expansion, 1, skip) for skip in skips[1:])
    return nn.Sequential(first, *others)


def _conv_norm_relu(
    in_channels: int, out_channels: int, kernel: int, *, stride: int, groups: int = 1
) -> nn.Sequential:
    return nn.Sequential(
        conv_norm(in_channels, out_channels, kernel, stride=stride, groups=groups) | {"relu": nn.ReLU6()}
    )


def _scaled(channels: int, width: int) -> int:
    """Channels at this width: proportional to the paper's, whole."""
    return max(1, channels * width // PAPER_WIDTH)

"""Residual networks for small images (He et al., "Deep Residual Learning", arXiv 1512.03385).

resnet20 to resnet110 are the paper's CIFAR-10 networks (section 4.2), three stages of w, 2w, 4w channels
(w = 16 in the paper), except for the shortcut where the shape changes: a 1x1 projection (the paper's
option B), because a padded identity (option A) ties channels that pruning wants to part.
resnet18 is the ImageNet network, four stages of w, 2w, 4w, 8w (w = 64 in the paper), with a 3x3 stem of
stride 1 and no max-pool, as 32-pixel images need.
"""

from functools import partial

from torch import Tensor, nn

from pipeline.models.description.spec import Architecture
from pipeline.models.nets.layers import conv_norm, dropout, initialise, stochastic_depth


class BasicBlock(nn.Module):
    """relu(norm(conv(relu(norm(conv(x))))) + shortcut(x)): (B, in, H, W) -> (B, out, H / stride,
    W / stride).
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int, skip: nn.Module) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(out_channels)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(out_channels)
        self.skip = skip
        same_shape = stride == 1 and in_channels == out_channels
        self.shortcut = (
            nn.Identity()
            if same_shape
            else nn.Sequential(conv_norm(in_channels, out_channels, 1, stride=stride))
        )
        self.relu2 = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        out = self.relu1(self.norm1(self.conv1(x)))
        out = self.skip(self.norm2(self.conv2(out)))
        return self.relu2(out + self.shortcut(x))  # type: ignore[no-any-return]


class ResNet(nn.Module):
    """A stem, stages that each halve the image (but the first) and double the channels, mean pool, head.

    blocks: basic blocks per stage.
    """

    def __init__(self, architecture: Architecture, blocks: tuple[int, ...]) -> None:
        super().__init__()
        channels = architecture.first_width
        self.stem = nn.Sequential(
            conv_norm(architecture.channels, channels, 3, stride=1) | {"relu": nn.ReLU()}
        )
        stages, total = [], sum(blocks)
        for index, number in enumerate(blocks):
            out_channels = architecture.first_width * 2**index
            depths = [(sum(blocks[:index]) + block + 1) / total for block in range(number)]
            skips = [stochastic_depth(architecture.stochastic_depth, depth) for depth in depths]
            stages.append(_stage(channels, out_channels, skips, stride=1 if index == 0 else 2))
            channels = out_channels
        self.stages = nn.Sequential(*stages)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.dropout = dropout(architecture.dropout)
        self.head = nn.Linear(channels, architecture.num_outputs)
        initialise(self)

    def forward(self, pixels_BCHW: Tensor) -> Tensor:
        features_BC = self.flatten(self.pool(self.stages(self.stem(pixels_BCHW))))
        return self.head(self.dropout(features_BC))  # type: ignore[no-any-return]


def _stage(in_channels: int, out_channels: int, skips: list[nn.Module], *, stride: int) -> nn.Sequential:
    """A block for each of `skips`, which may leave its branch out."""
    first = BasicBlock(in_channels, out_channels, stride, skips[0])
    return nn.Sequential(first, *(BasicBlock(out_channels, out_channels, 1, skip) for skip in skips[1:]))


resnet18 = partial(ResNet, blocks=(2, 2, 2, 2))
# 6n + 2 layers: n blocks of two in each of three stages, the stem and the head.
resnet20 = partial(ResNet, blocks=(3,) * 3)
resnet32 = partial(ResNet, blocks=(5,) * 3)
resnet44 = partial(ResNet, blocks=(7,) * 3)
resnet56 = partial(ResNet, blocks=(9,) * 3)
resnet110 = partial(ResNet, blocks=(18,) * 3)

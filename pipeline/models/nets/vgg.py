"""VGG with batch norm (Simonyan and Zisserman, arXiv 1409.1556; configurations A and D).

Five stages of w, 2w, 4w, 8w, 8w channels (w = 64 in the paper), 3x3 convolutions, a max-pool after each
stage, then a mean pool and one linear layer instead of the paper's three, which alone held 120 M
parameters for 224-pixel images and serve nothing on small ones.

Small images: five pools would shrink a side under 32 pixels to nothing, so only floor(log2(side)) pools
stay, and the first ones go: a 3x3 convolution on a 1x1 map would use one of its nine weights. An 8x8
image keeps its size through two stages and meets stage 3, 4 and 5 at 8, 4 and 2 pixels.
"""

from collections import OrderedDict
from functools import partial

from torch import Tensor, nn

from pipeline.models.description.spec import Architecture
from pipeline.models.nets.layers import conv_norm, dropout, initialise, num_pools

VGG_WIDTH_FACTORS = (1, 2, 4, 8, 8)


class VGG(nn.Module):
    """Stages of conv-norm-relu layers with max-pools between, mean pool, head.

    layers: convolutions per stage.
    """

    def __init__(self, architecture: Architecture, layers: tuple[int, ...]) -> None:
        super().__init__()
        assert len(layers) == len(VGG_WIDTH_FACTORS), "one number of convolutions per stage"
        pools = num_pools(architecture.image_height, architecture.image_width, len(layers))
        channels = architecture.channels
        stages = []
        for index, number in enumerate(layers):
            out_channels = architecture.first_width * VGG_WIDTH_FACTORS[index]
            stages.append(_stage(channels, out_channels, number, pooled=index >= len(layers) - pools))
            channels = out_channels
        self.stages = nn.Sequential(*stages)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.dropout = dropout(architecture.dropout)
        self.head = nn.Linear(channels, architecture.num_outputs)
        initialise(self)

    def forward(self, pixels_BCHW: Tensor) -> Tensor:
        features_BC = self.flatten(self.pool(self.stages(pixels_BCHW)))
        return self.head(self.dropout(features_BC))  # type: ignore[no-any-return]


def _stage(in_channels: int, out_channels: int, layers: int, *, pooled: bool) -> nn.Sequential:
    parts: OrderedDict[str, nn.Module] = OrderedDict()
    for index in range(layers):
        source = in_channels if index == 0 else out_channels
        parts[str(index)] = nn.Sequential(conv_norm(source, out_channels, 3, stride=1) | {"relu": nn.ReLU()})
    if pooled:
        parts["pool"] = nn.MaxPool2d(2)
    return nn.Sequential(parts)


vgg11 = partial(VGG, layers=(1, 1, 2, 2, 2))
vgg16 = partial(VGG, layers=(2, 2, 3, 3, 3))

"""A multilayer perceptron: the plainest network, for tests and as a floor to compare with."""

from collections import OrderedDict

from torch import Tensor, nn

from pipeline.models.description.spec import Architecture
from pipeline.models.nets.layers import dropout

HIDDEN_LAYERS = 2


class MLP(nn.Module):
    """Pixels in a row, two hidden layers of `width` features, head: (B, C, H, W) -> (B, K)."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        features = architecture.channels * architecture.image_height * architecture.image_width
        self.flatten = nn.Flatten()
        stages = []
        for _ in range(HIDDEN_LAYERS):
            stages.append(
                nn.Sequential(
                    OrderedDict(linear=nn.Linear(features, architecture.first_width), relu=nn.ReLU())
                )
            )
            features = architecture.first_width
        self.stages = nn.Sequential(*stages)
        self.dropout = dropout(architecture.dropout)
        self.head = nn.Linear(features, architecture.num_outputs)

    def forward(self, pixels_BCHW: Tensor) -> Tensor:
        features_BF = self.stages(self.flatten(pixels_BCHW))
        return self.head(self.dropout(features_BF))  # type: ignore[no-any-return]


def mlp(architecture: Architecture) -> MLP:
    return MLP(architecture)

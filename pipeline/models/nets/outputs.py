"""What a network gives, by the names of its spec. Letters: B batch, K numbers of the last layer."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from pipeline.models.description.spec import TensorSpec


def named(numbers_BK: Tensor, outputs: Mapping[str, TensorSpec]) -> dict[str, Tensor]:
    """The numbers of a last layer by output, which follow each other along its second dimension."""
    if len(outputs) == 1:
        return dict.fromkeys(outputs, numbers_BK)
    parts = torch.split(numbers_BK, [math.prod(output.shape) for output in outputs.values()], dim=1)
    return {name: part.reshape(-1, *outputs[name].shape) for name, part in zip(outputs, parts, strict=True)}


def answer(
    model: nn.Module, inputs: Mapping[str, Tensor], outputs: Mapping[str, TensorSpec]
) -> dict[str, Tensor]:
    """What a network answers to preprocessed inputs."""
    return named(model(*inputs.values()), outputs)

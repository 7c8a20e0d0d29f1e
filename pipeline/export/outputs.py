"""What a model gives for a split's images, from its ONNX file or in torch. Letters: B batch, C, H, W, K."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from pipeline.data.prepared.reader import Split, normalise
from pipeline.export.session import InputPixels, OnnxModel
from pipeline.models.description.spec import ModelSpec
from pipeline.models.nets.outputs import named
from pipeline.tasks.judging.arrays import Outputs


def batches(split: Split, indices: Tensor, batch_size: int) -> Iterator[InputPixels]:
    """Images (B, C, H, W) of a split at `indices`, in that order."""
    for part in torch.split(indices, batch_size):
        yield split.images(part).numpy()


def onnx_outputs(
    model: OnnxModel,
    split: Split,
    indices: Tensor,
    batch_size: int,
    view: Callable[[InputPixels], InputPixels] | None = None,
) -> Outputs:
    """Outputs for the rows at `indices`, in that order, or for a view of each of their images."""
    found = batches(split, indices, batch_size)
    return concatenated([model.answer(view(images) if view else images) for images in found])


def concatenated(parts: Sequence[Outputs]) -> Outputs:
    """Outputs of consecutive batches, at least one, as those of one."""
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def torch_outputs(
    model: nn.Module, spec: ModelSpec, split: Split, indices: Tensor, batch_size: int
) -> Outputs:
    mean, std = torch.tensor(spec.preprocessing.mean), torch.tensor(spec.preprocessing.std)
    with torch.no_grad():
        parts = [
            model.eval()(normalise(split.images(part), mean, std))
            for part in torch.split(indices, batch_size)
        ]
    return {name: numbers.numpy() for name, numbers in named(torch.cat(parts), spec.outputs).items()}

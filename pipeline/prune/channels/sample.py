"""A few training images, for what a network must be asked before or after a cut.

Letters: B batch, C, H, W.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from pipeline.data.prepared.reader import Split, normalise
from pipeline.models.description.spec import ModelSpec
from pipeline.prune.params import ShapeParams


def sample(spec: ModelSpec, train: Split, params: ShapeParams, size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Normalised images (B, C, H, W) and their labels (B,), at most `size` at a time, the same for the same
    seed.
    """
    generator = torch.Generator().manual_seed(params.seed)
    chosen = torch.randperm(len(train), generator=generator)[: params.sample_batches * params.batch_size]
    mean, std = torch.tensor(spec.preprocessing.mean), torch.tensor(spec.preprocessing.std)
    labels = train.labels
    for indices in torch.split(chosen, size):
        yield normalise(train.images(indices), mean, std), labels[indices]

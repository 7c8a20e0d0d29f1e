"""A few training samples, for what a network must be asked before or after a cut."""

from collections.abc import Iterator

import torch

from pipeline.data.prepared.batch import Batch
from pipeline.data.prepared.reader import Preprocess, Split
from pipeline.models.description.spec import ModelSpec
from pipeline.prune.params import ShapeParams


def sample(spec: ModelSpec, train: Split, params: ShapeParams, size: int) -> Iterator[Batch]:
    """Preprocessed training samples, at most `size` at a time, the same for the same seed."""
    generator = torch.Generator().manual_seed(params.seed)
    chosen = torch.randperm(len(train), generator=generator)[: params.sample_batches * params.batch_size]
    preprocess = Preprocess(spec.preprocessing.mean, spec.preprocessing.std)
    for rows in torch.split(chosen, size):
        yield preprocess(train.batch(rows, "cpu"))

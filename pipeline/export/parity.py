"""Logits of a split's images, and how far those of two models are apart. Letters: B batch, C, H, W, K."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from pipeline.data.prepared.reader import Split, normalise
from pipeline.export.session import InputPixels, Logits, OnnxModel
from pipeline.models.description.spec import ModelSpec


@dataclass(frozen=True)
class Parity:
    """max_diff: largest absolute difference of a logit; agreement: fraction of images with the same top-1."""

    max_diff: float
    agreement: float
    images: int


def parity(first: Logits, second: Logits) -> Parity:
    """Compare the logits (B, K) of two models for the same images."""
    return Parity(
        max_diff=float(np.abs(first - second).max()),
        agreement=float((first.argmax(axis=1) == second.argmax(axis=1)).mean()),
        images=len(first),
    )


def batches(split: Split, indices: Tensor, batch_size: int) -> Iterator[InputPixels]:
    """Images (B, C, H, W) of a split at `indices`, in that order."""
    for part in torch.split(indices, batch_size):
        yield split.images(part).numpy()


def onnx_logits(
    model: OnnxModel,
    split: Split,
    indices: Tensor,
    batch_size: int,
    view: Callable[[InputPixels], InputPixels] | None = None,
) -> Logits:
    """(B, K) for the rows at `indices`, in that order, or for a view of each of their images."""
    found = batches(split, indices, batch_size)
    return np.concatenate([model.logits(view(images) if view else images) for images in found])


def torch_logits(model: nn.Module, spec: ModelSpec, split: Split, indices: Tensor, batch_size: int) -> Logits:
    mean, std = torch.tensor(spec.preprocessing.mean), torch.tensor(spec.preprocessing.std)
    with torch.no_grad():
        parts = [
            model.eval()(normalise(split.images(part), mean, std))
            for part in torch.split(indices, batch_size)
        ]
    logits: Logits = torch.cat(parts).numpy()
    return logits

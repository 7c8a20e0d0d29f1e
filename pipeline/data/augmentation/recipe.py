"""Training batches: which random changes there are, and in which order. Letters: B batch, C, H, W."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from pipeline.data.augmentation.augment import augment, draw_choices
from pipeline.data.augmentation.mix import Mix, draw_mix, mixed
from pipeline.data.augmentation.params import AugmentParams
from pipeline.data.augmentation.trivial import draw_trivial, trivial
from pipeline.data.prepared.batch import Batch
from pipeline.data.prepared.reader import Preprocess, ResidentSplit, Split


@dataclass(frozen=True)
class Augmentation:
    """Batches of a training split, changed as (seed, epoch, row) say, and preprocessed."""

    split: Split | ResidentSplit
    params: AugmentParams
    preprocess: Preprocess
    seed: int

    def batch(self, rows: Tensor, epoch: int, device: torch.device | str) -> Batch:
        """rows: (B,), on the host."""
        batch = self._alone(rows, epoch, device)
        mixing = draw_mix(rows, len(self.split), self.params, self.seed, epoch)
        return (
            batch if mixing is None else _mixed(batch, self._alone(mixing.partners_B, epoch, device), mixing)
        )

    def _alone(self, rows: Tensor, epoch: int, device: torch.device | str) -> Batch:
        """The batch before samples are mixed."""
        batch = self.split.batch(rows, device)
        inputs = batch.inputs
        if self.params.trivial:
            choice = draw_trivial(rows, self.seed, epoch)
            inputs = {name: trivial(images, choice) for name, images in inputs.items()}
        draws = draw_choices(rows, self.params, self.seed, epoch)
        inputs = {name: augment(images, draws) for name, images in inputs.items()}
        return self.preprocess(replace(batch, inputs=inputs))


def _mixed(own: Batch, other: Batch, mixing: Mix) -> Batch:
    inputs, share = {}, None
    for name, images_BCHW in own.inputs.items():
        inputs[name], share = mixed(images_BCHW, other.inputs[name], mixing)
    return replace(own, inputs=inputs, others=other.targets, share=share)

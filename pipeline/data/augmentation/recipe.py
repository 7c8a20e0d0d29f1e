"""Training batches: which random changes there are, and in which order. Letters: B batch, C, H, W."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from pipeline.data.augmentation.augment import augment, draw_choices
from pipeline.data.augmentation.color_jitter import draw_jitter, jittered
from pipeline.data.augmentation.mix import Mix, draw_mix, mixed
from pipeline.data.augmentation.params import AugmentParams
from pipeline.data.augmentation.reading import TrainReader
from pipeline.data.augmentation.trivial import draw_trivial, trivial
from pipeline.data.prepared.batch import Batch
from pipeline.data.prepared.reader import Preprocess


@dataclass(frozen=True)
class Augmentation:
    """Batches of a training split, changed as (seed, epoch, row) say, and preprocessed."""

    reader: TrainReader
    params: AugmentParams
    preprocess: Preprocess
    seed: int

    def expect(self, parts: Iterable[Tensor], epoch: int) -> None:
        """Begin with the batches whose rows these are, which will be asked for next, in this order."""
        self.reader.expect(self._with_partners(parts, epoch), epoch)

    def batch(self, rows: Tensor, epoch: int, device: torch.device | str) -> Batch:
        """rows: (B,), on the host."""
        batch, mixing = self._alone(rows, epoch, device), self._mix(rows, epoch)
        return (
            batch if mixing is None else _mixed(batch, self._alone(mixing.partners_B, epoch, device), mixing)
        )

    def _with_partners(self, parts: Iterable[Tensor], epoch: int) -> Iterator[Tensor]:
        """The rows that `batch` reads for each of the parts."""
        for rows in parts:
            yield rows
            if (mixing := self._mix(rows, epoch)) is not None:
                yield mixing.partners_B

    def _mix(self, rows: Tensor, epoch: int) -> Mix | None:
        return draw_mix(rows, len(self.reader), self.params, self.seed, epoch)

    def _alone(self, rows: Tensor, epoch: int, device: torch.device | str) -> Batch:
        """The batch before samples are mixed."""
        batch = self.reader.batch(rows, epoch, device)
        inputs = batch.inputs
        if self.params.color_jitter:
            jitter = draw_jitter(rows, self.params.color_jitter, self.seed, epoch)
            inputs = {name: jittered(images, jitter) for name, images in inputs.items()}
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

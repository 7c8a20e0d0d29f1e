"""Training images before they are changed: taken as they are stored, or made by threads ahead of their use.

Letter: B batch.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import torch
from torch import Tensor

from pipeline.data.augmentation.ahead import Ahead, Makers
from pipeline.data.augmentation.params import ResizedCropParams
from pipeline.data.augmentation.resized_crop import draw_crops
from pipeline.data.prepared.batch import Batch
from pipeline.data.prepared.reader import ResidentSplit, Split
from pipeline.images.crop import CropDraw


class TrainReader(Protocol):
    """Batches of a training split."""

    def __len__(self) -> int: ...

    def expect(self, rows: Iterable[Tensor], epoch: int) -> None:
        """Begin with batches whose rows these are, (B,) each: they will be asked for next, in this order."""

    def batch(self, rows: Tensor, epoch: int, device: torch.device | str) -> Batch:
        """The batch of some rows, (B,), on the host."""

    def close(self) -> None:
        """End what was begun."""


@dataclass(frozen=True)
class StoredReader:
    """Final pixels as they are stored; nothing is worth beginning with."""

    split: Split | ResidentSplit

    def __len__(self) -> int:
        return len(self.split)

    def expect(self, rows: Iterable[Tensor], epoch: int) -> None: ...

    def batch(self, rows: Tensor, epoch: int, device: torch.device | str) -> Batch:
        return self.split.batch(rows, device)

    def close(self) -> None: ...


class MakingReader:
    """Images that are decoded or cropped, or both, by threads."""

    def __init__(self, split: Split, crop: ResizedCropParams | None, seed: int, threads: int) -> None:
        self._split = split
        self._crop = crop
        self._seed = seed
        self._ahead = Ahead(self._makers, split.shape_HWC, threads)

    def __len__(self) -> int:
        return len(self._split)

    def expect(self, rows: Iterable[Tensor], epoch: int) -> None:
        self._ahead.expect(rows, epoch)

    def batch(self, rows: Tensor, epoch: int, device: torch.device | str) -> Batch:
        return self._split.batch(rows, device, self._ahead.take(rows, epoch))

    def close(self) -> None:
        self._ahead.close()

    def _makers(self, rows: Tensor, epoch: int) -> Makers:
        draws: Sequence[CropDraw | None] = [None] * len(rows)
        if self._crop is not None:
            draws = draw_crops(rows, self._crop, self._seed, epoch)
        return [partial(self._split.made, row, draw) for row, draw in zip(rows.tolist(), draws, strict=True)]

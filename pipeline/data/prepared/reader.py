"""One split of the prepared data as tensors, and its images as networks take them.

Letters: B batch, C channels, H height, W width, N rows of a split.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pipeline.data.fields.field import PIXELS, Values
from pipeline.data.prepared.batch import Batch, Tensors
from pipeline.data.prepared.images import EncodedImages, StoredImages, split_images
from pipeline.data.prepared.manifest import read_manifest
from pipeline.data.prepared.send import sent
from pipeline.data.prepared.shards import Indices, map_shards
from pipeline.images.crop import CropDraw
from pipeline.images.pixels import PixelsHWC

LARGEST_PIXEL = 255


class Split:
    """Rows 0..N-1 of one split, mapped: opening costs milliseconds, no memory; a pickle holds only the path.

    targets: by name, of all rows.
    """

    def __init__(self, images: StoredImages, targets: Tensors, reopen: tuple[Path, str]) -> None:
        self.targets = targets
        self._images = images
        self._reopen = reopen

    @classmethod
    def open(cls, folder: Path, name: str) -> "Split":
        """Map the shards of split `name`.

        Raises DataError if the split or a shard is missing or malformed.
        """
        columns, manifest = map_shards(folder, name), read_manifest(folder)
        images = split_images(manifest, name, columns.pop(PIXELS))
        targets = {target: torch.from_numpy(np.concatenate(parts)) for target, parts in columns.items()}
        return cls(images, targets, (folder, name))

    def __len__(self) -> int:
        return len(self._images)

    @property
    def shape_HWC(self) -> tuple[int, int, int]:
        """Height, width and channels of an image."""
        return self._images.rule[:3]

    @property
    def is_encoded(self) -> bool:
        """Whether its pixels are decoded anew each time they are read."""
        return isinstance(self._images, EncodedImages)

    @property
    def target_arrays(self) -> dict[str, Values]:
        """The targets of all rows as judging takes them, by name."""
        return {name: target.numpy() for name, target in self.targets.items()}

    def __reduce__(self) -> tuple[Callable[[Path, str], "Split"], tuple[Path, str]]:
        return Split.open, self._reopen

    def images(self, indices: Tensor) -> Tensor:
        """Pixels of the rows at `indices` (B,): a fresh uint8 (B, C, H, W) in channels_last strides.

        Raises IndexError for an index outside 0..N-1.
        """
        rows: Indices = indices.numpy()
        if len(rows) and not 0 <= rows.min() <= rows.max() < len(self):
            raise IndexError(f"rows {rows.min()}..{rows.max()} asked of a split with rows 0..{len(self) - 1}")
        return torch.from_numpy(self._images.final(rows)).permute(0, 3, 1, 2)

    def made(self, row: int, draw: CropDraw | None) -> PixelsHWC:
        """One image, uint8 (H, W, C), without any tensor: as `images` has it, or a box of it in its size."""
        return self._images.made(row, draw)

    def batch(self, rows: Tensor, device: torch.device | str, images: Tensor | None = None) -> Batch:
        """Pixels, as of `images` if they are not given, and the targets, on the device. `rows` are on the
        host.
        """
        targets = {name: target[rows] for name, target in self.targets.items()}
        pixels = self.images(rows) if images is None else images
        return Batch({PIXELS: pixels}, targets, rows).to(device)

    @property
    def size_bytes(self) -> int:
        """Bytes of all final pixels."""
        return len(self) * math.prod(self.shape_HWC)


class ResidentSplit:
    """A whole split in a device's memory, from which batches are taken with indices alone from the host.

    targets: on the host, where the order of an epoch is made.
    """

    def __init__(self, split: Split, device: torch.device | str) -> None:
        self.targets = split.targets
        self._targets = {name: target.to(device) for name, target in split.targets.items()}
        self._pixels_NHWC = split.images(torch.arange(len(split))).permute(0, 2, 3, 1).contiguous().to(device)

    def __len__(self) -> int:
        return len(self._pixels_NHWC)

    def batch(self, rows: Tensor, device: torch.device | str) -> Batch:
        """Take a batch as Split.batch does, on the device where the split is."""
        there = sent(rows, device)
        pixels_BHWC = self._pixels_NHWC.index_select(0, there)
        targets = {name: target.index_select(0, there) for name, target in self._targets.items()}
        return Batch({PIXELS: pixels_BHWC.permute(0, 3, 1, 2)}, targets, rows)


class Preprocess:
    """The inputs of a batch as networks take them: images normalised by mean and std of each channel."""

    def __init__(
        self, mean: Sequence[float], std: Sequence[float], device: torch.device | str = "cpu"
    ) -> None:
        self._mean_C = torch.tensor(mean, device=device)
        self._std_C = torch.tensor(std, device=device)

    def __call__(self, batch: Batch) -> Batch:
        images = batch.inputs.items()
        inputs = {name: normalise(images_BCHW, self._mean_C, self._std_C) for name, images_BCHW in images}
        return replace(batch, inputs=inputs)


def normalise(images_BCHW: Tensor, mean_C: Tensor, std_C: Tensor) -> Tensor:
    """uint8 pixels to float32 of mean 0 and standard deviation 1 per channel, in channels_last strides.

    mean_C, std_C: of pixels scaled to 0..1, as in the manifest.
    """
    num_images, channels, height, width = images_BCHW.shape
    # Constants as long as an image keep the innermost loop long: 900,000 instead of 190,000 CIFAR images/s on
    # one core.
    mean, std = (
        (tensor.to(images_BCHW.device, torch.float32) * LARGEST_PIXEL).repeat(height * width)
        for tensor in (mean_C, std_C)
    )
    flat = images_BCHW.permute(0, 2, 3, 1).reshape(num_images, -1).to(torch.float32)
    return flat.sub_(mean).div_(std).view(num_images, height, width, channels).permute(0, 3, 1, 2)

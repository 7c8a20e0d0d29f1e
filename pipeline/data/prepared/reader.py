"""One split of the prepared data as tensors, and its images as networks take them.

Letters: B batch, C channels, H height, W width, N rows of a split.
"""

import math
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from pipeline.data.prepared.manifest import read_manifest
from pipeline.data.prepared.send import sent
from pipeline.data.prepared.shards import Pixels, gather_rows, map_shards

LARGEST_PIXEL = 255


class Split:
    """Rows 0..N-1 of one split, mapped: opening costs milliseconds and no memory, and a pickle holds only the
    path.

    shape: (H, W, C). shards: pixels (rows, H * W * C) of each shard. labels: (N,) int64.
    """

    def __init__(
        self, shape: tuple[int, int, int], shards: list[Pixels], labels: Tensor, reopen: tuple[Path, str]
    ) -> None:
        self.labels = labels
        self._shape = shape
        self._shards = shards
        self._reopen = reopen

    @classmethod
    def open(cls, folder: Path, name: str) -> "Split":
        """Map the shards of split `name`.

        Raises DataError if the split or a shard is missing or malformed.
        """
        shards, labels = map_shards(folder, name)
        manifest = read_manifest(folder)
        return cls(
            (manifest.height, manifest.width, manifest.channels),
            shards,
            torch.from_numpy(labels),
            (folder, name),
        )

    def __len__(self) -> int:
        return len(self.labels)

    def __reduce__(self) -> tuple[Callable[[Path, str], "Split"], tuple[Path, str]]:
        return Split.open, self._reopen

    def images(self, indices: Tensor) -> Tensor:
        """Pixels of the rows at `indices` (B,): a fresh uint8 (B, C, H, W) in channels_last strides.

        Raises IndexError for an index outside 0..N-1.
        """
        rows = indices.numpy()
        if len(rows) and not 0 <= rows.min() <= rows.max() < len(self):
            raise IndexError(f"rows {rows.min()}..{rows.max()} asked of a split with rows 0..{len(self) - 1}")
        height, width, channels = self._shape
        pixels_BHWC = torch.from_numpy(gather_rows(self._shards, rows)).view(
            len(rows), height, width, channels
        )
        return pixels_BHWC.permute(0, 3, 1, 2)

    def batch(self, indices: Tensor, device: torch.device | str) -> tuple[Tensor, Tensor]:
        """Pixels as of `images`, and labels (B,), on the device. `indices` are on the host."""
        return sent(self.images(indices), device), sent(self.labels[indices], device)

    @property
    def size_bytes(self) -> int:
        """Bytes of all pixels."""
        return len(self) * math.prod(self._shape)


class ResidentSplit:
    """A whole split in a device's memory, from which batches are taken without a copy from the host but of
    the indices.

    labels: on the host, where the order of an epoch is made.
    """

    def __init__(self, split: Split, device: torch.device | str) -> None:
        self.labels = split.labels
        self._labels_N = split.labels.to(device)
        self._pixels_NHWC = split.images(torch.arange(len(split))).permute(0, 2, 3, 1).contiguous().to(device)

    def __len__(self) -> int:
        return len(self.labels)

    def batch(self, indices: Tensor, device: torch.device | str) -> tuple[Tensor, Tensor]:
        """Take a batch as Split.batch does, on the device where the split is."""
        rows = sent(indices, device)
        return self._pixels_NHWC.index_select(0, rows).permute(0, 3, 1, 2), self._labels_N.index_select(
            0, rows
        )


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

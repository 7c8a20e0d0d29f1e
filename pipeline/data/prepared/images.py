"""The images of a split as they lie on disk, and how they become pixels.

Letters: B batch, C channels, H height, W width.
"""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from PIL import Image

from pipeline.data.fields.image import Pixels
from pipeline.data.prepared.encoded import Encoded
from pipeline.data.prepared.manifest import Manifest
from pipeline.data.prepared.shards import Indices, gather_rows
from pipeline.images.crop import CropDraw, cropped, cropped_file
from pipeline.images.decode import PILLOW_MODES
from pipeline.images.pixels import PixelsHWC, pixels
from pipeline.images.rule import ImageRule


class StoredImages(Protocol):
    """All images of a split, by row number. Threads may share it."""

    rule: ImageRule

    def __len__(self) -> int: ...

    def final(self, rows: Indices) -> Pixels:
        """The pixels that the rule gives, a fresh uint8 (B, H, W, C)."""

    def made(self, row: int, draw: CropDraw | None) -> PixelsHWC:
        """One image, uint8 (H, W, C) in the rule's size: all of it as `final` has it, or a box."""


class PixelImages:
    """Final pixels, (rows, H * W * C) of each shard."""

    def __init__(self, rule: ImageRule, shards: Sequence[Pixels]) -> None:
        self.rule = rule
        self._shards = shards

    def __len__(self) -> int:
        return sum(map(len, self._shards))

    def final(self, rows: Indices) -> Pixels:
        height, width, channels = self.rule[:3]
        return gather_rows(self._shards, rows).reshape(len(rows), height, width, channels)

    def made(self, row: int, draw: CropDraw | None) -> PixelsHWC:
        whole: PixelsHWC = self.final(np.array([row]))[0]
        if draw is None:
            return whole
        size = self.rule.width, self.rule.height
        image = Image.frombytes(PILLOW_MODES[self.rule.channels], size, whole.tobytes())
        return cropped(image, draw, self.rule)


class EncodedImages:
    """Upright JPEGs in grey or RGB, of each shard."""

    def __init__(self, rule: ImageRule, shards: Sequence[Encoded]) -> None:
        self.rule = rule
        self._shards = shards
        self._ends = np.cumsum([len(shard) for shard in shards])

    def __len__(self) -> int:
        return int(self._ends[-1])

    def final(self, rows: Indices) -> Pixels:
        found = np.empty((len(rows), *self.rule[:3]), np.uint8)
        for place, row in enumerate(rows.tolist()):
            found[place] = self.made(row, None)
        return found

    def made(self, row: int, draw: CropDraw | None) -> PixelsHWC:
        file = self._file(row)
        return pixels(file, self.rule) if draw is None else cropped_file(file, draw, self.rule)

    def _file(self, row: int) -> bytes:
        home = int(np.searchsorted(self._ends, row, side="right"))
        return self._shards[home].file(row - int(self._ends[home]) + len(self._shards[home]))


def split_images(manifest: Manifest, name: str, shards: Sequence[Any]) -> StoredImages:
    """The images of split `name`. shards: the image column of each, as map_shards() gives it."""
    is_encoded = manifest.splits[name].images == "encoded"
    return (EncodedImages if is_encoded else PixelImages)(manifest.image.rule, shards)

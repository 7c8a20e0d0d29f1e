"""Sums over the pixels of each image, from which statistics of any set of rows follow exactly.

Letters: N images, P pixels of an image, C channels.
"""

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Sums: TypeAlias = npt.NDArray[np.int64]
PIXELS_BESIDE = 64
"""Pixels added up as one vector: whole vectors of 32-bit integers are 3 to 6 times as fast as channel by
channel, and hold the squares of the 2,048 x 2,048 pixels that data.height and data.width allow.
"""
VALUES_AT_ONCE = 1 << 16
"""What stays in the processor's cache."""


def channel_sums(images: Sequence[bytes], channels: int) -> tuple[Sums, Sums]:
    """Sums of the values 0..255 and of their squares, (N, C) each. images: P * C bytes each."""
    sums, squares = np.empty((2, len(images), channels), np.int64)
    step = max(1, VALUES_AT_ONCE // len(images[0])) if images else 1
    for first in range(0, len(images), step):
        some = slice(first, first + step)
        block = b"".join(images[some])  # of one image, that image itself
        values = np.frombuffer(block, np.uint8).reshape(len(images[some]), -1, channels).astype(np.uint32)
        sums[some] = _sum(values)
        values *= values
        squares[some] = _sum(values)
    return sums, squares


def _sum(values_NPC: npt.NDArray[np.uint32]) -> Sums:
    num_images, num_pixels, channels = values_NPC.shape
    vectors = num_pixels // PIXELS_BESIDE
    even = vectors * PIXELS_BESIDE
    beside = values_NPC[:, :even].reshape(num_images, vectors, PIXELS_BESIDE * channels)
    partial = beside.sum(axis=1, dtype=np.uint32).reshape(num_images, PIXELS_BESIDE, channels)
    found: Sums = partial.sum(axis=1, dtype=np.int64) + values_NPC[:, even:].sum(axis=1, dtype=np.int64)
    return found

"""The default source: 1,797 handwritten digits of 8x8 pixels that are part of scikit-learn (UCI Optical Recognition)."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
from sklearn.datasets import load_digits

from pipeline.data.params import DataParams
from pipeline.data.source import BATCH_ROWS, Batch, Source

SHAPE = (8, 8, 1)
LARGEST_VALUE = 16


def open_digits(_params: DataParams, _path: Path) -> Source:
    """Grey pixels scaled from 0..16 to 0..255; scikit-learn has no split of its own for them."""
    digits = load_digits()
    # Integers all the way: x * 255 / 16, rounded half up.
    images = ((digits.images.astype(np.int64) * 255 + LARGEST_VALUE // 2) // LARGEST_VALUE).astype(np.uint8)
    labels = digits.target.astype(np.int64)
    return Source(
        name="digits",
        sha256=hashlib.sha256(images.tobytes() + labels.astype("<i8").tobytes()).hexdigest(),
        splits=["train"],
        classes=[str(name) for name in digits.target_names],
        raw_shape=SHAPE,
        batches=_batches(images, labels),
    )


def _batches(images: npt.NDArray[np.uint8], labels: npt.NDArray[np.int64]) -> Iterator[Batch]:
    for first in range(0, len(images), BATCH_ROWS):
        rows = slice(first, first + BATCH_ROWS)
        yield Batch("digits", "train", first, [image.tobytes() for image in images[rows]], labels[rows].tolist())

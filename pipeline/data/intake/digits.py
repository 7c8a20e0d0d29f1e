"""The default source: 1,797 handwritten digits of 8x8 pixels in scikit-learn (UCI Optical Recognition)."""

import hashlib
from collections.abc import Iterator
from importlib.metadata import distribution
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pipeline.data.intake.params import DIGITS_COLUMN, DataParams
from pipeline.data.intake.source import BATCH_ROWS, Source, SourceBatch

FILE = "sklearn/datasets/data/digits.csv.gz"
DIGITS_SHAPE = (8, 8, 1)
LARGEST_VALUE = 16


def open_digits(params: DataParams, _path: Path) -> Source:
    """Grey pixels scaled from 0..16 to 0..255, and in DIGITS_COLUMN the digit; scikit-learn has no split of
    its own for them.
    """
    # The file that sklearn.datasets.load_digits reads; importing sklearn takes 3 s.
    table = np.loadtxt(
        Path(str(distribution("scikit-learn").locate_file(FILE))), dtype=np.int64, delimiter=","
    )
    values, labels = table[:, :-1], table[:, -1].copy()
    # Integers all the way: x * 255 / 16, rounded half up.
    images = ((values.reshape(-1, *DIGITS_SHAPE[:2]) * 255 + LARGEST_VALUE // 2) // LARGEST_VALUE).astype(
        np.uint8
    )
    return Source(
        name="digits",
        sha256=hashlib.sha256(images.tobytes() + labels.astype("<i8").tobytes()).hexdigest(),
        splits=["train"],
        classes={name: [str(digit) for digit in range(10)] for name in params.targets},
        raw_shape=DIGITS_SHAPE,
        batches=_batches(images, labels),
    )


def _batches(images: npt.NDArray[np.uint8], labels: npt.NDArray[np.int64]) -> Iterator[SourceBatch]:
    for first in range(0, len(images), BATCH_ROWS):
        rows = slice(first, first + BATCH_ROWS)
        found = [image.tobytes() for image in images[rows]]
        yield SourceBatch(
            "digits", "train", first, found, {DIGITS_COLUMN: labels[rows].tolist()}, [()] * len(found)
        )

"""The default source: 1,797 handwritten digits of 8x8 pixels in scikit-learn (UCI Optical Recognition)."""

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import distribution
from pathlib import Path

import numpy as np

from pipeline.data.intake.source import BATCH_ROWS, Source, SourceBatch
from pipeline.data.intake.sources.digits import DIGITS_COLUMN, DigitsSource

FILE = "sklearn/datasets/data/digits.csv.gz"
DIGITS_ROWS = 1797
DIGITS_SHAPE = (8, 8, 1)
LARGEST_VALUE = 16


def open_digits(columns: list[str]) -> Source:
    """Grey pixels scaled from 0..16 to 0..255, and in DIGITS_COLUMN the digit; scikit-learn has no split of
    their own for them.
    """
    return Source(
        name="digits",
        splits=["train"],
        columns=DigitsSource.fixed,
        classes={DIGITS_COLUMN: [str(digit) for digit in range(10)]},
        classes_json=None,
        raw_shape=DIGITS_SHAPE,
        pieces=[DigitsPiece(DIGITS_ROWS, tuple(columns))],
        left_out={},
    )


@dataclass(frozen=True)
class DigitsPiece:
    rows: int
    columns: tuple[str, ...]

    def read(self) -> Iterator[SourceBatch]:
        # The file that sklearn.datasets.load_digits reads; importing sklearn takes 3 s.
        table = np.loadtxt(
            Path(str(distribution("scikit-learn").locate_file(FILE))), dtype=np.int64, delimiter=","
        )
        values, labels = table[:, :-1], table[:, -1]
        # Integers all the way: x * 255 / 16, rounded half up.
        images = ((values * 255 + LARGEST_VALUE // 2) // LARGEST_VALUE).astype(np.uint8)
        for first in range(0, self.rows, BATCH_ROWS):
            numbers = range(first, min(first + BATCH_ROWS, self.rows))
            rows = slice(numbers.start, numbers.stop)
            yield SourceBatch(
                files=["digits"] * len(numbers),
                rows=list(numbers),
                splits=["train"] * len(numbers),
                images=[image.tobytes() for image in images[rows]],
                cells={column: labels[rows].tolist() for column in self.columns},
            )

"""The digits of scikit-learn."""

from pathlib import Path

import numpy as np

from pipeline.data.intake.opening import open_source
from tests.support.data_samples import DIGITS, data_params, read_source

PARAMS = data_params(source=DIGITS)


def test_digits_span_the_whole_range_and_are_named() -> None:
    read = read_source(PARAMS, Path("absent"))
    images = np.frombuffer(b"".join(image for image in read.images if isinstance(image, bytes)), np.uint8)
    assert len(images) == 1797 * 64
    assert set(images.tolist()) == {(value * 255 + 8) // 16 for value in range(17)}
    assert read.rows == list(range(1797))
    with open_source(PARAMS, Path("absent")) as source:
        assert source.classes == {"label": [str(digit) for digit in range(10)]}
        assert [piece.rows for piece in source.pieces] == [1797]

"""The worst answers of a split, as a grid of images. Letter: N samples."""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from pipeline.drawing import draw_images
from pipeline.tasks.judging.arrays import Floats, Ints

RowImages = Callable[[Ints], npt.NDArray[np.uint8]]
"""Reader of pixels (rows, C, H, W), by numbers of rows."""


def worst(faults_N: Floats, most: int) -> Ints:
    """Rows of the greatest faults above 0, greatest first, at most `most`; ties by index."""
    wrong = np.flatnonzero(faults_N > 0)
    return wrong[np.argsort(-faults_N[wrong], kind="stable")][:most]


def draw_worst(
    title: str, rows: Ints, images: RowImages, given: Sequence[str], actual: Sequence[str]
) -> bytes:
    """A grid of some rows, each with what was answered and what is right, of the same order as the rows."""
    captions = [f"{one}\nis {other}" for one, other in zip(given, actual, strict=True)]
    return draw_images(title if len(rows) else "No wrong answer", images(rows), captions)

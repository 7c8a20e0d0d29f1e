"""Statistics of pixels from the sums of each image: exact, and those of numpy."""

import numpy as np
import pytest

from pipeline.data.intake.decoding.sums import channel_sums
from pipeline.data.intake.statistics import channel_statistics


@pytest.mark.parametrize("shape", [(5, 64, 3), (3, 1, 3), (2, 31, 1), (40, 33, 3), (3, 70_001, 1)])
def test_sums_of_every_image(shape: tuple[int, int, int]) -> None:
    images_NPC = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    exact = images_NPC.astype(np.int64)
    sums, squares = channel_sums([image.tobytes() for image in images_NPC], shape[2])
    assert sums.tolist() == exact.sum(axis=1).tolist()
    assert squares.tolist() == (exact * exact).sum(axis=1).tolist()


def test_sums_of_the_largest_white_image() -> None:
    sums, squares = channel_sums([b"\xff" * 2048 * 2048], 1)
    assert (sums.item(), squares.item()) == (2048 * 2048 * 255, 2048 * 2048 * 255 * 255)


def test_statistics_are_those_of_numpy_and_exact_in_any_order() -> None:
    images_NPC = np.random.default_rng(0).integers(0, 256, (9, 50, 3), np.uint8)
    sums, squares = channel_sums([image.tobytes() for image in images_NPC], 3)
    mean, std = channel_statistics(sums, squares, 50)
    scaled = images_NPC.reshape(-1, 3) / 255
    assert mean == pytest.approx(scaled.mean(axis=0).tolist(), rel=1e-12)
    assert std == pytest.approx(scaled.std(axis=0).tolist(), rel=1e-12)
    assert channel_statistics(sums[::-1], squares[::-1], 50) == (mean, std)


def test_constant_channel_has_standard_deviation_one() -> None:
    sums, squares = channel_sums([bytes([7, 0]), bytes([7, 255])], 2)
    assert channel_statistics(sums, squares, 1) == ([7 / 255, 0.5], [1.0, 0.5])

"""The worst answers of a split."""

import numpy as np
import numpy.typing as npt

from pipeline.drawing import draw_images
from pipeline.tasks.judging.arrays import Ints
from pipeline.tasks.reports.worst import draw_worst, worst

IMAGES = np.random.default_rng(0).integers(0, 256, (5, 1, 4, 4), np.uint8)


def images(rows: Ints) -> npt.NDArray[np.uint8]:
    return IMAGES[rows]


def test_worst_are_the_greatest_faults_first_and_of_equal_ones_the_first() -> None:
    faults = np.array([0.9, 0.6, 0.95, 0.0, 0.95])
    assert worst(faults, 3).tolist() == [2, 4, 0]
    assert worst(faults, 9).tolist() == [2, 4, 0, 1]
    assert worst(np.zeros(5), 3).tolist() == []


def test_a_caption_says_what_was_answered_and_what_is_right() -> None:
    rows = np.array([4, 1])
    assert draw_worst("bad", rows, images, ["cat", "dog"], ["eel", "cow"]) == draw_images(
        "bad", IMAGES[[4, 1]], ["cat\nis eel", "dog\nis cow"]
    )


def test_without_a_wrong_answer_the_title_says_so() -> None:
    none = np.zeros(0, np.int64)
    assert draw_worst("bad", none, images, [], []) == draw_images("No wrong answer", IMAGES[none], [])

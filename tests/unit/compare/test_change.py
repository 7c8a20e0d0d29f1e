"""What a step changed: counts by hand, and an interval that holds the truth as often as it says."""

import numpy as np
import pytest
from scipy.stats import multinomial, ttest_1samp

from pipeline.compare.change import Pair, paired_interval, proportions_interval
from pipeline.compare.slices import quarters, values

PAIR = Pair(
    before=np.array([1.0, 1, 0, 1, 0, 0]),
    now=np.array([1.0, 0, 1, 1, 0, 0]),
    same=np.array([1.0, 0, 0, 1, 0, 1]),
)
FIRST = np.array([True, True, True, False, False, False])
"""In turn: right both times, lost, gained, right, wrong in another way, wrong in the same way."""


def test_every_image_is_of_one_kind() -> None:
    assert np.flatnonzero(PAIR.lost).tolist() == [1]
    assert np.flatnonzero(PAIR.gained).tolist() == [2]
    assert np.flatnonzero(PAIR.swapped).tolist() == [4]
    assert PAIR.agreement == pytest.approx(3 / 6)


def test_a_change_is_what_was_gained_less_what_was_lost() -> None:
    found = PAIR.change(FIRST)
    assert (found.images, found.before, found.now, found.change) == (3, 0.666667, 0.666667, 0.0)
    assert found.low < 0 < found.high


def test_the_greatest_loss_comes_first_and_empty_groups_not_at_all() -> None:
    pair = Pair(np.array([1.0, 1, 1, 1]), np.array([1.0, 0, 0, 0]), np.array([1.0, 0, 0, 0]))
    first = np.array([True, True, False, False])
    found = pair.changes({"a": first, "b": ~first, "never seen": first & ~first})
    assert [(each.name, each.change) for each in found] == [("b", -1.0), ("a", -0.5)]


def test_the_interval_is_that_of_bonett_and_price() -> None:
    """Worked out by hand: (4 + 1) / 52 and (1 + 1) / 52; variance (7/52 - (3/52)^2) / 52."""
    low, high = proportions_interval(lost=4, gained=1, images=50)
    half = 1.959964 * ((7 / 52 - (3 / 52) ** 2) / 52) ** 0.5
    assert (low, high) == pytest.approx((-3 / 52 - half, -3 / 52 + half))


def test_no_change_in_few_images_proves_little() -> None:
    assert proportions_interval(0, 0, 36) == pytest.approx((-0.0730, 0.0730), abs=1e-4)
    assert proportions_interval(0, 0, 1) == pytest.approx((-0.9240, 0.9240), abs=1e-4)


@pytest.mark.parametrize(("down", "up"), [(0.02, 0.02), (0.05, 0.01), (0.1, 0.05), (0.3, 0.0)])
def test_the_interval_holds_the_truth_as_often_as_it_says(down: float, up: float) -> None:
    """Every outcome of 36 images, weighted by how likely it is."""
    images = 36
    outcomes = [(lost, gained) for lost in range(images + 1) for gained in range(images + 1 - lost)]
    shares = multinomial.pmf([(a, b, images - a - b) for a, b in outcomes], images, [down, up, 1 - down - up])
    intervals = [proportions_interval(lost, gained, images) for lost, gained in outcomes]
    held = [low <= up - down <= high for low, high in intervals]
    assert float(shares[held].sum()) > 0.94


def test_scores_of_all_or_nothing_have_the_interval_of_proportions() -> None:
    differences = np.array([-1.0] * 4 + [1.0] + [0.0] * 45)
    assert paired_interval(differences) == proportions_interval(4, 1, 50)


def test_other_scores_have_students_interval_which_is_scipys() -> None:
    differences = np.random.default_rng(0).normal(-0.02, 0.1, 40)
    expected = ttest_1samp(differences, 0).confidence_interval(0.95)
    assert paired_interval(differences) == pytest.approx((expected.low, expected.high))
    assert paired_interval(np.array([0.3])) == (-1.0, 1.0)
    assert paired_interval(np.array([0.9, -0.95])) == (-1.0, 1.0), "no change is greater"


def test_a_score_that_fell_is_lost_and_one_that_rose_is_gained() -> None:
    pair = Pair(np.array([0.5, 0.5, 0.5]), np.array([0.4, 0.6, 0.5]), np.array([0.9, 0.9, 0.8]))
    assert [rows.tolist() for rows in (pair.lost, pair.gained, pair.swapped)] == [
        [True, False, False],
        [False, True, False],
        [False, False, True],
    ]
    assert pair.change().change == pytest.approx(0.0)
    assert pair.agreement == pytest.approx(2.6 / 3)


def test_slices_are_quarters_from_the_least_to_the_most() -> None:
    dark, flat, loud = [0, 0, 0, 8], [9, 9, 9, 9], [0, 255, 0, 255]
    shards = [np.array([loud, dark], np.uint8), np.array([flat, [3, 5, 4, 4]], np.uint8)]
    found = quarters(shards, ["brightness", "contrast"])
    assert {name: np.flatnonzero(rows).tolist() for name, rows in found.items()} == {
        "brightness 1/4": [1],
        "brightness 2/4": [3],
        "brightness 3/4": [2],
        "brightness 4/4": [0],
        "contrast 1/4": [2],
        "contrast 2/4": [3],
        "contrast 3/4": [1],
        "contrast 4/4": [0],
    }


def test_every_value_of_a_column_is_a_slice() -> None:
    found = values({"camera": ["b", "a", "b"], "site": ["1", "1", "1"]})
    assert {name: np.flatnonzero(rows).tolist() for name, rows in found.items()} == {
        "camera = a": [1],
        "camera = b": [0, 2],
        "site = 1": [0, 1, 2],
    }


def test_images_that_are_all_alike_are_one_slice() -> None:
    found = quarters([np.full((8, 4), 7, np.uint8)], ["contrast"])
    assert [name for name, rows in found.items() if rows.any()] == ["contrast 4/4"]

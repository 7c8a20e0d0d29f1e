"""How often answers of a confidence are right, on numbers small enough to check by hand."""

import numpy as np
import pytest

from pipeline.tasks.reports.reliability import draw_reliability, reliability


def test_calibration_error_of_an_example_worked_out_by_hand() -> None:
    # Bin (0.5, 0.75]: confidences 0.6 and 0.7, one of two right; bin (0.75, 1]: 0.8, 0.9 and 1.0, all right.
    right = np.array([True, False, True, True, True])
    bins = reliability(np.array([0.6, 0.7, 0.8, 0.9, 1.0]), right, bins=4)
    assert bins.count.tolist() == [0, 0, 2, 3]
    assert bins.accuracy.tolist() == [0, 0, 0.5, 1]
    assert bins.confidence == pytest.approx([0, 0, 0.65, 0.9])
    assert bins.ece == pytest.approx((2 * 0.15 + 3 * 0.1) / 5)
    assert bins.lower.tolist() == [0, 0.25, 0.5, 0.75]


def test_a_confidence_on_the_border_belongs_to_the_bin_below_and_none_falls_out() -> None:
    bins = reliability(np.array([0.75, 0.0]), np.array([True, False]), bins=4)
    assert bins.count.tolist() == [1, 0, 1, 0]


def test_perfect_calibration_has_no_error() -> None:
    assert reliability(np.ones(2), np.ones(2, np.bool_), bins=10).ece == 0


def test_the_table_has_a_row_for_each_bin() -> None:
    lines = reliability(np.array([0.9, 0.7]), np.array([True, False]), bins=2).csv().splitlines()
    assert lines == ["lower,confidence,accuracy,count", "0.0,0.0,0.0,0", "0.5,0.8,0.5,2"]


def test_the_picture_says_what_is_counted() -> None:
    bins = reliability(np.array([0.9, 0.7]), np.array([True, False]), bins=2)
    assert draw_reliability(bins) == draw_reliability(bins, "images") != draw_reliability(bins, "labels")

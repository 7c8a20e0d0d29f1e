"""Thresholds of labels, against brute force and by hand."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import f1_score

from pipeline.tasks.judging.arrays import Bools, Floats
from pipeline.tasks.training.thresholds import best_thresholds


def of_one_label(probabilities: list[float], actual: list[int]) -> float:
    (threshold,) = best_thresholds(np.array(probabilities)[:, None], np.array(actual, np.bool_)[:, None])
    return threshold


def by_brute_force(probabilities: Floats, actual: Bools) -> tuple[float, float]:
    """The greatest F1, and the threshold nearest to 0.5 that has it."""
    levels = sorted({0.0, *probabilities.tolist()})
    middles = [low + (high - low) / 2 for low, high in pairwise(levels)]
    tried = [(f1_score(actual, probabilities >= each, zero_division=0), each) for each in middles]
    best = max(f1 for f1, _ in tried)
    return best, min((each for f1, each in tried if f1 == best), key=lambda each: (abs(each - 0.5), each))


@settings(max_examples=20, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 12).map(lambda n: n / 13), st.booleans()), min_size=1, max_size=12))
def test_thresholds_are_those_of_brute_force(samples: list[tuple[float, bool]]) -> None:
    """A few probabilities only, so that many tie."""
    probabilities, actual = (np.array(each) for each in zip(*samples, strict=True))
    found = of_one_label(probabilities.tolist(), actual.tolist())
    if not actual.any():
        assert found == 0.5
        return
    best, threshold = by_brute_force(probabilities, actual)
    assert f1_score(actual, probabilities >= found, zero_division=0) == best
    assert found == pytest.approx(threshold, abs=1e-12)


@pytest.mark.parametrize(
    ("probabilities", "actual", "threshold"),
    [
        ([0.2, 0.9], [0, 0], 0.5),
        ([], [], 0.5),
        ([0.1, 0.3, 0.9], [0, 1, 1], 0.2),
        ([0.6, 0.8], [1, 1], 0.3),
        ([0.7, 0.7], [1, 0], 0.35),
        ([0.0, 0.0], [1, 1], 0.0),
        ([0.1, 0.2, 0.3, 0.9], [1, 0, 0, 1], 0.6),  # 0.05 is as good
        ([0.1, 0.4, 0.4, 0.6, 0.6, 0.9], [0, 1, 0, 0, 1, 1], 0.25),
    ],
)
def test_thresholds_of_examples_by_hand(
    probabilities: list[float], actual: list[int], threshold: float
) -> None:
    assert of_one_label(probabilities, actual) == pytest.approx(threshold)


def test_between_neighbouring_floats_the_upper_is_the_threshold() -> None:
    low = 0.75
    high = float(np.nextafter(low, 1))
    assert of_one_label([low, high], [0, 1]) == high

"""What answers of a number are worth, on numbers small enough to check by hand."""

import numpy as np
import pytest

from pipeline.tasks.description.regression import RegressionNotes
from pipeline.tasks.judging.regression import RegressionExaminer

EXAMINER = RegressionExaminer(RegressionNotes(mean=5.0, std=2.0, low=0.0, high=13.0))
OUTPUTS = {"value": np.array([[0], [1], [-2.5], [1000]], np.float32)}
TARGETS = {"label": np.array([5.0, 20.0, 0.0, 12.3456789])}


def test_an_answer_is_given_in_standard_deviations_from_the_mean() -> None:
    assert EXAMINER.numbers(OUTPUTS).tolist() == [5, 7, 0, 2005]


def test_a_score_is_one_less_the_error_as_a_share_of_the_range_and_never_negative() -> None:
    near = {"value": np.array([[0.65], [0]], np.float32)}  # 1.3 off, a tenth; 0.0 off
    assert EXAMINER.score(near, {"label": np.array([5.0, 5.0])}) == pytest.approx([0.9, 1])
    assert EXAMINER.score(OUTPUTS, TARGETS).tolist() == [1, 0, 1, 0]


def test_words_are_numbers_of_six_digits() -> None:
    assert EXAMINER.answers(OUTPUTS) == ["5", "7", "0", "2005"]
    assert EXAMINER.truths(TARGETS) == ["5", "20", "0", "12.3457"]


def test_two_models_agree_as_their_numbers_are_near() -> None:
    assert EXAMINER.same(["1", "5", "-1e3"], ["1", "6.3", "1e3"]) == pytest.approx([1, 0.9, 0])


def test_all_answers_are_of_equal_confidence() -> None:
    assert EXAMINER.confidence(OUTPUTS).tolist() == [1, 1, 1, 1]


def test_the_groups_are_the_numbers_below_the_mean_of_training_and_the_others() -> None:
    found = EXAMINER.groups({"label": np.array([-9.0, 4.999, 5, 99])})
    assert {name: rows.tolist() for name, rows in found.items()} == {
        "below 5": [True, True, False, False],
        "5 or more": [False, False, True, True],
    }

"""What answers of one class of K are worth, on numbers small enough to check by hand."""

import numpy as np
import pytest

from pipeline.tasks.description.classification import ClassificationNotes
from pipeline.tasks.judging.classification import ClassificationExaminer

EXAMINER = ClassificationExaminer(ClassificationNotes(classes=["cat", "dog", "eel"]))
OUTPUTS = {"logits": np.array([[2, 1, 0], [0, 3, 0], [1, 1, 0], [0, 0, 9]], np.float32)}
TARGETS = {"label": np.array([0, 2, 1, 2])}


def test_a_score_is_one_for_the_right_class_and_of_ties_the_first_class_answers() -> None:
    assert EXAMINER.score(OUTPUTS, TARGETS).tolist() == [1, 0, 0, 1]
    assert EXAMINER.answers(OUTPUTS) == ["cat", "dog", "cat", "eel"]
    assert EXAMINER.truths(TARGETS) == ["cat", "eel", "dog", "eel"]


def test_confidence_is_the_probability_of_the_answer() -> None:
    found = EXAMINER.confidence(OUTPUTS)
    assert found[0] == pytest.approx(np.exp(2) / (np.exp(2) + np.exp(1) + 1))
    assert ((found > 1 / 3) & (found <= 1)).all()


def test_two_models_agree_where_they_name_the_same_class() -> None:
    assert EXAMINER.same(["cat", "dog"], ["cat", "eel"]).tolist() == [1, 0]


def test_the_groups_are_the_classes_in_order() -> None:
    found = EXAMINER.groups(TARGETS)
    assert list(found) == ["cat", "dog", "eel"]
    assert [rows.tolist() for rows in found.values()] == [
        [True, False, False, False],
        [False, False, True, False],
        [False, True, False, True],
    ]

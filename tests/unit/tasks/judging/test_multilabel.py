"""What answers of any of K labels are worth, against scikit-learn and by hand."""

import json

import numpy as np
import pytest
from sklearn.metrics import f1_score

from pipeline.tasks.description.multilabel import MultilabelNotes
from pipeline.tasks.judging.arrays import Outputs, Targets
from pipeline.tasks.judging.multilabel import MultilabelExaminer, logistic

NOTES = MultilabelNotes(classes=["cat", "dög", 'e"l'], thresholds=[0.5, 0.2, 0.9])
EXAMINER = MultilabelExaminer(NOTES)
LOW = -5.0
"""A logit below all thresholds."""
OUTPUTS = {"logits": np.array([[0, 0, 0], [LOW, LOW, LOW], [LOW, -1, 3], [9, LOW, LOW]], np.float32)}
TARGETS = {"label": np.array([[1, 1, 0], [0, 0, 0], [0, 0, 1], [0, 0, 0]], np.uint8)}


def random_answers(seed: int, labels: int = 6, samples: int = 200) -> tuple[Outputs, Targets]:
    """Some samples have no label, and the last label has no sample."""
    generator = np.random.default_rng(seed)
    actual = generator.random((samples, labels)) < 0.2
    actual[:, -1] = False
    logits = generator.normal(size=(samples, labels)) + 2.0 * actual - 1.0
    return {"logits": logits.astype(np.float32)}, {"label": actual.astype(np.uint8)}


def test_a_label_is_given_from_its_threshold_on() -> None:
    assert EXAMINER.given(OUTPUTS).tolist() == [
        [True, True, False],
        [False, False, False],
        [False, True, True],
        [True, False, False],
    ]


def test_a_score_is_the_f1_of_a_set_and_one_if_it_is_rightly_empty() -> None:
    assert EXAMINER.score(OUTPUTS, TARGETS).tolist() == [1, 1, pytest.approx(2 / 3), 0]


@pytest.mark.parametrize("seed", range(5))
def test_the_mean_score_is_scikit_learns(seed: int) -> None:
    outputs, targets = random_answers(seed)
    notes = MultilabelNotes(classes=[*"abcdef"], thresholds=[0.1, 0.3, 0.5, 0.5, 0.7, 0.9])
    answers = logistic(outputs["logits"]) >= np.array(notes.thresholds)
    expected = f1_score(targets["label"], answers, average="samples", zero_division=1)
    assert MultilabelExaminer(notes).score(outputs, targets).mean() == pytest.approx(expected, rel=1e-12)


def test_words_are_lists_of_names_in_order() -> None:
    assert EXAMINER.truths(TARGETS) == ['["cat", "dög"]', "[]", '["e\\"l"]', "[]"]
    assert json.loads(EXAMINER.answers(OUTPUTS)[2]) == ["dög", 'e"l']


def test_two_models_agree_as_far_as_they_share_labels() -> None:
    first, second = ['["a", "b"]', "[]", '["a"]', "[]"], ['["b", "c"]', "[]", '["a"]', '["a"]']
    assert EXAMINER.same(first, second).tolist() == [pytest.approx(1 / 3), 1, 1, 0]


def test_confidence_is_how_sure_a_label_is_on_average() -> None:
    sure = 1 / (1 + np.exp(LOW))
    assert EXAMINER.confidence(OUTPUTS)[:2] == pytest.approx([0.5, sure])


def test_the_groups_are_the_samples_that_have_a_label() -> None:
    found = {name: rows.tolist() for name, rows in EXAMINER.groups(TARGETS).items()}
    assert found == {
        "cat": [True, False, False, False],
        "dög": [True, False, False, False],
        'e"l': [False, False, True, False],
    }


def test_probabilities_do_not_overflow_and_zero_is_the_half() -> None:
    assert logistic(np.array([-1e30, -800, 0, 800, 1e30], np.float32)).tolist() == [0, 0, 0.5, 1, 1]

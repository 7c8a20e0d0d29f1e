"""Metrics against numbers worked out by hand and against scikit-learn."""

import numpy as np
import numpy.typing as npt
import pytest
from sklearn.metrics import confusion_matrix as sklearn_confusion
from sklearn.metrics import precision_recall_fscore_support

from pipeline.tasks.judging.classification import softmax
from pipeline.tasks.reports.classification_metrics import confusion_matrix, per_class, reliability, worst

LABELS = np.array([0, 0, 1, 1, 2, 2, 2, 0])
PREDICTED = np.array([0, 1, 1, 1, 0, 2, 2, 0])


def test_confusion_has_the_actual_class_in_rows() -> None:
    found = confusion_matrix(LABELS, PREDICTED, 3)
    assert found.tolist() == [[2, 1, 0], [0, 2, 0], [1, 0, 2]]
    assert np.array_equal(found, sklearn_confusion(LABELS, PREDICTED))


def test_precision_recall_and_f1_are_scikit_learns() -> None:
    generator = np.random.default_rng(0)
    labels, predicted = generator.integers(0, 7, 200), generator.integers(0, 7, 200)
    found = per_class(confusion_matrix(labels, predicted, 7))
    precision, recall, f1, support = precision_recall_fscore_support(labels, predicted)
    assert np.allclose(found.precision, precision)
    assert np.allclose(found.recall, recall)
    assert np.allclose(found.f1, f1)
    assert np.array_equal(found.support, support)


def test_a_class_that_never_occurs_has_zeros_and_no_support() -> None:
    found = per_class(confusion_matrix(np.array([0, 1]), np.array([0, 1]), 3))
    assert (found.precision[2], found.recall[2], found.f1[2], found.support[2]) == (0, 0, 0, 0)


def test_softmax_of_large_logits() -> None:
    probabilities = softmax(np.array([[1000.0, 1000.0], [-1000.0, 0.0]], np.float32))
    assert probabilities.tolist() == [[0.5, 0.5], [0.0, 1.0]]


def two_classes(confidence: list[float]) -> npt.NDArray[np.float64]:
    """Probabilities of answers "class 0" with these confidences."""
    first = np.array(confidence)
    return np.stack([first, 1 - first], axis=1)


def test_calibration_error_of_an_example_worked_out_by_hand() -> None:
    # Bin (0.5, 0.75]: confidences 0.6 and 0.7, one of two right; bin (0.75, 1]: 0.8, 0.9 and 1.0, all right.
    bins = reliability(two_classes([0.6, 0.7, 0.8, 0.9, 1.0]), np.array([0, 1, 0, 0, 0]), bins=4)
    assert bins.count.tolist() == [0, 0, 2, 3]
    assert bins.accuracy.tolist() == [0, 0, 0.5, 1]
    assert bins.confidence == pytest.approx([0, 0, 0.65, 0.9])
    assert bins.ece == pytest.approx((2 * 0.15 + 3 * 0.1) / 5)
    assert bins.lower.tolist() == [0, 0.25, 0.5, 0.75]


def test_a_confidence_on_the_border_belongs_to_the_bin_below() -> None:
    assert reliability(two_classes([0.75]), np.array([0]), bins=4).count.tolist() == [0, 0, 1, 0]


def test_perfect_calibration_has_no_error() -> None:
    assert reliability(two_classes([1.0, 1.0]), np.array([0, 0]), bins=10).ece == 0


def test_worst_are_the_wrong_answers_most_confident_first() -> None:
    probabilities = two_classes([0.9, 0.6, 0.95, 0.99, 0.95])
    assert worst(probabilities, np.array([1, 1, 1, 0, 1]), 3).tolist() == [2, 4, 0]
    assert worst(probabilities, np.array([0, 0, 0, 0, 0]), 3).tolist() == []

"""Metrics against numbers worked out by hand and against scikit-learn."""

import numpy as np
from sklearn.metrics import confusion_matrix as sklearn_confusion
from sklearn.metrics import precision_recall_fscore_support

from pipeline.tasks.judging.classification import softmax
from pipeline.tasks.reports.by_class import confusion_matrix, per_class

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

"""What answers are worth, by class or by label. Letters: N samples, K classes or labels."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.tasks.judging.arrays import Bools, Floats, Ints


@dataclass(frozen=True)
class PerClass:
    """Arrays (K,); a ratio without a denominator is 0, and support says so."""

    precision: Floats
    recall: Floats
    f1: Floats
    support: Ints

    @classmethod
    def of(cls, hits_K: Ints, given_K: Ints, support_K: Ints) -> "PerClass":
        """Counts of samples: hits are of a class and given it, given are given it, support are of it."""
        hits = hits_K.astype(np.float64)
        return cls(
            precision=ratio(hits, given_K),
            recall=ratio(hits, support_K),
            f1=ratio(2 * hits, support_K + given_K),
            support=support_K,
        )


def confusion_matrix(labels_N: Ints, predicted_N: Ints, num_classes: int) -> Ints:
    """Counts (K, K): row the actual class, column the predicted one."""
    return np.bincount(labels_N * num_classes + predicted_N, minlength=num_classes**2).reshape(
        num_classes, num_classes
    )


def per_class(confusion_KK: Ints) -> PerClass:
    return PerClass.of(np.diag(confusion_KK), confusion_KK.sum(axis=0), confusion_KK.sum(axis=1))


def per_label(given_NK: Bools, actual_NK: Bools) -> PerClass:
    hits_NK = given_NK & actual_NK
    return PerClass.of(*(each_NK.sum(axis=0) for each_NK in (hits_NK, given_NK, actual_NK)))


def average_precisions(logits_NK: npt.NDArray[np.float32], actual_NK: Bools) -> Floats:
    """Average precision of each label, (K,), as scikit-learn's average_precision_score.

    A label that no sample has gets 0.
    """
    pairs = zip(logits_NK.T, actual_NK.T, strict=True)
    return np.array([_average_precision(logits_N, actual_N) for logits_N, actual_N in pairs])


def ratio(numerator: npt.NDArray[Any], denominator: Ints) -> Floats:
    """The ratio of each two, 0 if the denominator is."""
    found: Floats = np.divide(numerator, denominator, out=np.zeros(len(denominator)), where=denominator > 0)
    return found


def _average_precision(logits_N: npt.NDArray[np.float32], actual_N: Bools) -> float:
    """Precision at each threshold, weighted by the recall that it adds; equal logits share a threshold."""
    if not actual_N.any():
        return 0.0
    order = np.argsort(-logits_N, kind="stable")
    last = np.append(np.flatnonzero(np.diff(logits_N[order])), len(order) - 1)
    hits = actual_N[order].cumsum()[last]
    return float((hits / (last + 1) * np.diff(hits, prepend=0)).sum() / hits[-1])

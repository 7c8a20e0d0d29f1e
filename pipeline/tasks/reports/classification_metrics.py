"""What predictions are worth, by class and by confidence. Letters: N samples, K classes, M bins."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.tasks.judging.arrays import Floats, Ints


@dataclass(frozen=True)
class PerClass:
    """Arrays (K,); a ratio without a denominator is 0, and support says so."""

    precision: Floats
    recall: Floats
    f1: Floats
    support: Ints


@dataclass(frozen=True)
class Reliability:
    """Arrays (M,): how often answers of a confidence are right; empty bins hold 0."""

    lower: Floats
    confidence: Floats
    accuracy: Floats
    count: Ints

    @property
    def ece(self) -> float:
        """Expected calibration error: |confidence - accuracy|, weighted by count (arXiv 1706.04599)."""
        return float((np.abs(self.confidence - self.accuracy) * self.count).sum() / self.count.sum())


def confusion_matrix(labels_N: Ints, predicted_N: Ints, num_classes: int) -> Ints:
    """Counts (K, K): row the actual class, column the predicted one."""
    return np.bincount(labels_N * num_classes + predicted_N, minlength=num_classes**2).reshape(
        num_classes, num_classes
    )


def per_class(confusion_KK: Ints) -> PerClass:
    hits = np.diag(confusion_KK).astype(np.float64)
    support, predicted = confusion_KK.sum(axis=1), confusion_KK.sum(axis=0)
    return PerClass(
        precision=_ratio(hits, predicted),
        recall=_ratio(hits, support),
        f1=_ratio(2 * hits, support + predicted),
        support=support,
    )


def reliability(probabilities_NK: Floats, labels_N: Ints, bins: int) -> Reliability:
    """Answers binned by confidence: bin m holds (m/M, (m+1)/M], as Guo et al. do."""
    confidence = probabilities_NK.max(axis=1)
    correct = probabilities_NK.argmax(axis=1) == labels_N
    index = np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)
    count = np.bincount(index, minlength=bins)
    return Reliability(
        lower=np.arange(bins) / bins,
        confidence=_ratio(np.bincount(index, weights=confidence, minlength=bins), count),
        accuracy=_ratio(np.bincount(index, weights=correct, minlength=bins), count),
        count=count,
    )


def worst(probabilities_NK: Floats, labels_N: Ints, count: int) -> Ints:
    """The wrong answers, most confident first, at most `count`; ties by index."""
    wrong = np.flatnonzero(probabilities_NK.argmax(axis=1) != labels_N)
    return wrong[np.argsort(-probabilities_NK[wrong].max(axis=1), kind="stable")][:count]


def _ratio(numerator: npt.NDArray[Any], denominator: Ints) -> Floats:
    ratio: Floats = np.divide(numerator, denominator, out=np.zeros(len(denominator)), where=denominator > 0)
    return ratio

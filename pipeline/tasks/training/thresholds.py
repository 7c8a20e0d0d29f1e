"""Thresholds of labels, chosen on the validation split. Letters: N samples, K labels."""

import numpy as np
import numpy.typing as npt

from pipeline.tasks.description.multilabel import EVEN


def best_thresholds(
    probabilities_NK: npt.NDArray[np.float64], actual_NK: npt.NDArray[np.bool_]
) -> list[float]:
    """Thresholds of the greatest F1 of each label on these answers; EVEN for a label that no sample has.

    Candidates lie in the middle between neighbouring probabilities that occur, and between 0 and the lowest.
    Of equally good ones it is the one nearest to EVEN, of two as near the lower.
    """
    return [
        _best_threshold(probabilities_N, actual_N)
        for probabilities_N, actual_N in zip(probabilities_NK.T, actual_NK.T, strict=True)
    ]


def _best_threshold(probabilities_N: npt.NDArray[np.float64], actual_N: npt.NDArray[np.bool_]) -> float:
    if not actual_N.any():
        return EVEN
    order = probabilities_N.argsort()
    upper, lower = probabilities_N[order], np.append(0.0, probabilities_N[order][:-1])
    middle = lower + (upper - lower) / 2
    candidates = np.where(middle > lower, middle, upper)  # between two neighbouring floats there is no middle
    hits = actual_N[order][::-1].cumsum()[::-1]  # with this one and all above it given
    f1 = 2 * hits / (np.arange(len(order), 0, -1) + actual_N.sum())
    # A probability that occurs twice is given as a whole, so only its first place is a candidate.
    distinct = (upper > lower) | (np.arange(len(order)) == 0)
    best = candidates[distinct & (f1 == f1[distinct].max())]
    return float(best[np.abs(best - EVEN).argmin()])

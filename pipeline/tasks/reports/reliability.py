"""How often answers of a confidence are right, as numbers and as a picture. Letters: N answers, M bins."""

from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

from pipeline.base.files import csv_text
from pipeline.drawing import plain_style, png
from pipeline.tasks.judging.arrays import Bools, Floats, Ints
from pipeline.tasks.reports.by_class import ratio


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

    def csv(self) -> str:
        binned = [each.tolist() for each in (self.lower, self.confidence, self.accuracy, self.count)]
        return csv_text(["lower", "confidence", "accuracy", "count"], zip(*binned, strict=True))


def reliability(confidence_N: Floats, right_N: Bools, bins: int) -> Reliability:
    """Answers binned by confidence: bin m holds (m/M, (m+1)/M], as Guo et al. do."""
    index = np.clip(np.ceil(confidence_N * bins).astype(np.int64) - 1, 0, bins - 1)
    count = np.bincount(index, minlength=bins)
    return Reliability(
        lower=np.arange(bins) / bins,
        confidence=ratio(np.bincount(index, weights=confidence_N, minlength=bins), count),
        accuracy=ratio(np.bincount(index, weights=right_N, minlength=bins), count),
        count=count,
    )


@plain_style()
def draw_reliability(bins: Reliability, counted: str = "images") -> bytes:
    """Accuracy against confidence, with the diagonal of a calibrated model, and how many answers fall in each
    bin.
    """
    width = 1 / len(bins.lower)
    figure = Figure(figsize=(6, 6), layout="tight")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    above.bar(bins.lower, bins.accuracy, width=width, align="edge", edgecolor="black", label="accuracy")
    above.plot([0, 1], [0, 1], linestyle="--", color="grey", label="calibrated")
    above.set(xlim=(0, 1), ylim=(0, 1), ylabel="accuracy", title=f"Reliability (ECE {bins.ece:.4f})")
    above.legend(loc="upper left")
    below.bar(bins.lower, bins.count, width=width, align="edge", edgecolor="black")
    below.set(xlabel="confidence", ylabel=counted)
    return png(figure)

"""Tables and pictures of a classifier's answers: by class, by confidence, and the worst of them.

Letters: N samples, K classes.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.data.fields.field import LABEL
from pipeline.drawing import draw_images, drawable
from pipeline.files import csv_text
from pipeline.tasks.judging.arrays import Ints, Outputs, Targets
from pipeline.tasks.judging.classification import predicted, softmax
from pipeline.tasks.params import LOGITS
from pipeline.tasks.reports.classification_metrics import (
    PerClass,
    Reliability,
    confusion_matrix,
    per_class,
    reliability,
    worst,
)
from pipeline.tasks.reports.classification_pictures import draw_confusion, draw_reliability


@dataclass(frozen=True)
class ClassificationReport:
    """classes: names, in the order of the logits. bins: of confidence, for the calibration error."""

    classes: list[str]
    bins: int

    def metrics(self, outputs: Outputs, targets: Targets) -> dict[str, float]:
        """Calibration error, and the recall of the worst class that has a sample."""
        ratios = self._by_class(outputs, targets)
        seen = ratios.recall[ratios.support > 0]
        return {"ece": self._by_confidence(outputs, targets).ece, "worst_class_recall": float(seen.min())}

    def tables(self, outputs: Outputs, targets: Targets) -> dict[str, str]:
        bins, ratios = self._by_confidence(outputs, targets), self._by_class(outputs, targets)
        binned = [each.tolist() for each in (bins.lower, bins.confidence, bins.accuracy, bins.count)]
        ratio = [each.tolist() for each in (ratios.precision, ratios.recall, ratios.f1, ratios.support)]
        return {
            "reliability.csv": csv_text(
                ["lower", "confidence", "accuracy", "count"], zip(*binned, strict=True)
            ),
            "classes.csv": csv_text(
                ["class", "precision", "recall", "f1", "support"], zip(self.classes, *ratio, strict=True)
            ),
        }

    def pictures(
        self,
        outputs: Outputs,
        targets: Targets,
        images: Callable[[Ints], npt.NDArray[np.uint8]],
        most: int,
    ) -> dict[str, bytes]:
        probabilities_NK, labels_N = softmax(outputs[LOGITS]), targets[LABEL]
        wrong = worst(probabilities_NK, labels_N, most)
        captions = [
            f"{self._name(given)} {sure:.2f}\nis {self._name(actual)}"
            for given, sure, actual in zip(
                predicted(outputs)[wrong], probabilities_NK[wrong].max(axis=1), labels_N[wrong], strict=True
            )
        ]
        title = "Most confidently wrong" if len(wrong) else "No wrong answer"
        return {
            "confusion.png": draw_confusion(self._confusion(outputs, targets), self.classes),
            "reliability.png": draw_reliability(self._by_confidence(outputs, targets)),
            "worst.png": draw_images(title, images(wrong), captions),
        }

    def _confusion(self, outputs: Outputs, targets: Targets) -> Ints:
        return confusion_matrix(targets[LABEL], predicted(outputs), len(self.classes))

    def _by_class(self, outputs: Outputs, targets: Targets) -> PerClass:
        return per_class(self._confusion(outputs, targets))

    def _by_confidence(self, outputs: Outputs, targets: Targets) -> Reliability:
        return reliability(softmax(outputs[LOGITS]), targets[LABEL], self.bins)

    def _name(self, number: int) -> str:
        return drawable(self.classes[number], number)

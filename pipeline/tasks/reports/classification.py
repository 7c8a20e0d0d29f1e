"""Tables and pictures of a classifier's answers: by class, by confidence, and the worst of them.

Letters: N samples, K classes.
"""

from dataclasses import dataclass

import numpy as np

from pipeline.base.files import csv_text
from pipeline.drawing import drawable
from pipeline.tasks.judging.arrays import Bools, Ints, Outputs, Targets
from pipeline.tasks.judging.classification import ClassificationExaminer
from pipeline.tasks.reports.by_class import PerClass, confusion_matrix, per_class
from pipeline.tasks.reports.classification_pictures import draw_confusion
from pipeline.tasks.reports.reliability import Reliability, draw_reliability, reliability
from pipeline.tasks.reports.worst import RowImages, draw_worst, worst


@dataclass(frozen=True)
class ClassificationReport:
    """examiner: of these answers. bins: of confidence, for the calibration error."""

    examiner: ClassificationExaminer
    bins: int

    def metrics(self, outputs: Outputs, targets: Targets) -> dict[str, float]:
        """Calibration error, and the recall of the worst class that has a sample."""
        ratios = self._by_class(outputs, targets)
        seen = ratios.recall[ratios.support > 0]
        return {"ece": self._by_confidence(outputs, targets).ece, "worst_class_recall": float(seen.min())}

    def tables(self, outputs: Outputs, targets: Targets) -> dict[str, str]:
        ratios = self._by_class(outputs, targets)
        columns = [each.tolist() for each in (ratios.precision, ratios.recall, ratios.f1, ratios.support)]
        return {
            "reliability.csv": self._by_confidence(outputs, targets).csv(),
            "classes.csv": csv_text(
                ["class", "precision", "recall", "f1", "support"], zip(self._classes, *columns, strict=True)
            ),
        }

    def pictures(self, outputs: Outputs, targets: Targets, images: RowImages, most: int) -> dict[str, bytes]:
        sure_N, predicted_N = self.examiner.confidence(outputs), self.examiner.predicted(outputs)
        rows = worst(np.where(self._right(outputs, targets), 0.0, sure_N), most)
        given = [f"{self._name(predicted_N[row])} {sure_N[row]:.2f}" for row in rows]
        actual = [self._name(number) for number in self._labels(targets)[rows]]
        return {
            "confusion.png": draw_confusion(self._confusion(outputs, targets), self._classes),
            "reliability.png": draw_reliability(self._by_confidence(outputs, targets)),
            "worst.png": draw_worst("Most confidently wrong", rows, images, given, actual),
        }

    @property
    def _classes(self) -> list[str]:
        return self.examiner.notes.classes

    def _labels(self, targets: Targets) -> Ints:
        return targets[self.examiner.target]

    def _confusion(self, outputs: Outputs, targets: Targets) -> Ints:
        return confusion_matrix(self._labels(targets), self.examiner.predicted(outputs), len(self._classes))

    def _by_class(self, outputs: Outputs, targets: Targets) -> PerClass:
        return per_class(self._confusion(outputs, targets))

    def _by_confidence(self, outputs: Outputs, targets: Targets) -> Reliability:
        return reliability(self.examiner.confidence(outputs), self._right(outputs, targets), self.bins)

    def _right(self, outputs: Outputs, targets: Targets) -> Bools:
        right: Bools = self.examiner.predicted(outputs) == self._labels(targets)
        return right

    def _name(self, number: int) -> str:
        return drawable(self._classes[number], number)

"""Tables and pictures of answers of any of K labels: by label, by confidence, and the worst of them.

Letters: N samples, K labels.
"""

from dataclasses import dataclass

import numpy as np

from pipeline.base.files import csv_text
from pipeline.tasks.judging.arrays import Bools, Floats, Outputs, Targets
from pipeline.tasks.judging.multilabel import MultilabelExaminer
from pipeline.tasks.reports.by_class import PerClass, average_precisions, per_label
from pipeline.tasks.reports.multilabel_pictures import caption, draw_labels
from pipeline.tasks.reports.reliability import Reliability, draw_reliability, reliability
from pipeline.tasks.reports.worst import RowImages, draw_worst, worst

LABEL_COLUMNS = ("class", "threshold", "precision", "recall", "f1", "average_precision", "support")
"""Columns of classes.csv."""


@dataclass(frozen=True)
class MultilabelReport:
    """examiner: of these answers. bins: of confidence, for the calibration error."""

    examiner: MultilabelExaminer
    bins: int

    def metrics(self, outputs: Outputs, targets: Targets) -> dict[str, float]:
        """Mean average precision, calibration error of all decisions, F1 of the worst label.

        Labels that no sample has are left out of the first and the last, which are 0 if that leaves none.
        """
        ratios = self._by_label(outputs, targets)
        seen = ratios.support > 0
        precisions, f1 = self._precisions(outputs, targets)[seen], ratios.f1[seen]
        return {
            "map": float(precisions.mean()) if seen.any() else 0.0,
            "ece": self._by_confidence(outputs, targets).ece,
            "worst_class_f1": float(f1.min(initial=1.0)) if seen.any() else 0.0,
        }

    def tables(self, outputs: Outputs, targets: Targets) -> dict[str, str]:
        ratios, notes = self._by_label(outputs, targets), self.examiner.notes
        columns = (
            ratios.precision,
            ratios.recall,
            ratios.f1,
            self._precisions(outputs, targets),
            ratios.support,
        )
        rows = zip(notes.classes, notes.thresholds, *(each.tolist() for each in columns), strict=True)
        return {
            "reliability.csv": self._by_confidence(outputs, targets).csv(),
            "classes.csv": csv_text(LABEL_COLUMNS, rows),
        }

    def pictures(self, outputs: Outputs, targets: Targets, images: RowImages, most: int) -> dict[str, bytes]:
        rows, classes = worst(1 - self.examiner.score(outputs, targets), most), self.examiner.notes.classes
        given, actual = (
            [caption(np.flatnonzero(labels), classes) for labels in sets_NK[rows]]
            for sets_NK in (self.examiner.given(outputs), self.examiner.actual(targets))
        )
        f1 = self._by_label(outputs, targets).f1
        return {
            "classes.png": draw_labels(self._precisions(outputs, targets), f1, classes),
            "reliability.png": draw_reliability(self._by_confidence(outputs, targets), "labels"),
            "worst.png": draw_worst("Lowest scores", rows, images, given, actual),
        }

    def _by_label(self, outputs: Outputs, targets: Targets) -> PerClass:
        return per_label(self.examiner.given(outputs), self.examiner.actual(targets))

    def _precisions(self, outputs: Outputs, targets: Targets) -> Floats:
        return average_precisions(outputs[self.examiner.output], self.examiner.actual(targets))

    def _by_confidence(self, outputs: Outputs, targets: Targets) -> Reliability:
        """Every label of every sample is a decision, as sure as what was decided is probable."""
        probabilities_NK, given_NK = self.examiner.probabilities(outputs), self.examiner.given(outputs)
        confidence_NK = np.where(given_NK, probabilities_NK, 1 - probabilities_NK)
        right_NK: Bools = given_NK == self.examiner.actual(targets)
        return reliability(confidence_NK.ravel(), right_NK.ravel(), self.bins)

"""What a model answered on the test split, as numbers, tables and pictures. Letters: N samples, K classes."""

from dataclasses import dataclass

import torch

from pipeline.data.prepared.reader import Split
from pipeline.drawing import drawable
from pipeline.evaluate.metrics import (
    FRACTION_DIGITS,
    Floats,
    Ints,
    PerClass,
    Reliability,
    confusion_matrix,
    per_class,
    reliability,
    softmax,
    worst,
)
from pipeline.evaluate.params import EvaluateParams
from pipeline.evaluate.pictures import draw_confusion, draw_images, draw_reliability
from pipeline.export.session import Logits
from pipeline.files import csv_text
from pipeline.tasks.classification.task import LOGITS
from pipeline.tasks.task import Task


@dataclass(frozen=True)
class Answers:
    """The logits (N, K) of the whole test split and what follows from them; confusion is (K, K)."""

    logits: Logits
    predicted: Ints
    confidence: Floats
    test: Split
    classes: list[str]
    confusion: Ints
    bins: Reliability
    wrong: list[int]

    @classmethod
    def of(cls, logits_NK: Logits, test: Split, classes: list[str], params: EvaluateParams) -> "Answers":
        labels_N, probabilities_NK = test.labels.numpy(), softmax(logits_NK)
        predicted_N = logits_NK.argmax(axis=1)
        return cls(
            logits=logits_NK,
            predicted=predicted_N,
            confidence=probabilities_NK.max(axis=1),
            test=test,
            classes=classes,
            confusion=confusion_matrix(labels_N, predicted_N, len(classes)),
            bins=reliability(probabilities_NK, labels_N, params.calibration_bins),
            wrong=worst(probabilities_NK, labels_N, params.worst_images).tolist(),
        )

    @property
    def by_class(self) -> PerClass:
        return per_class(self.confusion)

    def metrics(self, task: Task) -> dict[str, float]:
        """The task's metrics, calibration error, and the recall of the worst class that has a test image."""
        sums = task.sums({LOGITS: torch.from_numpy(self.logits)}, self.test.targets)
        found = task.metrics({name: float(value) for name, value in sums.items()})
        seen = self.by_class.recall[self.by_class.support > 0]
        return found | {"ece": self.bins.ece, "worst_class_recall": float(seen.min())}

    def answers_csv(self) -> str:
        """A row per test image, in the order of the split; `dvc plots` draws a confusion matrix of it."""
        columns = (
            self.test.labels.tolist(),
            self.predicted.tolist(),
            self.confidence.round(FRACTION_DIGITS).tolist(),
        )
        names = self.classes
        rows = (
            [names[actual], names[predicted], sure] for actual, predicted, sure in zip(*columns, strict=True)
        )
        return csv_text(["actual", "predicted", "confidence"], rows)

    def reliability_csv(self) -> str:
        bins = self.bins
        columns = (bins.lower, bins.confidence, bins.accuracy, bins.count)
        return csv_text(
            ["lower", "confidence", "accuracy", "count"],
            zip(*(column.tolist() for column in columns), strict=True),
        )

    def classes_csv(self) -> str:
        ratios = self.by_class
        columns = (ratios.precision, ratios.recall, ratios.f1, ratios.support)
        rows = zip(self.classes, *(column.tolist() for column in columns), strict=True)
        return csv_text(["class", "precision", "recall", "f1", "support"], rows)

    def pictures(self) -> dict[str, bytes]:
        """PNG files by name."""
        images_NCHW = self.test.images(torch.tensor(self.wrong, dtype=torch.int64)).numpy()
        title = "Most confidently wrong" if self.wrong else "No wrong answer"
        return {
            "confusion.png": draw_confusion(self.confusion, self.classes),
            "reliability.png": draw_reliability(self.bins),
            "worst.png": draw_images(title, images_NCHW, [self._caption(row) for row in self.wrong]),
        }

    def _caption(self, row: int) -> str:
        given, actual = (
            drawable(self.classes[number], number)
            for number in (self.predicted[row], int(self.test.labels[row]))
        )
        return f"{given} {self.confidence[row]:.2f}\nis {actual}"

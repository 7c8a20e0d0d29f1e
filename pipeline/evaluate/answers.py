"""What a model answered on the test split, as numbers, tables and pictures. Letters: N samples, K classes."""

import csv
import io
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch

from pipeline.compress.runtime import Logits
from pipeline.data.reader import Split
from pipeline.evaluate.metrics import Ints, PerClass, Reliability, confusion_matrix, per_class, reliability, softmax, worst
from pipeline.evaluate.params import EvaluateParams
from pipeline.evaluate.pictures import draw_confusion, draw_reliability, draw_worst
from pipeline.tasks.task import Task


@dataclass(frozen=True)
class Answers:
    """The logits (N, K) of the whole test split and what follows from them; confusion is (K, K)."""

    logits: Logits
    predicted: Ints
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
        sums = task.sums(torch.from_numpy(self.logits), self.test.labels)
        found = task.metrics({name: float(value) for name, value in sums.items()})
        seen = self.by_class.recall[self.by_class.support > 0]
        return found | {"ece": self.bins.ece, "worst_class_recall": float(seen.min())}

    def confusion_csv(self) -> str:
        """A row per test image, as the confusion template of `dvc plots` wants it."""
        actual, predicted = self.test.labels.tolist(), self.predicted.tolist()
        names = self.classes
        return _csv(["actual", "predicted"], [[names[a], names[p]] for a, p in zip(actual, predicted, strict=True)])

    def reliability_csv(self) -> str:
        bins = self.bins
        columns = (bins.lower, bins.confidence, bins.accuracy, bins.count)
        return _csv(["lower", "confidence", "accuracy", "count"], zip(*(column.tolist() for column in columns), strict=True))

    def classes_csv(self) -> str:
        ratios = self.by_class
        columns = (ratios.precision, ratios.recall, ratios.f1, ratios.support)
        rows = zip(self.classes, *(column.tolist() for column in columns), strict=True)
        return _csv(["class", "precision", "recall", "f1", "support"], rows)

    def pictures(self) -> dict[str, bytes]:
        """PNG files by name."""
        images_NCHW = self.test.images(torch.tensor(self.wrong, dtype=torch.int64)).numpy()
        return {
            "confusion.png": draw_confusion(self.confusion, self.classes),
            "reliability.png": draw_reliability(self.bins),
            "worst.png": draw_worst(images_NCHW, [self._caption(row) for row in self.wrong]),
        }

    def _caption(self, row: int) -> str:
        confidence = softmax(self.logits[row : row + 1]).max()
        return f"{self.classes[self.predicted[row]]} {confidence:.2f}\nis {self.classes[int(self.test.labels[row])]}"


def _csv(header: list[str], rows: Iterable[Iterable[Any]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue()

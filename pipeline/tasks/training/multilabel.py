"""Any of K labels. Letters: B batch, K labels."""

from dataclasses import dataclass
from itertools import product
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, float64

from pipeline.data.fields.field import LABEL
from pipeline.data.prepared.batch import Tensors
from pipeline.data.prepared.manifest import SplitInfo
from pipeline.models.description.spec import TensorSpec
from pipeline.tasks.description.multilabel import MultilabelNotes
from pipeline.tasks.description.params import LOGITS
from pipeline.tasks.training.thresholds import best_thresholds

HEAVIEST = 100.0
"""Most that a row with a rare label counts."""
COUNTS = ("hits", "given", "support")
"""Sums for each label: samples that have it and are given it, that are given it, that have it."""


def positive_weights(train: SplitInfo, target: str) -> Tensor:
    """A weight per label, (K,), for samples that have it: how many lack it for each, from 1 to HEAVIEST."""
    counts_K = torch.tensor(train.counts[target])
    return ((train.rows - counts_K) / counts_K.clamp(min=1)).clamp(1.0, HEAVIEST)


@dataclass(frozen=True)
class Multilabel:
    """Binary cross entropy, the mean over labels; F1 of samples, of labels, and of all answers together."""

    notes: MultilabelNotes
    weights_K: Tensor | None = None
    """What the training loss of a label that is right is multiplied by."""
    target: str = LABEL
    output: str = LOGITS
    tunes: ClassVar[bool] = True

    @property
    def sum_names(self) -> tuple[str, ...]:
        return ("loss", "f1", "count", *(self._name(*each) for each in product(COUNTS, self._numbers)))

    def outputs(self) -> dict[str, TensorSpec]:
        meaning = "a logit for each label, in the order of the class names; its probability is the sigmoid"
        return {self.output: TensorSpec(shape=[len(self.notes.classes)], meaning=meaning)}

    def loss(self, outputs: Tensors, targets: Tensors) -> Tensor:
        return self._losses(outputs, targets, self.weights_K)

    def weights(self, targets: Tensors) -> None:
        return None

    def divergence(self, outputs: Tensors, teacher: Tensors, temperature: float) -> Tensor:
        """Kullback and Leibler's of each label, there or not, their mean times T^2 (Hinton et al. 2015)."""
        student_BK, teacher_BK = (each[self.output].float() / temperature for each in (outputs, teacher))
        there, absent = (
            F.kl_div(F.logsigmoid(student), F.logsigmoid(target), reduction="none", log_target=True)
            for student, target in ((student_BK, teacher_BK), (-student_BK, -teacher_BK))
        )
        return (there + absent).mean(dim=1) * temperature**2

    def sums(self, outputs: Tensors, targets: Tensors) -> dict[str, Tensor]:
        """`loss` is without weights, so that it compares across settings.

        f1: scikit-learn's for samples, 1 if a set is rightly empty.
        """
        actual_BK = targets[self.target].bool()
        # float64, as the judges reckon, so that both give the same labels.
        probabilities_BK = outputs[self.output].to(float64).sigmoid()
        given_BK = probabilities_BK >= probabilities_BK.new_tensor(self.notes.thresholds)
        counts = zip(COUNTS, (actual_BK & given_BK, given_BK, actual_BK), strict=True)
        return {
            "loss": self._losses(outputs, targets, None).to(float64).sum(),
            "f1": _sample_f1(given_BK, actual_BK).sum(),
            "count": probabilities_BK.new_ones(len(actual_BK)).sum(),
        } | {
            self._name(name, number): value
            for name, each_BK in counts
            for number, value in enumerate(each_BK.sum(dim=0).to(float64))
        }

    def metrics(self, sums: dict[str, float]) -> dict[str, float]:
        """f1, the score, is the mean over samples, macro_f1 over labels, micro_f1 of all answers together."""
        hits, given, support = ([sums[self._name(name, k)] for k in self._numbers] for name in COUNTS)
        labels = [_f1(*each) for each in zip(hits, given, support, strict=True)]
        return {
            "loss": sums["loss"] / sums["count"],
            "score": sums["f1"] / sums["count"],
            "f1": sums["f1"] / sums["count"],
            "macro_f1": sum(labels) / len(labels),
            "micro_f1": _f1(sum(hits), sum(given), sum(support)),
        }

    def tuned(self, outputs: Tensors, targets: Tensors) -> MultilabelNotes:
        """The notes with the thresholds that are best for these answers."""
        probabilities_NK = outputs[self.output].to(float64).sigmoid().numpy()
        thresholds = best_thresholds(probabilities_NK, targets[self.target].bool().numpy())
        return self.notes.model_copy(update={"thresholds": thresholds})

    def strata(self, targets: Tensors) -> Tensor | None:
        """None: a sample is of several labels."""
        return None

    @property
    def _numbers(self) -> range:
        return range(len(self.notes.classes))

    @staticmethod
    def _name(count: str, label: int) -> str:
        return f"{count}/{label}"

    def _losses(self, outputs: Tensors, targets: Tensors, weights_K: Tensor | None) -> Tensor:
        """Mean over the labels of each sample, (B,)."""
        return F.binary_cross_entropy_with_logits(
            outputs[self.output].float(),
            targets[self.target].float(),
            reduction="none",
            pos_weight=weights_K,
        ).mean(dim=1)


def _sample_f1(given_BK: Tensor, actual_BK: Tensor) -> Tensor:
    """F1 of each sample's set of labels, (B,), float64; 1 if both are empty."""
    sizes_B = (given_BK.sum(dim=1) + actual_BK.sum(dim=1)).to(float64)
    shared_B = (given_BK & actual_BK).sum(dim=1)
    return torch.where(sizes_B > 0, 2 * shared_B / sizes_B.clamp(min=1), 1.0)


def _f1(hits: float, given: float, support: float) -> float:
    """0 if there is neither an answer nor a positive."""
    return 2 * hits / (given + support) if given + support else 0.0

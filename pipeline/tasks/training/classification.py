"""Single-label classification. Letters: B batch, K classes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, float64

from pipeline.data.fields.field import LABEL
from pipeline.data.prepared.batch import Tensors
from pipeline.models.description.spec import TensorSpec
from pipeline.tasks.description.classification import ClassificationNotes
from pipeline.tasks.description.params import LOGITS

TOP = 5


def balanced_weights(class_counts: Sequence[int]) -> Tensor:
    """A weight per class, (K,), in inverse proportion to its images, whose mean over all images is 1."""
    counts_K = torch.tensor(class_counts)
    return counts_K.sum() / (counts_K.clamp(min=1) * (counts_K > 0).sum())


@dataclass(frozen=True)
class Classification:
    """Cross entropy with label smoothing; top-1, top-5 and loss (negative log likelihood, nats)."""

    notes: ClassificationNotes
    label_smoothing: float
    weights_K: Tensor | None = None
    """What the training loss of an image of each class is multiplied by."""
    target: str = LABEL
    output: str = LOGITS
    tunes: ClassVar[bool] = False
    sum_names: ClassVar[tuple[str, ...]] = ("loss", "top1", "top5", "count")

    def outputs(self) -> dict[str, TensorSpec]:
        meaning = "a logit for each class, in the order of the class names"
        return {self.output: TensorSpec(shape=[len(self.notes.classes)], meaning=meaning)}

    def loss(self, outputs: Tensors, targets: Tensors) -> Tensor:
        labels_B = targets[self.target]
        losses_B = F.cross_entropy(
            outputs[self.output].float(), labels_B, reduction="none", label_smoothing=self.label_smoothing
        )
        return losses_B if self.weights_K is None else losses_B * self.weights_K[labels_B]

    def weights(self, targets: Tensors) -> None:
        return None

    def divergence(self, outputs: Tensors, teacher: Tensors, temperature: float) -> Tensor:
        """Kullback and Leibler's, times T^2 (Hinton et al. 2015, section 2)."""
        student_BK = F.log_softmax(outputs[self.output].float() / temperature, dim=1)
        target_BK = F.log_softmax(teacher[self.output].float() / temperature, dim=1)
        return F.kl_div(student_BK, target_BK, reduction="none", log_target=True).sum(dim=1) * temperature**2

    def sums(self, outputs: Tensors, targets: Tensors) -> dict[str, Tensor]:
        """`loss` is the plain negative log likelihood, unsmoothed, so that it compares across settings."""
        logits_BK, labels_B = outputs[self.output].float(), targets[self.target]
        # Not topk, which breaks ties at will: int8 logits tie, and then an answer is the first class, here as
        # in every argmax.
        top = logits_BK.sort(dim=1, descending=True, stable=True).indices[:, :TOP]
        hits = top == labels_B[:, None]
        return {
            "loss": F.cross_entropy(logits_BK, labels_B, reduction="none").to(float64).sum(),
            "top1": hits[:, 0].sum().to(float64),
            "top5": hits.any(dim=1).sum().to(float64),
            "count": hits[:, 0].new_ones(len(labels_B)).sum().to(float64),
        }

    def metrics(self, sums: dict[str, float]) -> dict[str, float]:
        """`score` is top-1."""
        means = {name: value / sums["count"] for name, value in sums.items() if name != "count"}
        return means | {"score": means["top1"]}

    def tuned(self, outputs: Tensors, targets: Tensors) -> ClassificationNotes:
        """The notes as they are: nothing is chosen."""
        return self.notes

    def strata(self, targets: Tensors) -> Tensor:
        """The classes."""
        return targets[self.target]

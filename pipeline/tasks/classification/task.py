"""Single-label classification."""

from dataclasses import dataclass
from typing import ClassVar

import torch.nn.functional as F
from pydantic import JsonValue
from torch import Tensor, float64

from pipeline.data.prepared.manifest import Manifest
from pipeline.models.description.spec import TensorSpec

TOP = 5


def balanced_weights(counts_K: Tensor) -> Tensor:
    """A weight per class, in inverse proportion to its images, whose mean over all images is 1."""
    return counts_K.sum() / (counts_K.clamp(min=1) * (counts_K > 0).sum())


@dataclass(frozen=True)
class Classification:
    """Cross entropy with label smoothing; top-1, top-5 and loss (negative log likelihood, nats)."""

    label_smoothing: float
    weights_K: Tensor | None = None
    """What the training loss of an image of each class is multiplied by."""
    objective: ClassVar[str] = "top1"
    sum_names: ClassVar[tuple[str, ...]] = ("loss", "top1", "top5", "count")

    def outputs(self, manifest: Manifest) -> dict[str, TensorSpec]:
        meaning = "a logit for each class, in the order of the class names"
        return {"logits": TensorSpec(shape=[len(manifest.classes)], meaning=meaning)}

    def notes(self, manifest: Manifest) -> dict[str, JsonValue]:
        return {"name": "classification", "classes": [*manifest.classes]}

    def loss(self, logits_BK: Tensor, labels_B: Tensor) -> Tensor:
        losses_B = F.cross_entropy(
            logits_BK.float(), labels_B, reduction="none", label_smoothing=self.label_smoothing
        )
        return losses_B if self.weights_K is None else losses_B * self.weights_K.to(losses_B.device)[labels_B]

    def sums(self, logits_BK: Tensor, labels_B: Tensor) -> dict[str, Tensor]:
        """`loss` is the plain negative log likelihood, without smoothing, so that it compares across
        settings.
        """
        logits_BK = logits_BK.float()
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
        return {name: value / sums["count"] for name, value in sums.items() if name != "count"}

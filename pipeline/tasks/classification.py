"""Single-label classification."""

from dataclasses import dataclass
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor, float64

TOP = 5


@dataclass(frozen=True)
class Classification:
    """Cross entropy with label smoothing; top-1, top-5 and loss (negative log likelihood, nats)."""

    label_smoothing: float
    objective: ClassVar[str] = "top1"
    sum_names: ClassVar[tuple[str, ...]] = ("loss", "top1", "top5", "count")

    def loss(self, logits_BK: Tensor, labels_B: Tensor) -> Tensor:
        return F.cross_entropy(logits_BK.float(), labels_B, reduction="none", label_smoothing=self.label_smoothing)

    def sums(self, logits_BK: Tensor, labels_B: Tensor) -> dict[str, Tensor]:
        """`loss` is the plain negative log likelihood, without smoothing, so that it compares across settings."""
        logits_BK = logits_BK.float()
        top = logits_BK.topk(min(TOP, logits_BK.shape[1]), dim=1).indices
        hits = top == labels_B[:, None]
        return {
            "loss": F.cross_entropy(logits_BK, labels_B, reduction="none").to(float64).sum(),
            "top1": hits[:, 0].sum().to(float64),
            "top5": hits.any(dim=1).sum().to(float64),
            "count": hits[:, 0].new_ones(len(labels_B)).sum().to(float64),
        }

    def metrics(self, sums: dict[str, float]) -> dict[str, float]:
        return {name: value / sums["count"] for name, value in sums.items() if name != "count"}

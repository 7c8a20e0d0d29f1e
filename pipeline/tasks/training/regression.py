"""A number. Letter: B batch."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch.nn.functional as F
from torch import Tensor, float64

from pipeline.data.fields.field import LABEL
from pipeline.data.prepared.batch import Tensors
from pipeline.models.description.spec import TensorSpec
from pipeline.tasks.description.params import VALUE
from pipeline.tasks.description.regression import RegressionNotes

LOSSES: dict[str, Callable[..., Tensor]] = {
    "squared": F.mse_loss,
    "absolute": F.l1_loss,
    "huber": F.huber_loss,
}
NO_SPREAD = 1e-10
"""Share of the sum of squares below which a spread of numbers that were added up is none."""


@dataclass(frozen=True)
class Regression:
    """Loss of an error in standard deviations of the training split; errors in the target's own unit."""

    notes: RegressionNotes
    kind: Literal["squared", "absolute", "huber"]
    target: str = LABEL
    output: str = VALUE
    tunes: ClassVar[bool] = False
    sum_names: ClassVar[tuple[str, ...]] = (
        "loss",
        "score",
        "absolute",
        "squares",
        "shift",
        "shift_squares",
        "count",
    )

    def outputs(self) -> dict[str, TensorSpec]:
        """A number for each sample."""
        mean, std = self.notes.mean, self.notes.std
        meaning = f"standard deviations from the mean of training; the number is value * {std!r} + {mean!r}"
        return {self.output: TensorSpec(shape=[1], meaning=meaning)}

    def loss(self, outputs: Tensors, targets: Tensors) -> Tensor:
        actual_B = (targets[self.target] - self.notes.mean) / self.notes.std
        return LOSSES[self.kind](outputs[self.output][:, 0].float(), actual_B.float(), reduction="none")

    def weights(self, targets: Tensors) -> None:
        return None

    def divergence(self, outputs: Tensors, teacher: Tensors, temperature: float) -> Tensor:
        """Squared difference in standard deviations; a number has no temperature."""
        return (outputs[self.output].float() - teacher[self.output].float())[:, 0] ** 2

    def sums(self, outputs: Tensors, targets: Tensors) -> dict[str, Tensor]:
        """shift: of the right numbers from the mean of training, so that their squares do not cancel."""
        shift_B = targets[self.target].to(float64) - self.notes.mean
        errors_B = outputs[self.output][:, 0].to(float64) * self.notes.std - shift_B
        share_B = errors_B.abs() / (self.notes.high - self.notes.low)
        return {
            "loss": self.loss(outputs, targets).to(float64).sum(),
            "score": (1 - share_B).clamp(min=0).sum(),
            "absolute": errors_B.abs().sum(),
            "squares": (errors_B**2).sum(),
            "shift": shift_B.sum(),
            "shift_squares": (shift_B**2).sum(),
            "count": shift_B.new_ones(len(shift_B)).sum(),
        }

    def metrics(self, sums: dict[str, float]) -> dict[str, float]:
        """mae and rmse are in the target's unit; r2 is 0 if all right numbers are equal."""
        count = sums["count"]
        spread = sums["shift_squares"] - sums["shift"] ** 2 / count
        constant = spread <= NO_SPREAD * sums["shift_squares"]
        return {
            "loss": sums["loss"] / count,
            "score": sums["score"] / count,
            "mae": sums["absolute"] / count,
            "rmse": math.sqrt(sums["squares"] / count),
            "r2": 0.0 if constant else 1 - sums["squares"] / spread,
        }

    def tuned(self, outputs: Tensors, targets: Tensors) -> RegressionNotes:
        """The notes as they are: nothing is chosen."""
        return self.notes

    def strata(self, targets: Tensors) -> Tensor | None:
        """None: numbers have no kinds."""
        return None

"""What training and evaluation ask of a kind of problem.

Metrics cross ranks as sums (numerators and counts) and are divided once, so that the result does not
depend on how samples were cut into batches or ranks.
"""

from typing import ClassVar, Protocol

from pydantic import JsonValue
from torch import Tensor

from pipeline.data.prepared.manifest import Manifest
from pipeline.models.description.spec import TensorSpec
from pipeline.tasks.classification.task import Classification, balanced_weights
from pipeline.tasks.params import TaskParams


class Task(Protocol):
    """Loss and metrics; letters: B batch, K classes."""

    objective: ClassVar[str]
    """The metric that says which weights are best; higher is better."""
    sum_names: ClassVar[tuple[str, ...]]
    """What `sums` gives, in a fixed order."""

    def outputs(self, manifest: Manifest) -> dict[str, TensorSpec]:
        """What a network for these data gives, by name."""

    def notes(self, manifest: Manifest) -> dict[str, JsonValue]:
        """What model.json keeps for who reads the outputs."""

    def loss(self, logits_BK: Tensor, labels_B: Tensor) -> Tensor:
        """Training loss of each sample, shape (B,)."""

    def sums(self, logits_BK: Tensor, labels_B: Tensor) -> dict[str, Tensor]:
        """Numerators and the `count` of a batch, scalars, float64."""

    def metrics(self, sums: dict[str, float]) -> dict[str, float]:
        """Metrics from sums over any number of batches and ranks."""


def make_task(params: TaskParams, counts_K: Tensor | None = None) -> Task:
    """counts_K: images of each class in the training split; without them the loss has no class weights."""
    balanced = params.class_weights == "balanced" and counts_K is not None
    return Classification(params.label_smoothing, balanced_weights(counts_K) if balanced else None)  # type: ignore[arg-type]

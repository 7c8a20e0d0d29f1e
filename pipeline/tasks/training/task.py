"""What training, pruning and evaluation ask of a kind of problem.

Metrics cross ranks as sums (numerators and counts) and are divided once, so that the result does not
depend on how samples were cut into batches or ranks.
"""

from typing import ClassVar, Protocol

from pydantic import JsonValue
from torch import Tensor

from pipeline.data.prepared.batch import Tensors
from pipeline.data.prepared.manifest import Manifest
from pipeline.models.description.spec import TensorSpec
from pipeline.tasks.params import TaskParams
from pipeline.tasks.training.classification import Classification, balanced_weights


class Task(Protocol):
    """Outputs, loss and metrics. outputs and targets: tensors by name; letter: B batch."""

    objective: ClassVar[str]
    """The metric that says which weights are best; higher is better."""
    sum_names: ClassVar[tuple[str, ...]]
    """What `sums` gives, in a fixed order."""

    def outputs(self, manifest: Manifest) -> dict[str, TensorSpec]:
        """What a network for these data gives, by name."""

    def notes(self, manifest: Manifest) -> dict[str, JsonValue]:
        """What model.json keeps for who reads the outputs."""

    def loss(self, outputs: Tensors, targets: Tensors) -> Tensor:
        """Training loss of each sample, (B,); of one with several places the sum over them."""

    def weights(self, targets: Tensors) -> Tensor | None:
        """What each sample counts in the mean of a global batch, (B,), for example its valid pixels.

        None if each counts 1. Of the targets alone, because all ranks must know the sum before the first part
        of a batch goes backward.
        """

    def divergence(self, outputs: Tensors, teacher: Tensors, temperature: float) -> Tensor:
        """How far the answers to each sample are from the teacher's, (B,), in the unit of the loss."""

    def sums(self, outputs: Tensors, targets: Tensors) -> dict[str, Tensor]:
        """Numerators and the `count` of a batch, scalars, float64."""

    def metrics(self, sums: dict[str, float]) -> dict[str, float]:
        """Metrics from sums over any number of batches and ranks, `loss` among them."""

    def strata(self, targets: Tensors) -> Tensor | None:
        """A number for each sample, equal for samples of one kind, by which sampling is balanced; None
        without kinds.
        """


def make_task(params: TaskParams, manifest: Manifest | None = None, device: str = "cpu") -> Task:
    """manifest: of the training data; without it the loss has no class weights. device: of the training."""
    if params.class_weights == "none" or manifest is None:
        return Classification(params.label_smoothing)
    weights_K = balanced_weights(manifest.splits["train"].class_counts).to(device)
    return Classification(params.label_smoothing, weights_K)

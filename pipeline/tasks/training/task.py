"""What training, pruning and evaluation ask of a kind of problem.

Metrics cross ranks as sums (numerators and counts) and are divided once, so that the result does not
depend on how samples were cut into batches or ranks.
"""

from typing import Protocol

from torch import Tensor

from pipeline.data.prepared.batch import Tensors
from pipeline.data.prepared.manifest import SplitInfo
from pipeline.models.description.spec import TensorSpec
from pipeline.tasks.description.heads import HeadsNotes, HeadsParams
from pipeline.tasks.description.params import TaskNotes, TaskParams
from pipeline.tasks.training.heads import Heads, head_tasks, one_task


class Task(Protocol):
    """Outputs, loss and metrics. outputs and targets: tensors by name; letter: B batch."""

    @property
    def sum_names(self) -> tuple[str, ...]:
        """What `sums` gives, in a fixed order."""

    def outputs(self) -> dict[str, TensorSpec]:
        """What a network for this task gives, by name."""

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
        """Numerators and counts of a batch, scalars, float64."""

    def metrics(self, sums: dict[str, float]) -> dict[str, float]:
        """Metrics from sums over any number of batches and ranks.

        Among them are `loss` and `score`, in 0..1 and higher for better, which says which weights are best.
        """

    @property
    def tunes(self) -> bool:
        """Whether `tuned` chooses anything."""

    def tuned(self, outputs: Tensors, targets: Tensors) -> TaskNotes:
        """The notes with what is chosen on all answers to the validation split: thresholds, for example."""

    def strata(self, targets: Tensors) -> Tensor | None:
        """A number for each sample, equal for samples of one kind, by which sampling is balanced; None
        without kinds.
        """


def make_task(
    params: TaskParams, notes: TaskNotes, train: SplitInfo | None = None, device: str = "cpu"
) -> Task:
    """params, notes: of the same kind of problem. train: the split trained on; without it the loss has no
    class weights. device: of the training.
    """
    if isinstance(params.root, HeadsParams):
        assert isinstance(notes, HeadsNotes), f"heads for notes of {notes.name}"
        return Heads(notes, head_tasks(params.root, notes, train, device))
    assert not isinstance(notes, HeadsNotes), f"a task of {params.root.name} for notes of heads"
    return one_task(params.root, notes, train, device)

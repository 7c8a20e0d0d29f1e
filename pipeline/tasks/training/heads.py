"""Several problems at once, for one network. Letter: B batch."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeAlias

import torch
from torch import Tensor

from pipeline.data.fields.field import LABEL
from pipeline.data.prepared.batch import Tensors
from pipeline.data.prepared.manifest import SplitInfo
from pipeline.models.description.spec import TensorSpec
from pipeline.tasks.description.classification import ClassificationNotes, ClassificationParams
from pipeline.tasks.description.heads import HeadsNotes, HeadsParams, OneNotes, OneParams
from pipeline.tasks.description.multilabel import MultilabelNotes, MultilabelParams
from pipeline.tasks.description.regression import RegressionNotes, RegressionParams
from pipeline.tasks.training.classification import Classification, balanced_weights
from pipeline.tasks.training.multilabel import Multilabel, positive_weights
from pipeline.tasks.training.regression import Regression

OneTask: TypeAlias = Classification | Multilabel | Regression
"""Task of one problem, that stands alone or is a head."""


def one_task(
    params: OneParams, notes: OneNotes, train: SplitInfo | None, device: str, target: str = LABEL
) -> OneTask:
    """Task of a problem that stands alone. train, device: as in make_task()."""
    match params, notes:
        case ClassificationParams(), ClassificationNotes():
            balanced = train if params.class_weights == "balanced" else None
            weights_K = None if balanced is None else balanced_weights(balanced.counts[target]).to(device)
            return Classification(notes, params.label_smoothing, weights_K)
        case MultilabelParams(), MultilabelNotes():
            balanced = train if params.class_weights == "balanced" else None
            weights_K = None if balanced is None else positive_weights(balanced, target).to(device)
            return Multilabel(notes, weights_K)
        case RegressionParams(), RegressionNotes():
            return Regression(notes, params.loss)
    raise AssertionError(f"a task of {params.name} for notes of {notes.name}")


def head_tasks(
    params: HeadsParams, notes: HeadsNotes, train: SplitInfo | None, device: str
) -> dict[str, OneTask]:
    """Tasks by head, which is also the name of its target and of its output."""
    return {
        name: replace(
            one_task(params.heads[name].task, head.task, train, device, name), target=name, output=name
        )
        for name, head in notes.heads.items()
    }


@dataclass(frozen=True)
class Heads:
    """The sum of the heads' losses times their weights; the score is the mean of theirs by weight."""

    notes: HeadsNotes
    tasks: dict[str, OneTask]

    @property
    def tunes(self) -> bool:
        return any(task.tunes for task in self.tasks.values())

    @property
    def sum_names(self) -> tuple[str, ...]:
        return tuple(f"{head}/{name}" for head, task in self.tasks.items() for name in task.sum_names)

    def outputs(self) -> dict[str, TensorSpec]:
        return {name: spec for task in self.tasks.values() for name, spec in task.outputs().items()}

    def loss(self, outputs: Tensors, targets: Tensors) -> Tensor:
        return self._weighted(lambda task: task.loss(outputs, targets))

    def weights(self, targets: Tensors) -> None:
        return None

    def divergence(self, outputs: Tensors, teacher: Tensors, temperature: float) -> Tensor:
        return self._weighted(lambda task: task.divergence(outputs, teacher, temperature))

    def sums(self, outputs: Tensors, targets: Tensors) -> dict[str, Tensor]:
        """The sums of every head, as "head/name"."""
        return {
            f"{head}/{name}": value
            for head, task in self.tasks.items()
            for name, value in task.sums(outputs, targets).items()
        }

    def metrics(self, sums: dict[str, float]) -> dict[str, float]:
        """loss, score, and the metrics of every head, as "head/name"."""
        found = {
            head: task.metrics({name: sums[f"{head}/{name}"] for name in task.sum_names})
            for head, task in self.tasks.items()
        }
        weights = {head: self.notes.heads[head].weight for head in found}
        scores = {head: metrics["score"] for head, metrics in found.items()}
        return {
            "loss": sum(weights[head] * metrics["loss"] for head, metrics in found.items()),
            "score": sum(weights[head] * score for head, score in scores.items()) / sum(weights.values()),
        } | {f"{head}/{name}": value for head, metrics in found.items() for name, value in metrics.items()}

    def tuned(self, outputs: Tensors, targets: Tensors) -> HeadsNotes:
        """The notes with what each head has to choose."""
        return HeadsNotes(
            heads={
                name: head.model_copy(update={"task": self.tasks[name].tuned(outputs, targets)})
                for name, head in self.notes.heads.items()
            }
        )

    def strata(self, targets: Tensors) -> Tensor | None:
        """The strata of the first head that has any."""
        found = (task.strata(targets) for task in self.tasks.values())
        return next((strata for strata in found if strata is not None), None)

    def _weighted(self, each: Callable[[OneTask], Tensor]) -> Tensor:
        """Sum over the heads, times their weights, (B,)."""
        return torch.stack(
            [self.notes.heads[head].weight * each(task) for head, task in self.tasks.items()]
        ).sum(dim=0)

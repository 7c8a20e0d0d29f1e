"""One optimizer step: tensors in, tensors out. No clock, file, rank or logger.

Letter: B batch.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.amp import GradScaler
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer

from pipeline.data.prepared.batch import Batch, Tensors
from pipeline.models.description.spec import TensorSpec
from pipeline.models.nets.outputs import named
from pipeline.tasks.training.task import Task
from pipeline.train.methods.distillation import transfer
from pipeline.train.params import DistilParams


class Teacher(NamedTuple):
    """model: gives, as the student does, the numbers of its last layer and maps."""

    model: nn.Module
    params: DistilParams


class Recipe(NamedTuple):
    """What a step needs beside tensors.

    outputs: of the network, and of the teacher. autocast: a fresh context each time it is called. penalize:
    adds to gradients.
    """

    task: Task
    outputs: Mapping[str, TensorSpec]
    autocast: Callable[[], AbstractContextManager[object]]
    teacher: Teacher | None
    penalize: Callable[[], None] | None
    grad_clip: float | None


def train_step(
    net: nn.Module,
    optimizer: Optimizer,
    scaler: GradScaler,
    parts: Sequence[Batch],
    recipe: Recipe,
    scale: float | Tensor,
) -> Tensor:
    """Accumulate gradients over `parts`, then update the weights.

    net: gives the numbers of its last layer and the maps to be compared with the teacher's (distillation.py).
    scale: what the sum of sample losses is multiplied by before the backward pass; with DDP, which
    averages over ranks, world_size / summed weight of the global batch makes it the mean over that.
    Returns the sum of this rank's sample losses, a scalar.
    """
    total = torch.zeros((), device=next(iter(parts[0].inputs.values())).device)
    for index, batch in enumerate(parts):
        with _sync_gradients(net, last=index == len(parts) - 1):
            total += backward(net, scaler, batch, recipe, scale)
    update(net, optimizer, scaler, recipe)
    optimizer.zero_grad(set_to_none=False)
    return total


def backward(
    net: nn.Module, scaler: GradScaler, batch: Batch, recipe: Recipe, scale: float | Tensor
) -> Tensor:
    """Add the gradients of scale x the sum of the sample losses; returns that sum, a scalar, unscaled."""
    with recipe.autocast():
        numbers_BK, maps = net(*batch.inputs.values())
        taught = _teach(recipe.teacher, batch.inputs)
    outputs = named(numbers_BK, recipe.outputs)
    losses_B = recipe.task.loss(outputs, batch.targets)
    if batch.others is not None and batch.share is not None:
        losses_B = torch.lerp(recipe.task.loss(outputs, batch.others), losses_B, batch.share)
    if recipe.teacher is not None and taught is not None:
        params, (teacher_BK, teacher_maps) = recipe.teacher.params, taught
        told = named(teacher_BK, recipe.outputs)
        divergence_B = recipe.task.divergence(outputs, told, params.temperature)
        losses_B = (1.0 - params.weight) * losses_B + params.weight * divergence_B
        if params.features is not None:
            losses_B = losses_B + params.features.weight * transfer(maps, teacher_maps, params.features)
    scaler.scale(losses_B.sum() * scale).backward()  # type: ignore[no-untyped-call]
    return losses_B.detach().sum()


def update(net: nn.Module, optimizer: Optimizer, scaler: GradScaler, recipe: Recipe) -> None:
    """One step of the optimizer with the gradients that are there."""
    if recipe.penalize or recipe.grad_clip is not None:
        scaler.unscale_(optimizer)
    if recipe.penalize:
        recipe.penalize()
    if recipe.grad_clip is not None:
        nn.utils.clip_grad_norm_(net.parameters(), recipe.grad_clip)
    scaler.step(optimizer)
    scaler.update()


def _teach(teacher: Teacher | None, inputs: Tensors) -> tuple[Tensor, list[Tensor]] | None:
    """The numbers of the teacher's last layer, (B,K), and its maps."""
    if teacher is None:
        return None
    with torch.no_grad():
        found: tuple[Tensor, list[Tensor]] = teacher.model(*inputs.values())
    return found


def _sync_gradients(net: nn.Module, *, last: bool) -> AbstractContextManager[object]:
    """DDP sums gradients over ranks in the last part's backward pass only."""
    if isinstance(net, DistributedDataParallel) and not last:
        return net.no_sync()
    return nullcontext()

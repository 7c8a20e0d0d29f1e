"""One optimizer step: tensors in, tensors out. No clock, file, rank or logger.

Letters: B batch, C channels, H height, W width, K classes.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.amp import GradScaler
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer

from pipeline.train.methods.distillation import transfer
from pipeline.train.params import DistilParams

LossFunction = Callable[[Tensor, Tensor], Tensor]
"""Per-sample losses (B,) from logits (B,K) and labels (B,)."""


class Batch(NamedTuple):
    """other_B, share_B: for mixed images, the partners' labels and the share of the loss that the image's own
    label has.
    """

    images_BCHW: Tensor
    labels_B: Tensor
    other_B: Tensor | None = None
    share_B: Tensor | None = None

    def part(self, rows: Tensor) -> "Batch":
        return Batch(*(None if tensor is None else tensor[rows] for tensor in self))  # type: ignore[arg-type]


class Teacher(NamedTuple):
    """model: gives, as the student does, logits and maps."""

    model: nn.Module
    params: DistilParams


class Recipe(NamedTuple):
    """What a step needs beside tensors.

    autocast: a fresh context each time it is called. penalize: adds to gradients.
    """

    loss: LossFunction
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
    scale: float,
) -> Tensor:
    """Accumulate gradients over `parts`, then update the weights.

    net: gives logits (B,K) and the maps to be compared with the teacher's (features.py).
    scale: what the sum of sample losses is multiplied by before the backward pass; with DDP, which
    averages over ranks, world_size / global batch size makes it the mean over the global batch.
    Returns the sum of this rank's sample losses, a scalar.
    """
    total = torch.zeros((), device=parts[0].images_BCHW.device)
    for index, batch in enumerate(parts):
        with _sync_gradients(net, last=index == len(parts) - 1):
            total += backward(net, scaler, batch, recipe, scale)
    update(net, optimizer, scaler, recipe)
    optimizer.zero_grad(set_to_none=False)
    return total


def backward(net: nn.Module, scaler: GradScaler, batch: Batch, recipe: Recipe, scale: float) -> Tensor:
    """Add the gradients of scale x the sum of the sample losses; returns that sum, without
    scale, a scalar.
    """
    with recipe.autocast():
        logits_BK, maps = net(batch.images_BCHW)
        taught = _teach(recipe.teacher, batch.images_BCHW)
    losses_B = recipe.loss(logits_BK, batch.labels_B)
    if batch.other_B is not None and batch.share_B is not None:
        losses_B = torch.lerp(recipe.loss(logits_BK, batch.other_B), losses_B, batch.share_B)
    if recipe.teacher is not None and taught is not None:
        params, (soft_BK, soft_maps) = recipe.teacher.params, taught
        losses_B = distil(losses_B, logits_BK, soft_BK, params)
        if params.features is not None:
            losses_B = losses_B + params.features.weight * transfer(maps, soft_maps, params.features)
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


def distil(losses_B: Tensor, logits_BK: Tensor, teacher_BK: Tensor, params: DistilParams) -> Tensor:
    """Mix sample losses with the divergence from the teacher, scaled by T^2 (Hinton et al. 2015,
    section 2).
    """
    temperature = params.temperature
    student = F.log_softmax(logits_BK.float() / temperature, dim=1)
    target = F.log_softmax(teacher_BK.float() / temperature, dim=1)
    divergence_B = F.kl_div(student, target, reduction="none", log_target=True).sum(dim=1) * temperature**2
    return (1.0 - params.weight) * losses_B + params.weight * divergence_B


def _teach(teacher: Teacher | None, images_BCHW: Tensor) -> tuple[Tensor, list[Tensor]] | None:
    """The teacher's logits (B,K) and maps."""
    if teacher is None:
        return None
    with torch.no_grad():
        found: tuple[Tensor, list[Tensor]] = teacher.model(images_BCHW)
    return found


def _sync_gradients(net: nn.Module, *, last: bool) -> AbstractContextManager[object]:
    """DDP sums gradients over ranks in the last part's backward pass only."""
    if isinstance(net, DistributedDataParallel) and not last:
        return net.no_sync()
    return nullcontext()

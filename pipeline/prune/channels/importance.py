"""What each channel of a group is worth: the lower, the sooner it goes.

A channel is worth the sum over all weights w that go with it (Fang et al. 2023, arXiv 2301.12900), each worth

    l1        |w|
    l2        w^2
    bn_scale  |w| in batch norms, nothing elsewhere (Liu et al. 2017, arXiv 1708.06519)
    taylor    |w * dL/dw|, first order in the loss L (Molchanov et al. 2019, arXiv 1906.10771)
    hessian   w^2 * h, second order: h is the sum over images of (dL/dw)^2, the diagonal of the
              empirical Fisher matrix
              (optimal brain damage, LeCun et al. 1989; Theis et al. 2018, arXiv 1801.05787)

taylor and hessian estimate what the loss would rise by. That compares channels of any two layers, so they are
divided by what the channel takes of the cost that is to fall, and what goes first is what costs much for
little (a knapsack filled by value per weight: Shen et al. 2021, arXiv 2110.10811). Sizes of weights differ
from layer to layer for other reasons: l1, l2 and bn_scale are divided by their mean in the group; lamp
divides what l2 gives by the sum of itself and all that is larger in the group (Lee et al. 2021, arXiv
2010.07611, with channels in the place of weights). random is the baseline that the others must beat.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn

from pipeline.data.prepared.reader import Split
from pipeline.errors import CompressionError
from pipeline.models.channels.groups import ChannelGroup, position_sums
from pipeline.models.description.spec import ModelSpec
from pipeline.models.nets.outputs import answer
from pipeline.prune.channels.sample import sample
from pipeline.prune.params import Importance, ShapeParams
from pipeline.tasks.training.task import Task

IN_LOSS: tuple[Importance, ...] = ("taylor", "hessian")
"""Importances in the unit of the loss."""


def element_importance(
    model: nn.Module, spec: ModelSpec, train: Split, params: ShapeParams, task: Task
) -> dict[str, Tensor]:
    """What each element of each weight is worth, by the name of its module. The model is left in eval mode.

    train: where the images for taylor and hessian come from.
    """
    kinds = (nn.BatchNorm1d, nn.BatchNorm2d) if params.importance == "bn_scale" else (nn.Module,)
    weights = _weights(model, kinds)
    match params.importance:
        case "taylor":
            first = _summed(_gradients(weights, _losses(model, spec, train, params, task, params.batch_size)))
            return {name: (weight * first[name]).abs() for name, weight in weights.items()}
        case "hessian":
            # One image at a time: the square of a sum of gradients is not the sum of their squares.
            gradients = _gradients(weights, _losses(model, spec, train, params, task, 1))
            second = _summed(
                {name: gradient.square() for name, gradient in found.items()} for found in gradients
            )
            return {name: weight.square() * second[name] for name, weight in weights.items()}
        case "l1" | "bn_scale":
            return {name: weight.abs() for name, weight in weights.items()}
        case "l2" | "lamp" | "random":
            return {name: weight.square() for name, weight in weights.items()}


@torch.no_grad()
def score_groups(
    model: nn.Module,
    groups: Sequence[ChannelGroup],
    importances: Mapping[str, Tensor],
    importance: Importance,
    seed: int,
    cost_per_channel: Callable[[ChannelGroup], float],
) -> tuple[list[ChannelGroup], list[Tensor]]:
    """The groups that have a score, and one score per channel, comparable between groups.

    importances: as element_importance() gives them. seed: of importance random. cost_per_channel: what a
    channel of a group takes of the cost that is to fall, which counts for importances in the unit of the
    loss. A group without batch norm has no bn_scale and keeps its channels. Raises CompressionError if no
    group has a score, or one has a score that is not finite.
    """
    scored = [group for group in groups if any(member.module in importances for member in group.members)]
    if not scored:
        raise CompressionError(
            f"no layer of this network can be pruned by importance {importance!r}; choose prune.importance "
            "l2, or ignore fewer layers"
        )
    if importance == "random":
        generator = torch.Generator().manual_seed(seed)
        return scored, [torch.rand(group.channels, generator=generator) for group in scored]
    sums = [_channel_sums(model, group, importances, importance) for group in scored]
    if importance in IN_LOSS:
        return scored, [worth / cost_per_channel(group) for group, worth in zip(scored, sums, strict=True)]
    return scored, [_lamp(worth) if importance == "lamp" else _by_mean(worth) for worth in sums]


def score_weights(importances: Mapping[str, Tensor], importance: Importance, seed: int) -> dict[str, Tensor]:
    """One score per weight, comparable between layers; arguments as of score_groups(), without bn_scale."""
    if importance == "random":
        generator = torch.Generator().manual_seed(seed)
        return {name: torch.rand(worth.shape, generator=generator) for name, worth in importances.items()}
    if importance == "lamp":
        return {name: _lamp(worth.flatten()).view(worth.shape) for name, worth in importances.items()}
    return dict(importances)


def _channel_sums(
    model: nn.Module, group: ChannelGroup, importances: Mapping[str, Tensor], importance: Importance
) -> Tensor:
    total = torch.zeros(group.channels)
    for member in group.members:
        if member.module in importances:
            sums = position_sums(model.get_submodule(member.module), member.side, importances[member.module])
            total.index_add_(0, member.channels, sums[member.positions])
    if not total.isfinite().all():
        raise CompressionError(
            f"importance {importance!r} has no finite score for each channel of {group.root!r}; "
            f"choose another prune.importance, or add the module to prune.ignored"
        )
    return total


def _by_mean(scores: Tensor) -> Tensor:
    """All zero (a last batch norm that never left its zero start) is worth nothing, so it goes first."""
    return scores / scores.mean() if scores.any() else scores


def _lamp(scores: Tensor) -> Tensor:
    """Share of each score in itself and all larger ones: the largest has 1, so no group is emptied first."""
    falling, order = scores.sort(descending=True, stable=True)
    larger = falling.cumsum(0).clamp_min(torch.finfo(scores.dtype).tiny)  # all zero: worth nothing
    return torch.zeros_like(scores).scatter_(0, order, falling / larger)


def _weights(model: nn.Module, kinds: tuple[type[nn.Module], ...]) -> dict[str, nn.Parameter]:
    modules = {name: module for name, module in model.named_modules() if isinstance(module, kinds)}
    return {
        name: weight
        for name, module in modules.items()
        if isinstance(weight := getattr(module, "weight", None), nn.Parameter)
    }


def _losses(
    model: nn.Module, spec: ModelSpec, train: Split, params: ShapeParams, task: Task, size: int
) -> Iterator[Tensor]:
    """The summed loss of each batch of `size` images, from a few training images.

    Batch norms use their running statistics, so that nothing depends on the cut into batches.
    """
    model.eval()
    for batch in sample(spec, train, params, size):
        yield task.loss(answer(model, batch.inputs, spec.outputs), batch.targets).sum()


def _gradients(weights: Mapping[str, Tensor], losses: Iterator[Tensor]) -> Iterator[dict[str, Tensor]]:
    for loss in losses:
        found = torch.autograd.grad(loss, list(weights.values()), allow_unused=True, materialize_grads=True)
        yield dict(zip(weights, found, strict=True))


def _summed(rows: Iterator[dict[str, Tensor]]) -> dict[str, Tensor]:
    total = next(rows)
    for row in rows:
        total = {name: tensor + row[name] for name, tensor in total.items()}
    return total

"""What each channel of a group is worth: the lower, the sooner it goes. Letters: B batch, C, H, W."""

import torch
from torch import Tensor, nn

from pipeline.compress.params import PruneParams
from pipeline.data.reader import Split, normalise
from pipeline.errors import CompressionError
from pipeline.models.groups import ChannelGroup
from pipeline.models.pruning_library import torch_pruning as tp
from pipeline.models.spec import ModelSpec
from pipeline.tasks.task import Task

SCORERS = {
    "magnitude": tp.importance.GroupMagnitudeImportance(p=2, normalizer=None),
    "bn_scale": tp.importance.BNScaleImportance(normalizer=None),
    "taylor": tp.importance.GroupTaylorImportance(normalizer=None),
}


def score_groups(groups: list[ChannelGroup], importance: str) -> tuple[list[ChannelGroup], list[Tensor]]:
    """The groups that have a score, and one score per channel, divided by the group's mean.

    A group without batch norm has no bn_scale and keeps its channels. Taylor needs gradients first.
    Raises CompressionError where no group has a score.
    """
    scored, scores = [], []
    for group in groups:
        score = SCORERS[importance](group.traced)
        if score is None:
            continue
        if score.shape != (group.channels * group.repeats,) or not score.isfinite().all():
            raise CompressionError(
                f"importance {importance!r} has no finite score for each channel of {group.root!r}; "
                f"choose another prune.importance, or add the module to prune.ignored"
            )
        scored.append(group)
        by_channel = score.view(group.repeats, group.channels).mean(dim=0)
        # All zero (a last batch norm that never left its zero start): worth nothing, so it goes first.
        scores.append(by_channel / by_channel.mean() if by_channel.any() else by_channel)
    if not scored:
        raise CompressionError(
            f"no layer of this network can be pruned by importance {importance!r}; "
            "choose prune.importance magnitude, or ignore fewer layers"
        )
    return scored, scores


def accumulate_gradients(model: nn.Module, spec: ModelSpec, train: Split, params: PruneParams, task: Task) -> None:
    """Leave in every parameter the gradient of the loss summed over a few training batches.

    Batch norms use their running statistics, so that the result does not depend on the cut into batches.
    """
    generator = torch.Generator().manual_seed(params.seed)
    chosen = torch.randperm(len(train), generator=generator)[: params.taylor_batches * params.batch_size]
    mean, std = torch.tensor(spec.mean), torch.tensor(spec.std)
    labels = train.labels
    model.eval().zero_grad()
    for indices in torch.split(chosen, params.batch_size):
        logits_BK = model(normalise(train.images(indices), mean, std))
        torch.autograd.backward(task.loss(logits_BK, labels[indices]).sum())

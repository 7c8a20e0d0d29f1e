"""Pruning weight by weight: the least important ones become zeros that stay zeros.

Nothing runs such a model faster without kernels made for it: CPUs and GPUs multiply by zero as fast as by
one, but for NVIDIA's tensor cores and the pattern of 2 in 4. weights.safetensors gets smaller (models/disk),
an ONNX file does not.
"""

import copy
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from pipeline.data.prepared.reader import Split
from pipeline.errors import CompressionError
from pipeline.models.channels.groups import prunable_weights
from pipeline.models.description.spec import ModelSpec
from pipeline.prune.channels.importance import element_importance, score_weights
from pipeline.prune.params import PruneParams
from pipeline.tasks.training.task import Task

GROUP_SIZE = 4
"""Neighbours along a layer's inputs in the pattern 2_of_4 (Mishra et al. 2021, arXiv 2104.08378)."""
KEPT_IN_GROUP = 2
"""Neighbours of a group that stay."""


def sparsify(
    model: nn.Module, spec: ModelSpec, train: Split, params: PruneParams, task: Task, share: float
) -> list[str]:
    """Set weights of a model to zero, in place, until the target of `params`, or `share` of it, is met.

    Zeros of an earlier part go first: they are worth nothing, or the seed gives the same random order again.
    Returns the names of the pruned parameters. Raises CompressionError as prunable_weights() and
    drop_two_of_four().
    """
    weights = prunable_weights(model, params.ignored)
    importances = element_importance(
        copy.deepcopy(model).eval().requires_grad_(True), spec, train, params, task
    )
    scores = score_weights(
        {name: importances[name].detach() for name in weights}, params.importance, params.seed
    )
    sparsity = (1.0 - params.target.fraction) * share
    pruned = list(weights)
    if params.target.pattern:
        pruned = drop_two_of_four(weights, scores)
    elif params.scope == "global":
        drop_least(weights, scores, sparsity)
    else:
        drop_share(weights, scores, sparsity)
    return [f"{name}.weight" for name in pruned]


def kept_share(model: nn.Module, ignored: list[str]) -> float:
    """Fraction that is not zero of the weights that could be pruned."""
    weights = prunable_weights(model, ignored).values()
    return sum(int(weight.count_nonzero()) for weight in weights) / sum(weight.numel() for weight in weights)


def drop_least(weights: Mapping[str, Tensor], scores: Mapping[str, Tensor], sparsity: float) -> None:
    """Set the fraction `sparsity` of all weights to zero, in place, lowest score first, over all layers.

    Equal scores go in the order of layers and positions.
    """
    ranks = torch.cat([scores[name].flatten().double() for name in weights])
    going = torch.zeros_like(ranks, dtype=torch.bool)
    going[torch.argsort(ranks, stable=True)[: round(sparsity * len(ranks))]] = True
    sizes = [weight.numel() for weight in weights.values()]
    for weight, here in zip(weights.values(), torch.split(going, sizes), strict=True):
        _zero(weight, here)


def drop_share(weights: Mapping[str, Tensor], scores: Mapping[str, Tensor], sparsity: float) -> None:
    """Set the fraction `sparsity` of each layer's weights to zero, in place, lowest score first."""
    for name, weight in weights.items():
        order = torch.argsort(scores[name].flatten(), stable=True)
        going = torch.zeros_like(order, dtype=torch.bool)
        going[order[: round(sparsity * len(order))]] = True
        _zero(weight, going)


def drop_two_of_four(weights: Mapping[str, Tensor], scores: Mapping[str, Tensor]) -> list[str]:
    """Set to zero, in place, the two lowest in score of every four weights in a row along a layer's inputs.

    Rows are outputs by kernel positions. Returns the names of the modules that were pruned: those whose
    inputs come in fours. Raises CompressionError if there are none.
    """
    fitting = [name for name, weight in weights.items() if weight.shape[1] % GROUP_SIZE == 0]
    if not fitting:
        raise CompressionError(
            "prune.target: no layer has inputs in fours, as 2_of_4 needs; leave the pattern out"
        )
    for name in fitting:
        rows = scores[name].movedim(1, -1).reshape(-1, GROUP_SIZE)
        lowest = torch.argsort(rows, dim=1, stable=True)[:, : GROUP_SIZE - KEPT_IN_GROUP]
        going = torch.zeros_like(rows, dtype=torch.bool).scatter_(1, lowest, value=True)
        _zero(weights[name].movedim(1, -1), going)
    return fitting


def _zero(weight: Tensor, going: Tensor) -> None:
    """`going` says of each weight, in their order, whether it goes."""
    with torch.no_grad():
        weight.masked_fill_(going.view(weight.shape), 0.0)

"""Sparse training: a penalty under which whole channels fade, so that pruning loses nothing.

Its gradient is a function of the weights alone, added to what the backward pass left, so all ranks add the
same. Lengths: P positions (outputs and inputs of layers), C channels of all groups, M positions of a channel
at most.
"""

import copy
from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import NamedTuple

import torch
from torch import Tensor, nn

from pipeline.errors import TrainingError
from pipeline.models.channels.groups import ChannelGroup, ChannelSide, position_sums, trace_groups
from pipeline.models.description.spec import ModelSpec
from pipeline.models.nets.build import TRACED, example
from pipeline.train.params import SparsityParams

SMALLEST_NORM = 1e-12
"""Below it a channel counts as gone: the penalty has a kink at zero, where its gradient is taken as zero."""


def make_penalty(model: nn.Module, spec: ModelSpec, params: SparsityParams) -> Callable[[], None]:
    """What adds the penalty's gradients to those of the model.

    Raises TrainingError for a network without anything to penalize, CompressionError for one that cannot be
    traced.
    """
    if params.penalty == "bn_l1":
        return BnL1(model, params.weight)
    # A copy on the CPU: tracing follows gradients, which frozen modules lack, and leaves hooks.
    traced = copy.deepcopy(model).cpu().eval().requires_grad_(requires_grad=True)
    groups = trace_groups(traced, example(spec, TRACED), [])
    if not groups:
        raise TrainingError(
            "sparsity.penalty is group_lasso, but the network has no channels that could go; set sparsity to "
            "null"
        )
    return GroupLasso(model, groups, params.weight)


class BnL1:
    """weight x the sum of |scale| over all batch norms (network slimming: Liu et al. 2017, arXiv
    1708.06519).
    """

    def __init__(self, model: nn.Module, weight: float) -> None:
        norms = [
            module
            for module in model.modules()
            if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d) and module.affine
        ]
        self._scales = [norm.weight for norm in norms if norm.weight.requires_grad]
        self._weight = weight
        if not self._scales:
            raise TrainingError(
                "sparsity.penalty is bn_l1, but the network has no batch norm to train; take group_lasso"
            )

    @torch.no_grad()
    def __call__(self) -> None:
        for scale in self._scales:
            if scale.grad is not None:
                scale.grad.add_(scale.sign(), alpha=self._weight)


class GroupLasso:
    """weight x the sum, over the channels of all groups, of sqrt(size) x the L2 norm of its `size` weights.

    Yuan & Lin 2006 (doi 10.1111/j.1467-9868.2005.00532.x) over the groups of Fang et al. 2023 (arXiv
    2301.12900). A weight between channels of two groups counts in both.
    """

    def __init__(self, model: nn.Module, groups: Sequence[ChannelGroup], weight: float) -> None:
        self._weight = weight
        self._sides = _sides(model, groups)
        ones = [position_sums(side.module, side.side, torch.ones_like(side.weight)) for side in self._sides]
        self._lengths = [len(sums) for sums in ones]
        channel_P, table_CM = _tables(groups, self._sides, self._lengths)
        self._channel_P, self._table_CM = channel_P.to(ones[0].device), table_CM.to(ones[0].device)
        self._root_sizes_C = self._by_channel(ones).sqrt()

    @torch.no_grad()
    def __call__(self) -> None:
        squares = {side.name: side.weight.square() for side in self._sides}
        sums = [position_sums(side.module, side.side, squares[side.name]) for side in self._sides]
        norms_C = self._by_channel(sums).sqrt().clamp_min(SMALLEST_NORM)
        pulls_C = self._weight * self._root_sizes_C / norms_C
        pulls_P = torch.cat([pulls_C, pulls_C.new_zeros(1)])[self._channel_P]
        for side, pulls in zip(self._sides, torch.split(pulls_P, self._lengths), strict=True):
            if side.weight.grad is not None:
                side.weight.grad.addcmul_(side.weight, _spread(side, pulls))

    def _by_channel(self, sums: Sequence[Tensor]) -> Tensor:
        """Sums (C) of each side's sums by position.

        Gathered, because a GPU leaves the order of index_add_ open.
        """
        sums_P = torch.cat([*sums, sums[0].new_zeros(1)])
        return sums_P[self._table_CM].sum(1)


class _Side(NamedTuple):
    """The outputs or inputs of one module."""

    name: str
    side: ChannelSide
    module: nn.Module
    weight: nn.Parameter


def _sides(model: nn.Module, groups: Sequence[ChannelGroup]) -> list[_Side]:
    """Every side that takes part in a group, once; modules without a weight, as attentions, are left out."""
    names = dict.fromkeys((member.module, member.side) for group in groups for member in group.members)
    modules = dict(model.named_modules())
    weights = {name: getattr(modules.get(name), "weight", None) for name, _ in names}
    return [
        _Side(name, side, modules[name], w)
        for name, side in names
        if isinstance(w := weights[name], nn.Parameter)
    ]


def _tables(
    groups: Sequence[ChannelGroup], sides: Sequence[_Side], lengths: Sequence[int]
) -> tuple[Tensor, Tensor]:
    """The channel of each position (P), C for none, and positions of each channel (C, M), filled with P."""
    # 1. Positions of all sides lie one after the other: `starts` says where each side begins.
    starts = dict(
        zip(((side.name, side.side) for side in sides), accumulate(lengths, initial=0), strict=False)
    )
    # 2. The channel of each position, numbered over all groups.
    num_channels = sum(group.channels for group in groups)
    channel_P = torch.full((sum(lengths),), num_channels)
    first = 0
    for group in groups:
        for member in group.members:
            if (member.module, member.side) in starts:
                channel_P[starts[member.module, member.side] + member.positions] = first + member.channels
        first += group.channels
    # 3. The reverse: sorted by channel, a position's rank among those of its channel is its column.
    order = channel_P.argsort(stable=True)
    counts = channel_P.bincount(minlength=num_channels + 1)
    nth_P = torch.arange(len(order)) - (counts.cumsum(0) - counts)[channel_P[order]]
    table = torch.full((num_channels + 1, int(counts.max())), len(order))
    table[channel_P[order], nth_P] = order
    return channel_P, table[:-1]


def _spread(side: _Side, values: Tensor) -> Tensor:
    """Numbers of a side's positions in a shape that broadcasts to its weight: position_sums() reversed."""
    shape = side.weight.shape
    if side.side == "out":
        return values.view(-1, *[1] * (len(shape) - 1))
    groups = getattr(side.module, "groups", 1)
    by_input = values.view(groups, -1)
    rows = by_input.repeat_interleave(shape[0] // groups, dim=0) if groups > 1 else by_input
    return rows.view(*rows.shape, *[1] * (len(shape) - 2))

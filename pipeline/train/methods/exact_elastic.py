"""Steps whose result does not depend on the number of workers, to the bit (`exact_elastic`).

The global batch is cut into a fixed number of logical shards. Each is computed alone, by whatever worker,
with its own batch statistics ("ghost" batch norm: Hoffer et al. 2017, arXiv 1705.08741) and its own random
stream; gradients, statistics and losses of all shards come together as the rows of one matrix, which every
worker adds up in the same order.
"""

import torch
from torch import Tensor, nn

from pipeline.train import ranks
from pipeline.train.params import LOGICAL_SHARDS
from pipeline.train.state import in_layout_of


class Shards:
    """One row per logical shard: all gradients, float buffers after its forward pass, and its loss.

    Lengths: S logical shards, P parameters and buffers, counted by elements, and one for the loss.
    """

    def __init__(self, model: nn.Module) -> None:
        self._parameters = [p for p in model.parameters() if p.requires_grad]
        self._buffers = list(model.buffers())
        self._statistics = [b for b in self._buffers if b.is_floating_point()]
        self._sizes = [t.numel() for t in (*self._parameters, *self._statistics)]
        first = self._parameters[0]
        self._rows_SP = torch.zeros(LOGICAL_SHARDS, sum(self._sizes) + 1, device=first.device)
        self._before: list[Tensor] = []

    def begin_step(self) -> None:
        """Note the buffers with which every shard starts."""
        self._before = [b.clone() for b in self._buffers]
        self._rows_SP.zero_()

    def begin_shard(self) -> None:
        for now, before in zip(self._buffers, self._before, strict=True):
            now.copy_(before)
        for parameter in self._parameters:
            parameter.grad = None

    def end_shard(self, shard: int, loss: Tensor) -> None:
        """Take what the shard's backward pass left."""
        # One row: gradients, then float buffers, then the loss.
        found = [p.grad if p.grad is not None else torch.zeros_like(p) for p in self._parameters]
        flat = [tensor.detach().reshape(-1) for tensor in (*found, *self._statistics)]
        torch.cat([*flat, loss.detach().reshape(1)], out=self._rows_SP[shard])

    def end_step(self) -> Tensor:
        """Leave gradients' sums and float buffers' means in the model; returns the sum of the losses.

        Other buffers, such as batch norm's counters and tables of positions, stay as this worker's last shard
        left them: they depend on no pixel, so every shard, having begun with the same, leaves the same.
        """
        # 1. All rows on every worker. Adding 0 turns a -0 into the +0 that a sum with empty rows has.
        rows_SP = ranks.all_sum(self._rows_SP).add_(0.0)
        # 2. Their sum in the order of the shards, which is the same whoever computed them.
        total_P = rows_SP[0].clone()
        for row_P in rows_SP[1:]:
            total_P += row_P
        # 3. Back into the model: sums are the gradients, means the statistics; the last number is the loss.
        parts = torch.split(total_P[:-1], self._sizes)
        num_parameters = len(self._parameters)
        for parameter, gradient in zip(self._parameters, parts[:num_parameters], strict=True):
            parameter.grad = in_layout_of(parameter, gradient.view_as(parameter))
        for statistic, summed in zip(self._statistics, parts[num_parameters:], strict=True):
            statistic.copy_((summed / LOGICAL_SHARDS).view_as(statistic))
        return total_P[-1]

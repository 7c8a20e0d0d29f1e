"""Samples as the training, the networks and the tasks pass them on. Letters: B batch."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from pipeline.data.prepared.send import sent

Tensors = Mapping[str, Tensor]
"""Tensors by name, whose first dimension is the sample."""


@dataclass(frozen=True)
class Batch:
    """Some samples of a split: what a network takes of them, and what it shall answer.

    rows: their numbers in the split, (B,), on the host. others, share: of mixed samples, the targets of the
    ones that were mixed in, and the share (B,) of the loss that a sample's own targets have.
    """

    inputs: Tensors
    targets: Tensors
    rows: Tensor
    others: Tensors | None = None
    share: Tensor | None = None

    @property
    def size(self) -> int:
        return len(self.rows)

    def part(self, positions: Tensor) -> "Batch":
        """The samples at some positions in the batch, given on the host."""
        return replace(
            self._changed(lambda tensor: tensor[sent(positions, tensor.device)]), rows=self.rows[positions]
        )

    def to(self, device: torch.device | str) -> "Batch":
        """The batch on a device, all but the rows."""
        return self._changed(lambda tensor: sent(tensor, device))

    def _changed(self, change: Callable[[Tensor], Tensor]) -> "Batch":
        """Every tensor but the rows changed."""
        inputs, targets, others = (
            {name: change(tensor) for name, tensor in (tensors or {}).items()}
            for tensors in (self.inputs, self.targets, self.others)
        )
        share = None if self.share is None else change(self.share)
        return replace(self, inputs=inputs, targets=targets, others=others or None, share=share)

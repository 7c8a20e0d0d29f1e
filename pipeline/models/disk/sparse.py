"""Weights that were pruned one by one: zeros that stay, stored as a bit per position and the other values.

No library on a CPU or a GPU runs such a model faster without kernels made for it, so what gets smaller is the
file alone.
"""

import math
from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

VALUES_SUFFIX = ".values"
"""End of the name under which a weight's values other than zero are kept."""
BITS_SUFFIX = ".bits"
"""End of the name under which a weight's mask is kept: one bit for each value."""


def compact(tensors: dict[str, Tensor], sparse: Iterable[str]) -> dict[str, Tensor]:
    """Each tensor named in `sparse` as its other values (N,) and a bit per position (numel / 8 bytes)."""
    packed = dict(tensors)
    for name in sparse:
        tensor = packed.pop(name).flatten()
        alive = tensor != 0
        packed[name + VALUES_SUFFIX] = tensor[alive]
        packed[name + BITS_SUFFIX] = torch.from_numpy(np.packbits(alive.numpy()))
    return dict(sorted(packed.items()))


def expand(
    packed: dict[str, Tensor], sparse: Iterable[str], shapes: dict[str, torch.Size]
) -> dict[str, Tensor]:
    """The inverse of compact(). Raises ValueError if bits, values and shape do not belong together."""
    tensors = dict(packed)
    for name in sparse:
        try:
            values, bits, shape = (
                tensors.pop(name + VALUES_SUFFIX),
                tensors.pop(name + BITS_SUFFIX),
                shapes[name],
            )
        except KeyError as error:
            raise ValueError(f"has no {error} for the sparse tensor {name!r}") from error
        size = math.prod(shape)
        if len(bits) != math.ceil(size / 8):
            raise ValueError(f"{name!r} has bits for {8 * len(bits)} positions, and the network has {size}")
        alive = torch.from_numpy(np.unpackbits(bits.numpy(), count=size)).bool()
        if int(alive.sum()) != len(values):
            raise ValueError(f"{name!r} has {len(values)} values for {int(alive.sum())} positions")
        tensors[name] = torch.zeros(size, dtype=values.dtype).masked_scatter_(alive, values).view(shape)
    return tensors


def hold_zeros(optimizer: Optimizer, model: nn.Module, sparse: Iterable[str]) -> None:
    """Set, after each step of the optimizer, pruned weights of a model that are zero now to zero again.

    sparse: names of the parameters that were pruned.
    """
    weights = [model.get_parameter(name) for name in sparse]
    pruned = [weight.detach() == 0 for weight in weights]

    def hold(*_: object) -> None:
        with torch.no_grad():
            for weight, positions in zip(weights, pruned, strict=True):
                weight.masked_fill_(positions, 0.0)  # not times zero, which could leave -0.0

    if weights:
        optimizer.register_step_post_hook(hold)
